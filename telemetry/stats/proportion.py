"""How far a share that was counted may be from the true one."""

from __future__ import annotations

import math

Z_95 = 1.959963984540054
"""Of a normal distribution 95 % lie within so many deviations."""


def wilson(successes: int, trials: int, z: float = Z_95) -> tuple[float, float]:
    """Return Wilson's score interval for a share; all of it while nothing was tried.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927). Unlike the usual
    one it stays between 0 and 1, and says something where all or none succeeded.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(0.0, middle - half), min(1.0, middle + half)
