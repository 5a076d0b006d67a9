"""Decides how often rules are evaluated, so that each window is whole steps, and which samples a window has."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Final

from policies.burn_alerts import SHORTEST_WINDOW_SLOTS
from policies.snapshot.slos import Objective
from policies.units import duration_text
from telemetry.slo.alerts import windows

# From the coarsest: the fewest evaluations and samples that still count every window whole.
_STEPS_S: Final = (60, 30, 20, 10)


def step_s(objectives: Iterable[Objective]) -> int:
    """Return how often the rules of these objectives are evaluated: each window is whole steps, and four at least."""
    lengths_s = [length_s for objective in objectives for length_s in windows(objective)]
    return next((step for step in _STEPS_S if all(_fits(length_s, step) for length_s in lengths_s)), _STEPS_S[-1])


def _fits(length_s: float, step: int) -> bool:
    return length_s % step == 0 and length_s >= step * SHORTEST_WINDOW_SLOTS


def selected(length_s: float, step: int) -> str:
    """Return the range that holds the samples of a window's steps, and no other.

    Half a step less than the window: a sample that lies just on its beginning is of the step before, and Prometheus
    counts it or not by its version.
    """
    return duration_text(ceil(length_s / step) * step - step / 2)
