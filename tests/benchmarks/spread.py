"""Figures from noisy passes: medians, what they range over, and how sure a ratio is."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

BOOTSTRAP_ROUNDS = 2_000
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some passes, and the lowest and highest of them."""

    median: float
    low: float
    high: float
    count: int

    def written(self, digits: int, scale: float = 1.0) -> str:
        """Return ``median [low..high]`` with so many decimals, each multiplied by ``scale``."""
        return " ".join(
            (
                f"{self.median * scale:.{digits}f}",
                f"[{self.low * scale:.{digits}f}..{self.high * scale:.{digits}f}]",
            )
        )


def spread(values: Sequence[float]) -> Spread:
    """Raises: ValueError when there are no values."""
    if not values:
        raise ValueError("a spread needs at least one value")
    return Spread(statistics.median(values), min(values), max(values), len(values))


def pass_ratios(values: Sequence[float], references: Sequence[float]) -> list[float]:
    """Divide each pass by the reference of the same pass, so that a machine's slow minute cancels out."""
    return [value / reference for value, reference in zip(values, references, strict=True) if reference > 0]


def median_interval(values: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """Bound the median of the population that the passes were drawn from.

    Percentile bootstrap over whole passes, 95 %; the same values and seed give the same bounds.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, chapter 13.
    """
    if not values:
        raise ValueError("an interval needs at least one value")
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(BOOTSTRAP_ROUNDS))
    tail = round((1 - CONFIDENCE) / 2 * BOOTSTRAP_ROUNDS)
    return medians[tail], medians[-1 - tail]
