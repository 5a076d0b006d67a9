"""Decides which tenants have series of their own: the busiest; all others share one.

A tenant that takes another's place must be clearly busier, lest two of a kind change places for ever. Its series
begins at 0; the series of the other ends, and what is shared never shrinks, so that rates stay right.
"""

from __future__ import annotations

SHOWN_TENANTS = 100
# Workers say it too, of tenants that they could not tell apart any more; it is never one tenant among others.
OTHER = "other"

_CLEARLY = 2.0
# Activity is halved in five minutes of ranks that follow each other every 10 s.
_KEPT_PER_RANK = 0.5 ** (10 / 300)
_SILENT_BELOW = 0.5
# Tenants whose activity is followed; beyond, one that is new waits until another falls silent.
_MAX_FOLLOWED = 10_000


class BusyTenants:
    """The activity of tenants, and those that are shown."""

    def __init__(self, most: int = SHOWN_TENANTS) -> None:
        self._most = most
        self._activity: dict[str, float] = {}
        self._shown: set[str] = set()

    def label(self, tenant: str, requests: int) -> str:
        """Note so many requests and return the label that they are counted by; "" and ``other`` stay what they are."""
        if tenant in ("", OTHER):
            return tenant
        if tenant in self._activity or len(self._activity) < _MAX_FOLLOWED:
            self._activity[tenant] = self._activity.get(tenant, 0.0) + requests
        if len(self._shown) < self._most:
            self._shown.add(tenant)
        return tenant if tenant in self._shown else OTHER

    def rank(self) -> frozenset[str]:
        """Let the busiest take the places of the least busy, and return who lost its own."""
        decayed = {tenant: activity * _KEPT_PER_RANK for tenant, activity in self._activity.items()}
        self._activity = {tenant: activity for tenant, activity in decayed.items() if activity >= _SILENT_BELOW}
        waiting = sorted(self._activity.keys() - self._shown, key=self._of, reverse=True)
        losing = sorted(self._shown, key=self._of)
        lost = []
        for challenger, holder in zip(waiting, losing, strict=False):
            if self._of(challenger) <= _CLEARLY * self._of(holder):
                break
            lost.append(holder)
            self._shown.remove(holder)
            self._shown.add(challenger)
        return frozenset(lost)

    def _of(self, tenant: str) -> float:
        return self._activity.get(tenant, 0.0)
