"""Decides how soon a process that died is started again."""

from __future__ import annotations

QUICK_DEATH_S = 5.0
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0


def count_quick_deaths(before: int, lived_s: float) -> int:
    """Return how many deaths in a row came right after a start; a longer life begins the count anew."""
    return before + 1 if lived_s < QUICK_DEATH_S else 0


def pause_s(quick_deaths: int) -> float:
    """Return the wait before the next start: 0, 0.5, 1, 2 ... 30 s as quick deaths follow each other."""
    if quick_deaths <= 1:
        return 0.0
    return float(min(FIRST_PAUSE_S * 2 ** min(quick_deaths - 2, 30), LONGEST_PAUSE_S))
