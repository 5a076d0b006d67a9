"""Waited: for how long requests waited for a pod to have room, by model and tier, since the worker's start."""

from __future__ import annotations

from bisect import bisect_left

from gateway.control.messages import MAX_WAITS, OTHER_WAITS, WAIT_EDGES_S, Waits


class Waited:
    """One worker's waits that are over, whatever ended them."""

    def __init__(self) -> None:
        self._waits: dict[tuple[str, str], _Histogram] = {}

    def add(self, model: str, tier: str, waited_s: float) -> None:
        """Count one that is over."""
        known = self._waits.get((model, tier))
        if known is None:
            kind = (model, tier) if len(self._waits) < MAX_WAITS else (OTHER_WAITS, OTHER_WAITS)
            known = self._waits.setdefault(kind, _Histogram())
        known.buckets[bisect_left(WAIT_EDGES_S, waited_s)] += 1
        known.sum_s += waited_s

    def told(self) -> tuple[Waits, ...]:
        """Return all of them."""
        return tuple(Waits(*kind, tuple(one.buckets), one.sum_s) for kind, one in self._waits.items())


class _Histogram:
    __slots__ = ("buckets", "sum_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(WAIT_EDGES_S) + 1)
        self.sum_s = 0.0
