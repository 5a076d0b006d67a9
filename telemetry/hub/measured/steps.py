"""Decides which steps of time growth belongs to, and how long steps of each length are kept."""

from __future__ import annotations

from msgspec import Struct

EVERY_S = 10.0
"""How often counters are read."""

PLACED_S = 2.5 * EVERY_S
"""What happened between two readings that are no further apart is placed in every step's length."""


class Level(Struct, frozen=True):
    """Steps of one length, and how long they are kept."""

    step_s: int
    kept_s: int


LEVELS = (Level(30, 2 * 3600), Level(300, 2 * 86400), Level(3600, 31 * 86400), Level(86400, 400 * 86400))

SPANS_S = {"15m": 900, "1h": 3600, "6h": 21600, "1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
USUAL_SPAN = "1h"
_MOST_STEPS = 300
_MOST_STEPS_OF_EACH = 75
"""Of each of all models fewer are read: two hundred models make as many rows for each."""


def start_of(at_s: float, step_s: int) -> int:
    """Return when the step began that holds a moment."""
    return int(at_s // step_s) * step_s


def placed(between_s: float) -> tuple[Level, ...]:
    """Return the levels that can tell when growth happened, from the time between its two readings.

    After a longer silence nobody knows in which of the short steps it happened: these stay without data, and it counts
    in the longer ones. What is longer than the longest is counted nowhere.
    """
    return tuple(level for level in LEVELS if between_s <= max(PLACED_S, level.step_s))


def level_for(span_s: int, *, of_each: bool = False) -> Level:
    """Return the finest level that reaches so far back without having too many steps."""
    most = _MOST_STEPS_OF_EACH if of_each else _MOST_STEPS
    fit = (level for level in LEVELS if span_s <= level.kept_s and span_s / level.step_s <= most)
    return next(fit, LEVELS[-1])
