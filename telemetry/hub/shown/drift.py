"""Decides how drift is drawn: what of a version has moved most, both distributions side by side, and what is odd."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from telemetry.drift.reports import Bin, MeasureReport, PartReport, Point, Shape, VersionReport
from telemetry.drift.windows import REFERENCE_ROWS
from telemetry.hub.shown.answers import Objective
from telemetry.hub.shown.axis import Bar, Tick, bar
from telemetry.hub.shown.fleet_answers import Drifts
from telemetry.hub.shown.formats import count, date, duration, number, percent, share, window
from telemetry.hub.shown.rollouts import Command
from telemetry.stats.drift import IN_A_ROW, Says
from telemetry.stats.proportion import wilson

STATES = ("drifts", "moved", "learning", "too_few", "steady")
DRAWN = 12
"""So many measures of a version are drawn, the farthest first; the table has all."""
_WORDS = {
    Says.DRIFTS: "drifts",
    Says.MOVED: "moved",
    Says.STEADY: "steady",
    Says.TOO_FEW: "too few rows",
    Says.LEARNING: "no reference yet",
    "": "not looked at yet",
}
_LEVELS = {Says.DRIFTS: "page", Says.MOVED: "ticket", Says.STEADY: "ok"}
_ODD = {
    "nan": "not a number",
    "infinite": "infinite",
    "out_of_range": "out of range",
    "empty": "empty",
    "missing": "missing",
    "null": "null",
}
_OUTCOMES = {
    "right": "right",
    "wrong": "wrong",
    "unknown_request": "no such request",
    "too_late": "told too late",
    "repeated": "told before",
    "no_label": "the answer has no label",
    "not_kept": "the answer’s label was not kept",
    "dropped": "too many at once",
}
_HEADROOM = 1.1


class Column(Struct, frozen=True):
    """One bin of both distributions; ``title`` says all of it."""

    reference: Bar
    reference_top: str
    reference_height: str
    now: Bar
    now_top: str
    now_height: str
    name: str
    middle: str
    title: str


class Histogram(Struct, frozen=True):
    """Both distributions side by side; ``top`` is what the highest column would be."""

    columns: tuple[Column, ...]
    top: str


class Trend(Struct, frozen=True):
    """The index of the last periods: ``points`` and ``limits`` are lines in a square of 100."""

    points: str
    limits: str
    title: str


class MeasureRow(Struct, frozen=True):
    """One measure of one part.

    Attributes:
        above: by how much the index is above what chance makes.
        bar: the index, with ticks at its floor and its limit.
        rows: that say so, and how many there should be.
    """

    measure: MeasureReport
    anchor: str
    name: str
    says: str
    level: str
    psi: str
    floor: str
    above: str
    limit: str
    bar: Bar
    ticks: tuple[Tick, ...]
    rows: str
    before: str
    now: str
    histogram: Histogram
    trend: Trend | None


class PartRow(Struct, frozen=True):
    """What is odd about one part of inputs or outputs, and which classes it had."""

    part: PartReport
    name: str
    rows: str
    unread: str
    odd: tuple[str, ...]
    classes: str
    is_bad: bool


class VersionRow(Struct, frozen=True):
    """One version in a line.

    Attributes:
        worst: what has moved most, as a text and a bar with a tick where it would have moved.
        odd: what is odd about its outputs.
    """

    version: VersionReport
    says: str
    level: str
    because: str
    worst: str
    bar: Bar
    ticks: tuple[Tick, ...]
    rows: str
    odd: str
    reference: str
    looked_at: str


class VersionView(Struct, frozen=True):
    """All that there is to say of one version."""

    row: VersionRow
    measures: tuple[MeasureRow, ...]
    drawn: tuple[MeasureRow, ...]
    parts: tuple[PartRow, ...]


class LabelView(Struct, frozen=True):
    """What late labels say of a model; ``right`` is the share with its interval, "" while none met its answer."""

    right: str
    of: str
    outcomes: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str, str, str], ...]


class ModelView(Struct, frozen=True):
    """The page of one model."""

    model: str
    versions: tuple[VersionView, ...]
    labels: LabelView
    commands: tuple[Command, ...]


def drift_rows(told: Drifts, state: str = "", model: str = "") -> tuple[VersionRow, ...]:
    """Return every version in a line, the farthest first; those of one state or model where one is asked for."""
    meant = [one for one in told.versions if model.lower() in one.model.lower() and state in ("", one.says)]
    ordered = sorted(meant, key=lambda one: (_rank(one.says), -_farthest(one), one.model, one.version))
    return tuple(_version_row(one, told.at) for one in ordered)


def state_counts(told: Drifts) -> tuple[tuple[str, str, int], ...]:
    """Return how many versions are in each state, those without any left out: its key, its words and how many."""
    every = [(state, sum(one.says == state for one in told.versions)) for state in (*STATES, "")]
    return tuple((state, _WORDS[state], number_of) for state, number_of in every if number_of)


def model_view(told: Drifts, model: str, objectives: Sequence[Objective], version: str = "") -> ModelView | None:
    """Return the page of a model, or of one version of it; None when nothing of it is watched."""
    meant = [one for one in told.versions if one.model == model and version in ("", one.version)]
    if not meant:
        return None
    quoted = shlex.quote(model)
    commands = (
        Command("the same in a terminal", f"penstock drift {quoted}"),
        Command("fail a pipeline while a version drifts", f"penstock drift {quoted} --check"),
    )
    views = tuple(_version_view(one, told.at) for one in meant)
    return ModelView(model, views, label_view(told.labels.get(model, {}), objectives), commands)


def label_view(counted: Mapping[str, int], objectives: Iterable[Objective]) -> LabelView:
    """Return what late labels say.

    Args:
        objectives: the model's, of which those on labels tell versions apart.
    """
    right, wrong = counted.get("right", 0), counted.get("wrong", 0)
    outcomes = [(_OUTCOMES.get(one, one.replace("_", " ")), count(counted[one])) for one in _in_order(counted)]
    on_labels = [objective for objective in objectives if objective.events == "labels"]
    versions = [
        (f"{each.version or '–'}", objective.name, interval_text(each.good, each.bad), count(each.good + each.bad))
        for objective in on_labels
        for each in objective.versions
        if each.good + each.bad
    ]
    text = interval_text(right, wrong) if right + wrong else ""
    return LabelView(text, count(right + wrong), tuple(outcomes), tuple(versions))


def interval_text(good: int, bad: int) -> str:
    """Return a share with the interval in which the true one lies with 95 %, by Wilson."""
    low, high = wilson(good, good + bad)
    return f"{share(good / (good + bad))} ({share(low)} to {share(high)})"


def _in_order(counted: Mapping[str, int]) -> list[str]:
    known = [one for one in _OUTCOMES if counted.get(one)]
    return known + sorted(one for one in counted if one not in _OUTCOMES and counted[one])


def _rank(says: str) -> int:
    return STATES.index(says) if says in STATES else len(STATES)


def _farthest(version: VersionReport) -> float:
    measures = [one for part in version.parts for one in part.measures]
    return max((_ratio(one) for one in measures), default=0.0)


def _ratio(measure: MeasureReport) -> float:
    return measure.psi / measure.limit if measure.limit else 0.0


def _above(measure: MeasureReport) -> float:
    return measure.psi - measure.floor


def _name(part: PartReport, measure: MeasureReport) -> str:
    return f"{measure.measure} of {part.side} {part.path or '(all of it)'}"


def _version_row(version: VersionReport, at_s: float) -> VersionRow:
    named = [(part, one) for part in version.parts for one in part.measures]
    judged = [(part, one) for part, one in named if one.says not in (Says.LEARNING, Says.TOO_FEW)]
    worst = max(judged, key=lambda both: _ratio(both[1]), default=None)
    ratio = _ratio(worst[1]) if worst else 0.0
    whole = max(1.25, ratio * _HEADROOM)
    return VersionRow(
        version,
        _WORDS.get(version.says, version.says),
        _LEVELS.get(Says(version.says), "none") if version.says in _WORDS and version.says else "none",
        _because(version, named),
        f"{_name(*worst)}: {_index(worst[1].psi)}" if worst else "–",
        bar(0.0, ratio, whole),
        (Tick(percent(1.0 / whole), "the limit"),) if worst else (),
        count(max((part.rows for part in version.parts), default=0)),
        ", ".join(dict.fromkeys(word for part in version.parts for word in _odd_words(part))),
        _reference_text(version),
        _ago(at_s - version.judged_s) if version.judged_s else "never",
    )


def _ago(age_s: float) -> str:
    return f"{duration(age_s)} ago" if age_s >= 1.0 else "now"


def _index(psi: float) -> str:
    """Return an index to the digits that mean something."""
    return f"{psi:.3f}" if psi < 100 else number(psi)


def _rows_text(measure: MeasureReport) -> str:
    if measure.rows >= measure.needed:
        return count(measure.rows)
    return f"{count(measure.rows)} of {count(measure.needed)} needed"


def _because(version: VersionReport, named: Sequence[tuple[PartReport, MeasureReport]]) -> str:
    concerned = [_name(part, one) for part, one in named if one.says == version.says]
    some = ", ".join(concerned[:3]) + (f" and {len(concerned) - 3} more" if len(concerned) > 3 else "")
    match version.says:
        case Says.DRIFTS:
            return f"{some}: above the limit in {IN_A_ROW} windows in a row."
        case Says.MOVED:
            return f"{some}: above the limit in the last window. It may be an odd hour."
        case Says.STEADY:
            return "The last window of every measure is below its limit."
        case Says.TOO_FEW:
            needed = max((one.needed for _, one in named), default=0)
            return f"No window has enough rows yet: about {count(needed)} are needed, and thin windows are joined."
        case Says.LEARNING:
            has, goes_on = count(version.reference_rows), count(REFERENCE_ROWS)
            return (
                f"The reference is not complete: it has {has} rows, and lasts as long as policy says and to {goes_on}."
            )
        case _:
            return "The gateway judges some versions at a time, and has not come to this one."


def _reference_text(version: VersionReport) -> str:
    if not version.reference_from_s:
        return f"version {version.reference_version}: no row yet"
    from_to = f"{date(version.reference_from_s)} to {date(version.reference_until_s)}"
    return f"version {version.reference_version}, {from_to}, {count(version.reference_rows)} rows"


def _version_view(version: VersionReport, at_s: float) -> VersionView:
    named = [(part, one) for part in version.parts for one in part.measures]
    ordered = sorted(named, key=lambda both: (_rank(both[1].says), -_above(both[1]), _name(*both)))
    rows = tuple(
        _measure_row(part, one, f"{version.version}-{place}") for place, (part, one) in enumerate(ordered, start=1)
    )
    return VersionView(
        _version_row(version, at_s), rows, rows[:DRAWN], tuple(_part_row(part) for part in version.parts)
    )


def _measure_row(part: PartReport, measure: MeasureReport, anchor: str) -> MeasureRow:
    is_judged = measure.rows > 0 and measure.reference_rows > 0
    whole = max(measure.limit * 1.25, measure.psi * _HEADROOM, 1e-9)
    ticks = (
        Tick(percent(measure.floor / whole), f"chance alone makes {_index(measure.floor)}"),
        Tick(percent(measure.limit / whole), f"the limit is {_index(measure.limit)}"),
    )
    return MeasureRow(
        measure,
        anchor,
        _name(part, measure),
        _WORDS.get(measure.says, measure.says),
        _LEVELS.get(Says(measure.says), "none") if measure.says in _WORDS and measure.says else "none",
        _index(measure.psi) if is_judged else "–",
        _index(measure.floor) if is_judged else "–",
        _index(max(0.0, _above(measure))) if is_judged else "–",
        _index(measure.limit) if is_judged else "–",
        bar(0.0, measure.psi if is_judged else 0.0, whole),
        ticks if is_judged else (),
        _rows_text(measure),
        shape_text(measure.reference),
        shape_text(measure.now),
        histogram(measure.bins),
        _trend(measure.history),
    )


def shape_text(shape: Shape) -> str:
    """Return one distribution in a few words: its middle and its tenths, or its commonest classes."""
    if shape.names:
        return ", ".join(f"{name}: {share(ratio)}" for name, ratio in shape.names)
    if shape.p50 is None:
        return "no data"
    return f"{_rounded(shape.p50)} ({_rounded(shape.p10)} to {_rounded(shape.p90)})"


def _rounded(value: float | None) -> str:
    """Return two digits, as in a terminal: a bucket may be 9 % wide, so a third would be made up."""
    return number(value if value is None else float(f"{value:.2g}"))


def histogram(bins: Sequence[Bin]) -> Histogram:
    """Return both distributions side by side, each as shares of its own rows."""
    before, now = sum(one.reference for one in bins) or 1, sum(one.now for one in bins) or 1
    top = max((max(one.reference / before, one.now / now) for one in bins), default=0.0) or 1.0
    columns = [
        _column(one, one.reference / before, one.now / now, top, place, len(bins)) for place, one in enumerate(bins)
    ]
    return Histogram(tuple(columns), share(top))


def _column(of: Bin, before: float, now: float, top: float, place: int, of_count: int) -> Column:
    left, wide = place / of_count, 0.4 / of_count
    name = of.name or _range_text(of)
    return Column(
        bar(left + 0.1 / of_count, wide, 1.0),
        percent(1 - before / top),
        percent(before / top),
        bar(left + 0.5 / of_count, wide, 1.0),
        percent(1 - now / top),
        percent(now / top),
        name,
        percent(left + 0.5 / of_count),
        f"{name}: reference {share(before)}, now {share(now)}",
    )


def _range_text(of: Bin) -> str:
    if of.low is None:
        return "all" if of.high is None else f"below {number(of.high)}"
    return f"above {number(of.low)}" if of.high is None else f"to {number(of.high)}"


def _trend(history: Sequence[Point]) -> Trend | None:
    if len(history) < 2:
        return None
    top = max(max(one.psi, one.limit) for one in history) * _HEADROOM
    step = 100 / (len(history) - 1)
    points, limits = (
        " ".join(f"{place * step:.1f},{100 * (1 - each / top):.1f}" for place, each in enumerate(values))
        for values in ([one.psi for one in history], [one.limit for one in history])
    )
    span = window(history[-1].until_s - history[0].from_s)
    over = sum(one.psi > one.limit for one in history)
    return Trend(points, limits, f"{len(history)} windows over {span}; {over} of them above the limit")


def _odd_words(part: PartReport) -> list[str]:
    words = [_ODD[flag] for flag in (*part.flags, *part.kinds) if flag in _ODD]
    return [*words, *(["always the same"] if part.is_constant and part.side == "output" else [])]


def _part_row(part: PartReport) -> PartRow:
    rows = max(1, part.rows)
    counted = [(name, held) for name, held in (*part.flags.items(), *part.kinds.items()) if name in _ODD and held]
    odd = [f"{_ODD[name]} in {share(held / rows)} of rows ({count(held)})" for name, held in counted]
    if part.is_constant:
        odd.append(f"the same in all of {count(part.rows)} rows")
    classes = next((one for one in part.measures if one.measure == "class"), None)
    return PartRow(
        part,
        f"{part.side} {part.path or '(all of it)'}",
        count(part.rows),
        count(part.unread),
        tuple(odd),
        shape_text(classes.now) + _entropy(classes) if classes else "–",
        bool(odd) and part.side == "output",
    )


def _entropy(classes: MeasureReport) -> str:
    """Return how evenly classes are spread; 0 when all rows are of one."""
    whole = sum(one.now for one in classes.bins)
    if not whole:
        return ""
    shares = [one.now / whole for one in classes.bins if one.now]
    bits = max(0.0, -sum(ratio * math.log2(ratio) for ratio in shares))
    return f"; entropy {number(bits)} bit"
