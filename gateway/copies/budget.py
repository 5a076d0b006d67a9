"""Budget: how much of devices' time a shadow may still use in the present period.

Periods follow one another from the epoch on. What is used is kept with the comparisons: after a restart the last
seconds of it are forgotten, and no more than the copies under way at once can be used beyond the budget.
"""

from __future__ import annotations

from policies.snapshot.release import ShadowLimits

_US_PER_S = 1_000_000
# A server that does not tell what a request cost is taken to have been busy with it all the time.
NOT_TOLD = -1


def cost_us(device_us: int, took_s: float) -> int:
    """Return what an answer cost, in microseconds of a device; at most its duration where nobody told."""
    return device_us if device_us != NOT_TOLD else int(took_s * _US_PER_S)


class DeviceBudget:
    """One shadow's.

    Attributes:
        period: which one of all is counted.
        used_us: in it.
    """

    def __init__(self, limits: ShadowLimits, period: int = 0, used_us: int = 0) -> None:
        self._limits = limits
        self.period = period
        self.used_us = used_us

    def has_room(self, wall_s: float) -> bool:
        """Whether another copy may be sent."""
        self._begin(wall_s)
        return self._limits.device_s is None or self.used_us < self._limits.device_s * _US_PER_S

    def spend(self, device_us: int, wall_s: float) -> None:
        """Count what a copy has used."""
        self._begin(wall_s)
        self.used_us += device_us

    def _begin(self, wall_s: float) -> None:
        period = int(wall_s // self._limits.device_per_s)
        if period != self.period:
            self.period, self.used_us = period, 0
