"""Ranking: how many of the first items two ranked lists have in common."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Any

from gateway.copies.compare.leaves import MAX_ELEMENTS, rows_of
from gateway.copies.compare.outcome import Outcome, below, unlike

FIRST = 10
LEAST_OVERLAP = 1.0
_IDS = frozenset({int, str, bytes})
_SCORES = frozenset({int, float})


def ranking(stable: Any, shadow: Any, first: int, allowed: float | None) -> Outcome:
    """Compare two rankings by the share of the first N items that both have, in whatever order; of several the least.

    Unit: a fraction. Default: differ below 1.0, of the first 10. Whole numbers and text are items, best first; numbers
    with a fraction are scores of the items at their places; an object has scores by item. Of equal scores the earlier
    item is first.
    """
    rows = _rows(stable), _rows(shadow)
    if len(rows[0]) != len(rows[1]):
        return unlike("of another shape")
    overlaps = []
    for left, right in zip(*rows, strict=True):
        overlap = _overlap(left, right, first)
        if overlap is None:
            return unlike("too large" if max(len(left), len(right)) > MAX_ELEMENTS else "no ranking")
        overlaps.append(overlap)
    least = min(overlaps, default=1.0)
    distance = below(least, LEAST_OVERLAP if allowed is None else allowed)
    where = f"/{overlaps.index(least)}" if distance > 1.0 and len(overlaps) > 1 else ""
    return Outcome(distance, least, sum(overlaps) / len(overlaps) if overlaps else 1.0, where)


def _rows(part: Any) -> Sequence[Any]:
    if type(part) is dict:
        return [part]
    if type(part) is list and part and all(type(item) is dict for item in part):
        return part
    return rows_of(part)


def _overlap(stable: Any, shadow: Any, first: int) -> float | None:
    """Return the share of the first items that both have, of the longer list where both are short; None for none."""
    types = {*map(type, _values(stable)), *map(type, _values(shadow))}
    if max(len(stable), len(shadow)) > MAX_ELEMENTS or type(stable) is not type(shadow):
        return None
    if float in types or type(stable) is dict:
        if not _SCORES.issuperset(types):
            return None
        tops = _best(stable, first), _best(shadow, first)
    elif _IDS.issuperset(types):
        tops = set(stable[:first]), set(shadow[:first])
    else:
        return None
    most = max(map(len, tops))
    return len(tops[0] & tops[1]) / most if most else 1.0


def _values(side: Any) -> Iterable[Any]:
    return side.values() if type(side) is dict else side


def _best(scores: Any, first: int) -> set[Any]:
    """Return the items with the largest scores: the keys of an object, the places of a list; NaN comes last."""
    items = scores if type(scores) is dict else range(len(scores))
    return set(nlargest(first, items, key=lambda item: -math.inf if math.isnan(scores[item]) else scores[item]))
