"""Decides which lines are written when one event happens again and again; what is left out is counted and told."""

from __future__ import annotations

from msgspec import Struct

BURST = 100
PER_S = 10.0
MAX_EVENTS = 512
# An event that has ceased is told of at last, so that no count stays untold.
TELL_AFTER_S = 10.0


class _Bucket(Struct):
    tokens: float
    at_s: float
    unsaid: int = 0
    unsaid_since_s: float = 0.0


class EventRates:
    """A bucket of tokens for each event.

    Args:
        burst: lines at once.
        per_s: lines per second after that.

    Attributes:
        suppressed: lines left out, since the start.
    """

    def __init__(self, burst: int = BURST, per_s: float = PER_S) -> None:
        self._burst = float(burst)
        self._per_s = per_s
        self._buckets: dict[str, _Bucket] = {}
        self.suppressed = 0

    def admit(self, event: str, now_s: float) -> int | None:
        """Return how many of its event went unsaid before this line, or None when this one shall too."""
        bucket = self._buckets.pop(event, None) or self._new(now_s)
        self._buckets[event] = bucket  # the one asked for last is forgotten last
        bucket.tokens = min(self._burst, bucket.tokens + max(0.0, now_s - bucket.at_s) * self._per_s)
        bucket.at_s = now_s
        if bucket.tokens < 1.0:
            if not bucket.unsaid:
                bucket.unsaid_since_s = now_s
            bucket.unsaid += 1
            self.suppressed += 1
            return None
        bucket.tokens -= 1.0
        unsaid, bucket.unsaid = bucket.unsaid, 0
        return unsaid

    def due(self, now_s: float) -> list[tuple[str, int]]:
        """Return the events of which lines have been left out for long, and how many; each is told once."""
        told = []
        for event, bucket in self._buckets.items():
            if bucket.unsaid and now_s - bucket.unsaid_since_s >= TELL_AFTER_S:
                told.append((event, bucket.unsaid))
                bucket.unsaid = 0
        return told

    def _new(self, now_s: float) -> _Bucket:
        if len(self._buckets) >= MAX_EVENTS:
            del self._buckets[next(iter(self._buckets))]
        return _Bucket(self._burst, now_s)
