"""Waits as callers are told of them: exact while they are short, in hours and minutes or days and hours after that."""

from __future__ import annotations

import math

_EXACT_UP_TO_S = 120
_MINUTE_S = 60
_MINUTES_PER_HOUR = 60
_HOURS_PER_DAY = 24


def wait_text(wait_s: float) -> str:
    """Write a wait, rounded up: who comes back after it does not come too early."""
    if wait_s <= _EXACT_UP_TO_S:
        return f"{math.ceil(wait_s)} s"
    hours, minutes = divmod(math.ceil(wait_s / _MINUTE_S), _MINUTES_PER_HOUR)
    if hours < _HOURS_PER_DAY:
        return _parts((hours, "h"), (minutes, "min"))
    days, hours = divmod(hours + (minutes > 0), _HOURS_PER_DAY)
    return _parts((days, "d"), (hours, "h"))


def _parts(*parts: tuple[int, str]) -> str:
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
