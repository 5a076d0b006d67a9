"""Lateness: how fast a queue drains, as it was measured, and whether a request that waits in it would be too late."""

from __future__ import annotations

import math

# What was measured so long ago counts for a third.
_DECAY_S = 2.0
# Fewer than these, over less than that, say nothing yet; and nothing that is older than this says anything any more.
_MIN_TAKEN = 8
_MIN_SPAN_S = 0.1
_FORGOTTEN_S = 10.0
# Pods that run batches free many places in a moment, and then none for as long as a batch takes.
_MOMENT_S = 0.25
_BURST_DECAY_S = 10.0
_MS_PER_S = 1000


class DrainRate:
    """How much work per second leaves a queue while something waits in it.

    Work is in the unit of the costs that it is told. Time in which nothing waits is not measured: the queue could not
    have drained any faster.
    """

    __slots__ = ("_at_s", "_burst", "_measures", "_moment_s", "_moment_work", "_span_s", "_taken", "_work")

    def __init__(self) -> None:
        self._at_s = -math.inf
        self._measures = False
        self._work = 0.0
        self._span_s = 0.0
        self._taken = 0
        self._burst = 0.0
        self._moment_s = -math.inf
        self._moment_work = 0.0

    def begin(self, now_s: float) -> None:
        """Something waits from now on."""
        if self.is_forgotten(now_s):
            self._work, self._span_s, self._taken, self._burst = 0.0, 0.0, 0, 0.0
        if not self._measures:
            self._measures, self._at_s = True, now_s

    def is_forgotten(self, now_s: float) -> bool:
        """Whether the last of it was measured so long ago that it says nothing any more."""
        return not self._measures and now_s - self._at_s > _FORGOTTEN_S

    def took(self, cost: float, now_s: float) -> None:
        """A request of this cost went to a pod."""
        self._go_on(now_s)
        self._work += cost
        self._taken += 1
        if now_s - self._moment_s >= _MOMENT_S:
            self._moment_s, self._moment_work = now_s, 0.0
        self._moment_work += cost
        self._burst = max(self._burst, self._moment_work)

    def stop(self, now_s: float) -> None:
        """Nothing waits any more."""
        if self._measures:
            self._go_on(now_s)
            self._measures = False

    def per_s(self, now_s: float) -> float:
        """Return the work per second; 0.0 while too little is known."""
        if self.is_forgotten(now_s):
            return 0.0
        if self._measures:
            self._go_on(now_s)
        return self._work / self._span_s if self._taken >= _MIN_TAKEN and self._span_s >= _MIN_SPAN_S else 0.0

    def wait_s(self, work: float, now_s: float) -> float:
        """Return how long so much work takes to leave, at best; 0.0 while too little is known.

        What left in the best of the last moments, beyond what leaves in any moment, may leave in the next one too.
        """
        rate = self.per_s(now_s)
        if not rate:
            return 0.0
        burst = max(0.0, self._burst - rate * _MOMENT_S)
        return max(0.0, work - burst) / rate

    def _go_on(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self._at_s)
        kept = math.exp(-passed_s / _DECAY_S)
        self._work *= kept
        self._span_s = self._span_s * kept + _DECAY_S * (1.0 - kept)
        self._burst *= math.exp(-passed_s / _BURST_DECAY_S)
        self._at_s = max(now_s, self._at_s)


def would_be_late(now_s: float, deadline_s: float, wait_s: float, service_s: float) -> str:
    """Return why a request would be too late, with the numbers; "" when it can make it.

    With nothing ahead of it a request is let through however slow others were: how long they take is learnt from those
    that run, and nobody would find out that they have become faster.

    Args:
        wait_s: predicted, before it runs.
        service_s: predicted, from there to its answer; 0.0 when nothing is known.
    """
    left_s = deadline_s - now_s
    if wait_s <= 0.0 or wait_s + service_s <= left_s:
        return ""
    needed, left = _milliseconds(wait_s + service_s), _milliseconds(max(0.0, left_s))
    return f"the answer would take about {needed} ms and the deadline is in {left} ms"


def _milliseconds(length_s: float) -> int:
    return round(length_s * _MS_PER_S)
