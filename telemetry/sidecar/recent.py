"""Knows what has been usual lately: how many per second, and how long 99 of 100 took."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

# Geometric edges from 0.1 ms to 200 s: a p99 is told to one step, 19 % at most above the true one.
_STEP = 2.0**0.25
_EDGES_S = tuple(1e-4 * _STEP**number for number in range(85))

MINUTES = 5
ENOUGH = 100
"""Fewer requests than this in the last minutes do not say what is usual."""


class Pace:
    """How many come per second."""

    def __init__(self) -> None:
        self._second = 0
        self._count = 0
        self._last = 0

    def add(self, now_s: float) -> None:
        """Count one that comes now."""
        self._turn(int(now_s))
        self._count += 1

    def per_s(self, now_s: float) -> float:
        """Return the larger of the last whole second's count and of this one's so far: a burst shows at once."""
        self._turn(int(now_s))
        return float(max(self._count, self._last))

    def so_far(self, now_s: float) -> int:
        """Return this second's count."""
        self._turn(int(now_s))
        return self._count

    def _turn(self, second: int) -> None:
        if second > self._second:
            self._last = self._count if second == self._second + 1 else 0
            self._second, self._count = second, 0


class RecentDurations:
    """The durations of the last minutes, by size."""

    def __init__(self) -> None:
        self._minutes: deque[tuple[int, list[int]]] = deque(maxlen=MINUTES)

    def add(self, duration_s: float, now_s: float) -> None:
        """Count the duration of a request that ends now."""
        minute = int(now_s // 60.0)
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append((minute, [0] * (len(_EDGES_S) + 1)))
        self._minutes[-1][1][bisect_right(_EDGES_S, duration_s)] += 1

    def p99_s(self, now_s: float) -> float | None:
        """Return what 99 of 100 do not exceed, rounded up by a step; None while too few tell."""
        oldest = int(now_s // 60.0) - MINUTES + 1
        counts = [sum(of_size) for of_size in zip(*(c for minute, c in self._minutes if minute >= oldest), strict=True)]
        total = sum(counts)
        return None if total < ENOUGH else _upper_edge_s(counts, total - total // 100)


def _upper_edge_s(counts: Sequence[int], wanted: int) -> float | None:
    """Return the edge up to which there are ``wanted`` values; None beyond the last."""
    found = 0
    for count, edge_s in zip(counts, _EDGES_S, strict=False):
        found += count
        if found >= wanted:
            return edge_s
    return None
