"""Head sampling: one process's part of the consistent share of traces that is kept, fitted to its rate of requests."""

from __future__ import annotations

import math

from telemetry.sampling import random_part, share, threshold

# The rate that decides the share forgets what is older than about this.
RATE_OVER_S = 1.0


class HeadSampler:
    """Chooses traces where they begin.

    Args:
        kept_per_s: of this process and the others together; up to so many all are kept.

    Attributes:
        others_rate_per_s: traces that begin in the others, as far as is known.
    """

    def __init__(self, kept_per_s: float) -> None:
        self.kept_per_s = kept_per_s
        self.others_rate_per_s = 0.0
        self._least_kept = threshold(1.0)
        self._rate_per_s = 0.0
        self._begun = 0

    def keeps(self, trace_id: str) -> bool:
        """Count a trace that begins, and say whether it is of the share."""
        return self.keeps_random(random_part(trace_id))

    def keeps_random(self, random: int) -> bool:
        """Do what ``keeps`` does, with the 56 random bits of a trace's id."""
        self._begun += 1
        return random >= self._least_kept

    def measure(self, elapsed_s: float) -> None:
        """Fit the share to the rate of what began since the last time."""
        weight = 1.0 - math.exp(-elapsed_s / RATE_OVER_S)
        self._rate_per_s += weight * (self._begun / elapsed_s - self._rate_per_s)
        self._begun = 0
        self._least_kept = threshold(share(self.kept_per_s, self._rate_per_s + self.others_rate_per_s))
