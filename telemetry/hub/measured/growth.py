"""Decides by how much counters have grown between two readings, over restarts of those who count."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping

from msgspec import Struct

from telemetry.hub.measured.samples import Exemplar, Sample

Key = tuple[str, ...]
"""A metric's name and the values of its labels, in the order of the metric's."""

Bucket = tuple[float, float, int]
"""Events above the first number and up to the second, and how many; the second may be infinite."""

_BUCKET, _SUM, _COUNT = "_bucket", "_sum", "_count"
_MOST = 2.0**53
"""No count is beyond it, for there a float can add no 1 to itself; nor could many of those be stored."""


class Histogram(Struct, frozen=True):
    """Counts up to each edge, the infinite one included, and the sum of what was counted."""

    up_to: dict[float, int]
    total: float
    exemplars: tuple[Exemplar, ...] = ()


class Reading(Struct, frozen=True):
    """What one process told at one moment.

    Attributes:
        epoch: changes when the process that counts begins anew.
        clock_s: when that was by a clock that nobody sets.
    """

    at_s: float
    epoch: str
    counters: dict[Key, float]
    histograms: dict[Key, Histogram]
    clock_s: float = 0.0


class Grown(Struct, frozen=True):
    """By how much a histogram has grown; buckets without events are left out."""

    buckets: tuple[Bucket, ...]
    total: float
    exemplars: tuple[Exemplar, ...] = ()

    @property
    def count(self) -> int:
        """How many events."""
        return sum(count for _, _, count in self.buckets)


class Growth(Struct, frozen=True):
    """What happened between two readings of one process."""

    counters: dict[Key, float]
    histograms: dict[Key, Grown]


def names(counters: Iterable[str], histograms: Iterable[str]) -> frozenset[str]:
    """Return the names that samples of these metrics have."""
    return frozenset([*counters, *(f"{name}{end}" for name in histograms for end in (_BUCKET, _SUM, _COUNT))])


def reading(
    found: Iterable[Sample],
    counters: Mapping[str, tuple[str, ...]],
    histograms: Mapping[str, tuple[str, ...]],
    at_s: float,
    epoch: str,
) -> Reading:
    """Return what was told of these metrics, each named with its labels; numbers that are none are passed over."""
    counted: dict[Key, float] = {}
    edges: dict[Key, dict[float, int]] = {}
    totals: dict[Key, float] = {}
    shown: dict[Key, list[Exemplar]] = {}
    for sample in found:
        if not 0 <= sample.value <= _MOST:
            continue
        base, _, end = sample.name.rpartition("_")
        if sample.name in counters:
            counted[_key(sample.name, counters[sample.name], sample)] = sample.value
        elif base in histograms:
            key = _key(base, histograms[base], sample)
            if end == "bucket":
                _take_bucket(sample, edges.setdefault(key, {}), shown.setdefault(key, []))
            elif end == "sum":
                totals[key] = sample.value
    made = {
        key: Histogram(up_to, totals.get(key, 0.0), tuple(shown[key]))
        for key, up_to in edges.items()
        if math.inf in up_to
    }
    return Reading(at_s, epoch, counted, made)


def _key(name: str, labels: Collection[str], sample: Sample) -> Key:
    return (name, *(sample.labels.get(label, "") for label in labels))


def _take_bucket(sample: Sample, up_to: dict[float, int], shown: list[Exemplar]) -> None:
    try:
        edge = float(sample.labels.get("le", ""))
    except ValueError:
        return
    up_to[edge] = round(sample.value)
    if sample.exemplar is not None:
        shown.append(sample.exemplar)


def growth(before: Reading | None, now: Reading) -> Growth:
    """Return what happened since the reading before; since the process's start where that was another process.

    A count that went down began anew. What was counted after the reading before and is gone by now is told by nobody.
    """
    is_same = before is not None and before.epoch == now.epoch
    counters = before.counters if before is not None and is_same else {}
    histograms = before.histograms if before is not None and is_same else {}
    since_s = before.at_s if before is not None else 0.0
    grown = {key: _grown(value, counters.get(key, 0.0)) for key, value in now.counters.items()}
    wide = {key: _histogram(held, histograms.get(key), since_s) for key, held in now.histograms.items()}
    return Growth(
        {key: value for key, value in grown.items() if value > 0},
        {key: held for key, held in wide.items() if held.buckets},
    )


def _grown(now: float, before: float) -> float:
    return now - before if now >= before else now


def _histogram(now: Histogram, before: Histogram | None, since_s: float) -> Grown:
    """Return the growth at the edges that both have: there the counts are exact, whatever edges came or went."""
    was = before.up_to if before is not None else dict.fromkeys(now.up_to, 0)
    if any(now.up_to[edge] < count for edge, count in was.items() if edge in now.up_to):
        was, before = dict.fromkeys(now.up_to, 0), None
    edges = sorted(edge for edge in now.up_to if edge in was)
    buckets: list[Bucket] = []
    lower, counted = 0.0, 0
    for edge in edges:
        up_to = max(counted, now.up_to[edge] - was[edge])
        if up_to > counted:
            buckets.append((lower, edge, up_to - counted))
        lower, counted = edge, up_to
    total = _grown(now.total, before.total if before is not None else 0.0)
    return Grown(tuple(buckets), total, tuple(one for one in now.exemplars if one.at_s > since_s))
