"""How far one distribution has moved from another, and when that is more than chance and lasts.

Bins follow from the reference alone, so that what was said last week still means the same. The population stability
index (PSI) of two samples of one distribution is not zero but about ``(bins - 1) * (1 / n + 1 / m)``: its noise floor.
Source: Yurdakul, Statistical Properties of Population Stability Index (2018), for the floor; deciles are the custom.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from enum import StrEnum
from itertools import accumulate

from msgspec import Struct

from telemetry.stats.sketch import Sketch, alike, bars

BINS = 10
CLASSES_APART = 20
"""So many of the reference's commonest classes are told apart; the others are one."""
ROWS_PER_BIN = 50
"""Below ``ROWS_PER_BIN * (bins - 1)`` rows PSI is mostly noise."""
FLOORS = 3.0
IN_A_ROW = 3
"""So many windows in a row above the limit are drift; a single one may be an odd hour."""
_HALF = 0.5


class Distance(Struct, frozen=True):
    """What lies between a reference and what came later.

    Attributes:
        psi: population stability index, in nats; 0 for equal shares.
        floor: what ``psi`` is about when nothing moved.
        kl: Kullback-Leibler divergence of the later from the reference, in nats.
        js: Jensen-Shannon distance to the base 2, from 0 to 1.
        ks: Kolmogorov-Smirnov's largest difference of the two distribution functions, over bins in their order.
        tvd: total variation: the share that would have to move.
        rows, reference_rows: how many rows say so.
        needed: so many rows there should be on either side.
    """

    psi: float
    floor: float
    kl: float
    js: float
    ks: float
    tvd: float
    rows: int
    reference_rows: int
    needed: int

    @property
    def is_enough(self) -> bool:
        return min(self.rows, self.reference_rows) >= self.needed


def distance(reference: Sequence[int], later: Sequence[int], pseudo: float = _HALF) -> Distance:
    """Compare counts by bin.

    Args:
        pseudo: is added to each count, so that an empty bin is rare and not impossible.
    """
    kept = [pair for pair in zip(reference, later, strict=True) if any(pair)] or [(0, 0)]
    p, q = (_shares([pair[side] for pair in kept], pseudo) for side in (0, 1))
    rows, reference_rows = sum(later), sum(reference)
    middle = [(one + other) / 2 for one, other in zip(p, q, strict=True)]
    js = (_kl(p, middle) + _kl(q, middle)) / 2
    sums = zip(accumulate(p), accumulate(q), strict=True)
    return Distance(
        psi=_kl(q, p) + _kl(p, q),
        floor=noise_floor(len(kept), rows, reference_rows),
        kl=_kl(q, p),
        js=math.sqrt(max(0.0, js) / math.log(2)),
        ks=max(abs(one - other) for one, other in sums),
        tvd=sum(abs(one - other) for one, other in zip(p, q, strict=True)) / 2,
        rows=rows,
        reference_rows=reference_rows,
        needed=ROWS_PER_BIN * max(1, sum(map(bool, reference)) - 1),
    )


def noise_floor(bins: int, rows: int, reference_rows: int) -> float:
    """Return the PSI that chance alone makes, on average."""
    if not rows or not reference_rows:
        return 0.0
    return (bins - 1) * (1 / rows + 1 / reference_rows)


def limit(alert_above: float, floor: float) -> float:
    """Return the PSI above which a window has moved."""
    return max(alert_above, FLOORS * floor)


def number_bins(reference: Sketch, later: Sketch) -> tuple[list[int], list[int]]:
    """Count numbers in the reference's tenths, and in what is below and above all of it.

    Edges lie where buckets do; a reference of few different numbers has fewer bins.
    """
    known, new = alike(reference, later)
    edges = _edges(known)
    if not edges:
        return [0], [new.count]
    lowest = next(bars(known)).place
    counts = [[0] * (len(edges) + 2) for _ in range(2)]
    for of_side, sketch in zip(counts, (known, new), strict=True):
        for bar in bars(sketch):
            at = 0 if bar.place < lowest else 1 + bisect_left(edges, bar.place)
            of_side[at] += bar.held
    return counts[0], counts[1]


def number_ends(reference: Sketch, later: Sketch) -> list[float]:
    """Return between which numbers the bins of ``number_bins`` lie, to the width of a bucket; one fewer than bins."""
    known, _ = alike(reference, later)
    edges = _edges(known)
    if not edges:
        return []
    middles = {bar.place: bar.middle for bar in bars(known)}
    return [next(bars(known)).middle, *(middles[edge] for edge in edges)]


def classes_apart(reference: Mapping[str, int]) -> list[str]:
    """Return the classes that have a bin of their own: the reference's commonest."""
    return sorted(reference, key=lambda name: (-reference[name], name))[:CLASSES_APART]


def class_bins(reference: Mapping[str, int], later: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Count the reference's commonest classes, and all others as one."""
    apart = classes_apart(reference)
    sides = []
    for counts in (reference, later):
        known = [counts.get(name, 0) for name in apart]
        sides.append([*known, sum(counts.values()) - sum(known)])
    return sides[0], sides[1]


def _edges(reference: Sketch) -> list[tuple[int, int]]:
    """Return the last place of each tenth."""
    count, seen = reference.count, 0
    edges: list[tuple[int, int]] = []
    for bar in bars(reference):
        seen += bar.held
        if seen * BINS >= count * (len(edges) + 1):
            edges.append(bar.place)
            # A bucket that holds several tenths is one bin.
            edges += [bar.place] * (seen * BINS // count - len(edges))
    return sorted(set(edges))


def _shares(counts: Sequence[int], pseudo: float) -> list[float]:
    whole = sum(counts) + pseudo * len(counts)
    return [(count + pseudo) / whole if whole else 0.0 for count in counts]


def _kl(q: Sequence[float], p: Sequence[float]) -> float:
    return sum(one * math.log(one / other) for one, other in zip(q, p, strict=True) if one > 0.0 and other > 0.0)


class Says(StrEnum):
    """What is made of a field's windows."""

    DRIFTS = "drifts"
    MOVED = "moved"
    STEADY = "steady"
    TOO_FEW = "too_few"
    LEARNING = "learning"


def verdict(distances: Sequence[Distance], alert_above: float, is_learnt: bool) -> Says:
    """Judge a field by its windows, the oldest first; those with too few rows say nothing.

    Args:
        is_learnt: the reference is complete.
    """
    if not is_learnt:
        return Says.LEARNING
    judged = [one for one in distances if one.is_enough]
    if not judged:
        return Says.TOO_FEW
    above = [one.psi > limit(alert_above, one.floor) for one in judged[-IN_A_ROW:]]
    if len(above) == IN_A_ROW and all(above):
        return Says.DRIFTS
    return Says.MOVED if above[-1] else Says.STEADY
