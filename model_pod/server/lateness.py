"""Remembers by how much the server's loop was late at worst, lately."""

from __future__ import annotations

OVER_S = 5.0


class Lateness:
    """The worst of the last 5 to 10 seconds; times are monotonic."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._worst_s = 0.0
        self._worst_before_s = 0.0

    def note(self, late_s: float, now_s: float) -> None:
        """Take by how much the loop was late just now."""
        self._turn(now_s)
        self._worst_s = max(self._worst_s, late_s)

    def worst_s(self, now_s: float) -> float:
        """Return the worst."""
        self._turn(now_s)
        return max(self._worst_s, self._worst_before_s)

    def _turn(self, now_s: float) -> None:
        """Forget what is of the time before the last."""
        past_s = now_s - self._since_s
        if past_s >= OVER_S:
            self._worst_before_s = self._worst_s if past_s < 2 * OVER_S else 0.0
            self._worst_s = 0.0
            self._since_s = now_s
