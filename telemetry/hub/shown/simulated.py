"""Decides how a simulation is drawn: when each alert fires as bars of time, and each alert's burn rates as curves."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from telemetry.hub.shown.answers import Fires, SimulatedAlert, SimulatedCurve, Simulation
from telemetry.hub.shown.axis import Bar, Tick, bar
from telemetry.hub.shown.formats import clock, date, duration, factor, percent, share, target, times, window

SIDE = 1000
_HEADROOM = 2.2
_DATES = 4
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86_400
_STEPS_S = (
    *(10, 30),
    *(at * _MINUTE_S for at in (1, 2, 5, 10, 20, 30)),
    *(at * _HOUR_S for at in (1, 2, 3, 6, 12)),
    *(at * _DAY_S for at in (1, 2, 3)),
)


class Firing(Struct, frozen=True):
    """One time that an alert fires: where on the axis, and in words."""

    bar: Bar
    begins: str
    ends: str
    title: str


class Line(Struct, frozen=True):
    """A curve; ``points`` are those of a line in a square of ``SIDE``."""

    kind: str
    name: str
    points: str


class BurnChart(Struct, frozen=True):
    """Both windows of an alert against its factor; what is beyond the top is cut off, and said."""

    lines: tuple[Line, ...]
    factor: Tick
    top: str
    highest: str
    is_cut: bool


class CourseRow(Struct, frozen=True):
    """What one alert does."""

    alert: SimulatedAlert
    rule: str
    fires: tuple[Firing, ...]
    as_is: tuple[Firing, ...]
    says: str
    note: str
    chart: BurnChart | None


class SimulationView(Struct, frozen=True):
    """A simulation as it is drawn.

    Attributes:
        head: what was simulated, as a sentence.
        left: what is left of the budget afterwards, as sentences.
        fault: where on the axis the fault is; None of a replay.
        unknown: where nobody counted.
        budget: what is left over time; None where nothing is known.
    """

    told: Simulation
    head: str
    left: tuple[str, ...]
    ticks: tuple[Tick, ...]
    fault: Bar | None
    unknown: tuple[Bar, ...]
    courses: tuple[CourseRow, ...]
    budget: BurnChart | None
    notes: tuple[str, ...]


def simulation_view(told: Simulation) -> SimulationView:
    """Return a simulation that has an answer."""
    courses = tuple(_course(alert, told) for alert in told.courses)
    return SimulationView(
        told,
        _head(told),
        tuple(_left(told)),
        _ticks(told),
        None if told.fault is None else bar(0.0, told.fault.length_s, told.shown_s),
        tuple(bar(begin, end - begin, told.shown_s) for begin, end in told.unknown),
        courses,
        _budget_chart(told.curve, told.shown_s),
        tuple(_notes(told, courses)),
    )


def _head(told: Simulation) -> str:
    promise = f"{target(told.target)} good over {window(told.period_s)}"
    if told.fault is None:
        return f"{promise}, judged over the last {window(told.shown_s)}."
    fault = told.fault
    per = f"{fault.rate_per_s:.6g}/s" if fault.rate_per_s >= 1 else f"{fault.rate_per_s * 60:.6g}/min"
    begins = "" if told.begins_s is None else f", from {date(told.begins_s)} on"
    past = "after a past without any"
    return f"{promise}; {share(fault.bad_share)} of {per} bad for {duration(fault.length_s)}{begins}, {past}."


def _left(told: Simulation) -> list[str]:
    if told.fault is None:
        now = f"{share(told.remaining_ratio)} of the error budget is left at the end."
        as_is = f" By the policy in force it is {share(told.remaining_now)}." if told.is_changed else ""
        return [now + as_is]
    cost = told.cost or 0.0
    said = [f"It takes {share(cost)} of the error budget: {share(1.0 - cost)} of a whole one would be left."]
    if told.remaining_now is not None:
        said.append(f"Of the budget as it is now, {share(told.remaining_now - cost)} would be left.")
    return said


def _notes(told: Simulation, courses: Sequence[CourseRow]) -> list[str]:
    said = []
    if told.is_replay and told.every_s > 10:
        said.append("More than 2 h ago only minutes are kept: what is older is judged once a minute.")
    if told.unknown:
        gone_s = sum(end - begin for begin, end in told.unknown)
        said.append(f"For {duration(gone_s)} of this time nobody counted; it is taken for a time without requests.")
    if any(one.ends_s is None for course in courses for one in course.alert.fires) and not told.is_replay:
        said.append("An alert that looks at what is left of the budget ends as the period forgets the fault.")
    return said


def _ticks(told: Simulation) -> tuple[Tick, ...]:
    """Return lengths of time below a fault of any time, and moments where it has one."""
    if told.begins_s is None:
        step_s = next((step for step in _STEPS_S if told.shown_s <= _DATES * step), told.shown_s)
        return tuple(Tick(percent(at / told.shown_s), clock(at)) for at in range(0, told.shown_s + 1, step_s))
    return tuple(
        Tick(percent(at / _DATES), date(told.begins_s + told.shown_s * at / _DATES)[5:16]) for at in range(_DATES + 1)
    )


def _course(alert: SimulatedAlert, told: Simulation) -> CourseRow:
    both = f"{window(alert.long_s)} and {window(alert.short_s)}"
    rule = {
        "likely": f"budget ends within the time foretold, by the pace of {both}",
        "exhausted": f"budget of {window(alert.long_s)} spent",
    }.get(alert.tier, f"over {factor(alert.factor)} in {both}")
    says = "" if alert.fires else "never"
    return CourseRow(
        alert,
        rule,
        tuple(_firing(one, told) for one in alert.fires),
        tuple(_firing(one, told) for one in alert.as_is),
        says,
        alert.never or (f"Held back at some time: {alert.held_back}." if alert.held_back else ""),
        _chart(alert, told) if alert.tier in ("fast", "slow") else None,
    )


def _firing(fires: Fires, told: Simulation) -> Firing:
    end_s = told.shown_s if fires.ends_s is None else fires.ends_s
    # What fires as soon as it is judged may have begun before: nobody has looked there.
    is_older = told.is_replay and fires.begins_s <= told.every_s
    begins = f"{_moment(fires.begins_s, told)}{' or before' if is_older else ''}"
    ends = "goes on" if fires.ends_s is None else _moment(fires.ends_s, told)
    return Firing(bar(fires.begins_s, end_s - fires.begins_s, told.shown_s), begins, ends, f"{begins} to {ends}")


def _moment(at_s: int, told: Simulation) -> str:
    """Return a moment as a time of day where the simulation has one, else as how long after the beginning."""
    if told.begins_s is None:
        return f"after {clock(at_s)}"
    return date(told.begins_s + at_s)


def _chart(alert: SimulatedAlert, told: Simulation) -> BurnChart | None:
    curve = told.curve
    if curve is None or len(curve.moments_s) < 2:
        return None
    both = {"long": curve.burn.get(f"{alert.long_s:g}"), "short": curve.burn.get(f"{alert.short_s:g}")}
    known = {kind: rates for kind, rates in both.items() if rates}
    highest = max((max(rates) for rates in known.values()), default=0.0)
    top = min(max(highest * 1.08, alert.factor * 1.3), alert.factor * _HEADROOM)
    lengths = {"long": alert.long_s, "short": alert.short_s}
    return BurnChart(
        tuple(
            Line(kind, window(lengths[kind]), _points(curve.moments_s, rates, 0.0, top, told.shown_s))
            for kind, rates in known.items()
        ),
        Tick(percent(1 - alert.factor / top), factor(alert.factor)),
        times(top),
        times(highest),
        highest > top,
    )


def _budget_chart(curve: SimulatedCurve | None, shown_s: int) -> BurnChart | None:
    known = [left for left in (curve.remaining if curve else ()) if left is not None]
    if curve is None or len(known) < 2:
        return None
    low, high = min(0.0, max(-1.0, min(known))), 1.0
    line = Line("budget", "left", _points(curve.moments_s, curve.remaining, low, high, shown_s))
    at_zero = Tick(percent(1 - (0.0 - low) / (high - low)), "0")
    return BurnChart((line,), at_zero, share(high), share(min(known)), min(known) < low)


def _points(moments_s: Sequence[int], values: Sequence[float | None], low: float, high: float, whole_s: int) -> str:
    """Return the line; what is above or below is drawn along the edge, and what is not known is left out."""
    corners = (
        (at_s / max(1, whole_s), 1 - (min(high, max(low, value)) - low) / (high - low))
        for at_s, value in zip(moments_s, values, strict=True)
        if value is not None
    )
    return " ".join(f"{min(1.0, x) * SIDE:.1f},{y * SIDE:.1f}" for x, y in corners)
