"""Decides how soon a worker that died is started again."""

from __future__ import annotations

QUICK_DEATH_S = 1.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 2.0


def count_quick_deaths(before: int, lived_s: float) -> int:
    """Return how many deaths in a row came right after a start; one that lived longer begins anew."""
    return before + 1 if lived_s < QUICK_DEATH_S else 0


def pause_s(quick_deaths: int) -> float:
    """Return the wait before the next start: none after a death that is not part of a series."""
    if quick_deaths <= 1:
        return 0.0
    return float(min(_FIRST_PAUSE_S * 2 ** min(quick_deaths - 2, 30), _LONGEST_PAUSE_S))
