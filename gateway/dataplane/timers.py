"""A timer wheel: one timer for all connections, so that a request costs none.

Each watched thing says when to look at it next, and is in one bucket at most. Nothing has to be cancelled when a
deadline moves into the future: a look that comes too early is answered with a later moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

TICK_S = 0.05


class Watched(Protocol):
    """Something with deadlines. The attributes are the wheel's to write.

    Attributes:
        look_at_s: when the wheel will look next; ``math.inf`` when it will not.
        bucket: where the wheel keeps it.
    """

    look_at_s: float
    bucket: int

    def look(self, now_s: float) -> float:
        """Act on what is due, and return when to look next; ``math.inf`` ends the watch."""
        ...


class TimerWheel:
    """Looks at each watched thing within two ticks after it asked to be looked at, never before.

    Args:
        on_defect: takes an exception that a look ended with; that thing is looked at no more, the others are.
    """

    def __init__(self, now_s: float, on_defect: Callable[[str, Exception], None] = lambda where, error: None) -> None:
        self._on_defect = on_defect
        self._buckets: dict[int, set[Watched]] = {}
        self._turned_to = _bucket_of(now_s)

    def watch(self, item: Watched, at_s: float) -> None:
        """Look at ``item`` at ``at_s``, unless it is looked at earlier anyway."""
        if at_s >= item.look_at_s:
            return
        self.forget(item)
        item.look_at_s = at_s
        item.bucket = max(_bucket_of(at_s), self._turned_to) + 1
        self._buckets.setdefault(item.bucket, set()).add(item)

    def forget(self, item: Watched) -> None:
        """Look at ``item`` no more."""
        item.look_at_s = math.inf
        if bucket := self._buckets.get(item.bucket):
            bucket.discard(item)

    def turn(self, now_s: float) -> None:
        """Look at everything that has come due."""
        last = _bucket_of(now_s)
        first, self._turned_to = self._turned_to + 1, max(last, self._turned_to)
        if last - first > len(self._buckets):
            due = sorted(bucket for bucket in self._buckets if bucket <= last)
        else:
            due = list(range(first, last + 1))
        for bucket in due:
            for item in self._buckets.pop(bucket, ()):
                item.look_at_s = math.inf
                try:
                    self.watch(item, item.look(now_s))
                except Exception as error:  # one connection's must not end the deadlines of all
                    self._on_defect("the look at a deadline", error)


def _bucket_of(at_s: float) -> int:
    return int(at_s / TICK_S)
