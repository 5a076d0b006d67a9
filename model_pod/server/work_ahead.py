"""Decides how much device time the rows of the pod probably take, from what rows took lately."""

from __future__ import annotations

# Of a new request's measure; about the last twenty requests count.
_WEIGHT = 0.1


class WorkAhead:
    """Remembers what a row takes of the device."""

    __slots__ = ("_row_us",)

    def __init__(self) -> None:
        self._row_us = -1.0  # nothing has run yet

    def ran(self, device_us: int, row_count: int) -> None:
        """Count a request that ran."""
        row_us = device_us / row_count
        self._row_us = row_us if self._row_us < 0 else self._row_us + _WEIGHT * (row_us - self._row_us)

    def ahead_us(self, row_count: int) -> int:
        """Return how many microseconds of the device so many rows probably take; 0 before anything has run."""
        return int(max(0.0, self._row_us) * row_count)
