"""Decides what is kept of a model's version in a step of time: counts that add up, and quantiles from them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

from telemetry.hub.measured.growth import Bucket

MOST_REASONS = 24
MOST_EXEMPLARS = 6
OTHER = "other"


class Part(Struct, frozen=True, array_like=True):
    """One part of the way: how long it took altogether, and how often."""

    total_s: float = 0.0
    count: int = 0

    @property
    def mean_s(self) -> float | None:
        """How long it took on average; None where it never happened."""
        return self.total_s / self.count if self.count else None


class Shown(Struct, frozen=True, array_like=True):
    """One request whose trace is kept."""

    at_s: float
    duration_s: float
    trace_id: str
    code_class: str


class Cell(Struct, frozen=True, array_like=True):
    """What happened to one version in one step. New fields come last, with a default.

    Attributes:
        by_class: settled requests by class of their status.
        reasons: refusals and failures by reason.
        took: how long answers below 400 took.
        parts: parts of the way by name, each with how often it was gone.
        batches: batches by how many rows they had.
        device_s: of devices, as requests were charged for it.
        busy_s: of devices, as pods measured it: what nobody was charged for included.
        pod_s: how long pods were there: of devices, busy or not.
    """

    by_class: dict[str, int] = {}
    reasons: dict[str, int] = {}
    took: tuple[Bucket, ...] = ()
    took_s: float = 0.0
    parts: dict[str, Part] = {}
    batches: tuple[Bucket, ...] = ()
    device_s: float = 0.0
    busy_s: float = 0.0
    pod_s: float = 0.0
    exemplars: tuple[Shown, ...] = ()

    @property
    def requests(self) -> int:
        """Settled requests."""
        return sum(self.by_class.values())

    @property
    def errors(self) -> int:
        """Those that failed: statuses of 500 and more."""
        return self.by_class.get("5xx", 0)


NOTHING = Cell()


def added(cells: Iterable[Cell]) -> Cell:
    """Return all of them as one; in which order they come changes nothing but which exemplars are left out."""
    several = list(cells)
    if len(several) == 1:
        return several[0]
    by_class: dict[str, int] = {}
    reasons: dict[str, int] = {}
    parts: dict[str, list[Part]] = {}
    for cell in several:
        for code_class, count in cell.by_class.items():
            by_class[code_class] = by_class.get(code_class, 0) + count
        for reason, count in cell.reasons.items():
            reasons[reason] = reasons.get(reason, 0) + count
        for name, part in cell.parts.items():
            parts.setdefault(name, []).append(part)
    return Cell(
        by_class,
        _few(reasons),
        merged(cell.took for cell in several),
        math.fsum(cell.took_s for cell in several),
        {name: _part(each) for name, each in parts.items()},
        merged(cell.batches for cell in several),
        math.fsum(cell.device_s for cell in several),
        math.fsum(cell.busy_s for cell in several),
        math.fsum(cell.pod_s for cell in several),
        telling(one for cell in several for one in cell.exemplars),
    )


def _part(several: Iterable[Part]) -> Part:
    each = list(several)
    return Part(math.fsum(one.total_s for one in each), sum(one.count for one in each))


def _few(reasons: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent reasons, and the rest in one."""
    if len(reasons) <= MOST_REASONS:
        return dict(reasons)
    named = dict(reasons)
    other = named.pop(OTHER, 0)
    ranked = sorted(named.items(), key=lambda item: (-item[1], item[0]))
    other += sum(count for _, count in ranked[MOST_REASONS:])
    return dict(ranked[:MOST_REASONS]) | ({OTHER: other} if other else {})


def telling(shown: Iterable[Shown]) -> tuple[Shown, ...]:
    """Return the few that tell most: those that failed, then the slowest."""
    once = {one.trace_id: one for one in shown}.values()
    ranked = sorted(once, key=lambda one: (one.code_class != "5xx", -one.duration_s, one.trace_id))
    return tuple(ranked[:MOST_EXEMPLARS])


def merged(several: Iterable[tuple[Bucket, ...]]) -> tuple[Bucket, ...]:
    """Return the buckets of several histograms, whatever edges each has."""
    counts: dict[tuple[float, float], int] = {}
    for buckets in several:
        for lower, upper, count in buckets:
            counts[lower, upper] = counts.get((lower, upper), 0) + count
    return tuple((lower, upper, counts[lower, upper]) for lower, upper in sorted(counts))


def quantile(share: float, buckets: Iterable[Bucket]) -> float | None:
    """Return what this share of the events stays within; None without events.

    Events are taken as evenly spread inside their bucket; of those above the last edge only that edge is known.
    """
    ordered = sorted(buckets, key=lambda one: (one[1], one[0]))
    rank = share * sum(count for _, _, count in ordered)
    if not rank:
        return None
    below = 0
    for lower, upper, count in ordered:
        if below + count >= rank:
            return lower + (upper - lower) * (rank - below) / count if math.isfinite(upper) else lower
        below += count
    lower, upper, _ = ordered[-1]
    return upper if math.isfinite(upper) else lower
