"""How many requests each limit refused, or would have if it were enforced, since the supervisor's start."""

from __future__ import annotations

from gateway.control.busy_tenants import OTHER
from gateway.control.messages import LimitUses

MAX_LIMITS = 1000
# A limit that did nothing for so long gives its place to another when there is none left.
_SILENT_AFTER_S = 3600.0


class LimitTotals:
    """Counts of all workers.

    Attributes:
        refused: by limit; ``other`` where there was no place for one more.
        observed: what limits that are only observed would have refused.
    """

    def __init__(self) -> None:
        self.refused: dict[str, int] = {}
        self.observed: dict[str, int] = {}
        self._last_s: dict[str, float] = {}  # the most silent first

    def add(self, uses: LimitUses, now_s: float) -> None:
        """Add what a worker tells."""
        for told, total in ((uses.refused, self.refused), (uses.observed, self.observed)):
            for limit, count in told.items():
                name = self._place(limit, now_s)
                total[name] = total.get(name, 0) + count

    def _place(self, limit: str, now_s: float) -> str:
        """Return the name to count a limit by."""
        if limit == OTHER or (limit not in self._last_s and not self._has_place(now_s)):
            return OTHER
        self._last_s.pop(limit, None)
        self._last_s[limit] = now_s
        return limit

    def _has_place(self, now_s: float) -> bool:
        if len(self._last_s) < MAX_LIMITS:
            return True
        silent = next(iter(self._last_s))
        if now_s - self._last_s[silent] <= _SILENT_AFTER_S:
            return False
        del self._last_s[silent]
        self.refused.pop(silent, None)
        self.observed.pop(silent, None)
        return True
