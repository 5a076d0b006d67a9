"""Decides how evidence is drawn: how strong it is, how much is missing to a proof, and how it grew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from msgspec import Struct

from telemetry.hub.shown.axis import Bar, LogScale, Tick, bar, log_scale
from telemetry.hub.shown.formats import count, evidence, moment, percent
from telemetry.hub.shown.release_answers import EValue, Moment, Verdict

_LEAST, _MOST = 1e-4, 1e12
"""What lies beyond is drawn at the edge: nobody reads a curve for how much more than proved something is."""
_SIDE = 1000
_VALUE_TICKS = 6
_TIME_TICKS = 5


class ClaimRow(Struct, frozen=True):
    """One thing that may be proved of a version.

    Attributes:
        kind: how to colour it: harm or safe.
        bar: full when it is proved.
    """

    claim: str
    kind: str
    e_value: str
    bar: Bar
    is_proved: bool


class Curve(Struct, frozen=True):
    """How the evidence for one claim grew; ``points`` are those of a line in a square of ``_SIDE``."""

    kind: str
    points: str


class Column(Struct, frozen=True):
    """A stretch of time in which nothing changed, and what there was then."""

    bar: Bar
    title: str


class Proof(Struct, frozen=True):
    """Where a claim's line lies: above it, it is proved."""

    kind: str
    tick: Tick


class Chart(Struct, frozen=True):
    """E-values over time, on an axis of powers of ten.

    Attributes:
        proofs: where the lines lie that prove.
        within_budget: where that claim stands now; only the other two are told over time.
    """

    curves: tuple[Curve, ...]
    columns: tuple[Column, ...]
    values: tuple[Tick, ...]
    times: tuple[Tick, ...]
    proofs: tuple[Proof, ...]
    within_budget: Tick


def claim_row(claim: str, kind: str, e_value: EValue, proved_at: float) -> ClaimRow:
    """Return one claim; the bar grows with the logarithm, as proofs do."""
    known = _bounded(e_value)
    ratio = math.log(known) / math.log(proved_at) if proved_at > 1 else float(known >= proved_at)
    return ClaimRow(claim, kind, evidence(e_value), bar(0.0, max(0.0, ratio), 1.0), known >= proved_at)


def chart(verdict: Verdict) -> Chart | None:
    """Return how the evidence of a step grew; None before there is any, which is before the first bad key."""
    history = sorted(verdict.history, key=lambda each: each.at_s)
    if not any(each.bad_keys for each in history):
        return None
    first_s, last_s = history[0].at_s, max(verdict.at_s, history[-1].at_s)
    span_s = max(1.0, last_s - first_s)
    harm, safe = [each.harm for each in history], [each.safe for each in history]
    scale = _scale([*harm, *safe, verdict.proved_at, verdict.safe_at, verdict.within_budget])
    starts = [(each.at_s - first_s) / span_s for each in history]
    ends = [*starts[1:], (last_s - first_s) / span_s]
    return Chart(
        (Curve("harm", _stairs(starts, ends, harm, scale)), Curve("safe", _stairs(starts, ends, safe, scale))),
        tuple(
            Column(bar(start, end - start, 1.0), _title(each))
            for start, end, each in zip(starts, ends, history, strict=True)
        ),
        _value_ticks(scale),
        tuple(_time_tick(index / (_TIME_TICKS - 1), first_s, span_s) for index in range(_TIME_TICKS)),
        (_proof("harm", verdict.proved_at, scale), _proof("safe", verdict.safe_at, scale)),
        Tick(_down(verdict.within_budget, scale), f"within budget now {evidence(verdict.within_budget)}"),
    )


def _title(each: Moment) -> str:
    """Return what there was from this moment on."""
    return (
        f"{moment(each.at_s)}: harm {evidence(each.harm)}, safe {evidence(each.safe)}, {count(each.bad_keys)} bad keys"
    )


def _proof(kind: str, proved_at: float, scale: LogScale) -> Proof:
    return Proof(kind, Tick(_down(proved_at, scale), f"{kind} is proved at {evidence(proved_at)}"))


def _down(value: EValue, scale: LogScale) -> str:
    """Return where a value lies, from the top."""
    return percent(1 - _at(value, scale))


def _stairs(starts: Sequence[float], ends: Sequence[float], values: Iterable[EValue], scale: LogScale) -> str:
    """Return the line: an e-value stays what it is until something bad happens."""
    corners = [
        (x, 1 - _at(value, scale)) for start, end, value in zip(starts, ends, values, strict=True) for x in (start, end)
    ]
    return " ".join(f"{x * _SIDE:.1f},{y * _SIDE:.1f}" for x, y in corners)


def _scale(values: Iterable[EValue]) -> LogScale:
    known = [_bounded(value) for value in values]
    return log_scale(min(0.1, *known), max(10.0, *known))


def _at(value: EValue, scale: LogScale) -> float:
    return scale.at(_bounded(value))


def _bounded(value: EValue) -> float:
    return _MOST if value is None else min(_MOST, max(_LEAST, value))


def _value_ticks(scale: LogScale) -> tuple[Tick, ...]:
    ticks = scale.ticks()
    every = math.ceil(len(ticks) / _VALUE_TICKS)
    return tuple(Tick(percent(1 - at), evidence(value)) for value, at in ticks[::every])


def _time_tick(ratio: float, first_s: float, span_s: float) -> Tick:
    return Tick(percent(ratio), moment(first_s + ratio * span_s))
