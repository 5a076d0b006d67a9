"""Attended: when events were counted at all, so that a time in which nobody counted is not taken for a quiet one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

# Whoever counts says so every slot; one that is late by two more was stopped or gone.
AWAY_AFTER_S: Final = 30.0
# A restart begins a new one. Beyond this the oldest are forgotten, and what was then reads as unknown.
MAX_TIMES: Final = 512


class Time(NamedTuple):
    """From when to when somebody counted, in seconds since the epoch."""

    from_s: float
    to_s: float


class Attended:
    """The times in which somebody counted, oldest first.

    A clock that is set back leaves times that overlap; a moment is attended if any of them has it.
    """

    def __init__(self, times: Iterable[Time] = ()) -> None:
        self._times = list(times)[-MAX_TIMES:]

    @property
    def times(self) -> tuple[Time, ...]:
        """All of them, to be kept."""
        return tuple(self._times)

    def note(self, now_s: float) -> None:
        """Somebody counts now."""
        last = self._times[-1] if self._times else None
        if last is not None and last.from_s <= now_s <= last.to_s + AWAY_AFTER_S:
            self._times[-1] = Time(last.from_s, max(last.to_s, now_s))
            return
        self._times.append(Time(now_s, now_s))
        del self._times[:-MAX_TIMES]

    def restore(self, kept: Iterable[Time]) -> None:
        """Go on from what was kept, which began before all that is known yet, or is some of it."""
        ends_s: dict[float, float] = {}
        for from_s, to_s in (*kept, *self._times):
            ends_s[from_s] = max(to_s, ends_s.get(from_s, to_s))
        self._times = [Time(*both) for both in ends_s.items()][-MAX_TIMES:]

    def has(self, start_s: float, end_s: float) -> bool:
        """Return whether somebody counted at any moment of ``[start_s, end_s)``."""
        return any(time.from_s < end_s and time.to_s >= start_s for time in reversed(self._times))
