"""Claims about what happens in at most, or in at least, a share of runs, judged by a 99 % confidence bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p
from random import Random
from statistics import median

CONFIDENCE = 0.99

FULL_RUNS = 4000
"""From so many runs on, a claim has to be shown; with fewer it has only not to be refuted."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run: whether it is what the claim counts, and after how much evidence it ended."""

    is_hit: bool
    after: int


@dataclass(frozen=True, slots=True)
class Claim:
    """What is said of many runs.

    Attributes:
        name: what is run, and what counts, in words.
        run: one run, by chance alone that it is given; of full size or small.
        limit: the share of runs that hit is at most, or at least, this.
    """

    name: str
    run: Callable[[Random, bool], Outcome]
    limit: float
    is_at_most: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """What so many runs say of a claim."""

    claim: Claim
    outcomes: Sequence[Outcome]

    @property
    def hits(self) -> int:
        return sum(outcome.is_hit for outcome in self.outcomes)

    @property
    def holds(self) -> bool:
        """Whether the bound that matters is on the right side of the limit."""
        least, most = bounds(self.hits, len(self.outcomes))
        is_full = len(self.outcomes) >= FULL_RUNS
        if self.claim.is_at_most:
            return (most if is_full else least) <= self.claim.limit
        return (least if is_full else most) >= self.claim.limit

    def __str__(self) -> str:
        runs = len(self.outcomes)
        least, most = bounds(self.hits, runs)
        side = "at most" if self.claim.is_at_most else "at least"
        return (
            f"{'holds' if self.holds else 'FAILS'}: {self.claim.name}: {self.hits:,} of {runs:,} runs"
            f" = {self.hits / runs:.2%} [{least:.2%}, {most:.2%}], {side} {self.claim.limit:.4g};"
            f" they ended after a median of {median(outcome.after for outcome in self.outcomes):,.0f}"
        )


def seeded(claim: Claim, number: int) -> Random:
    """Return the chance that decides run ``number`` of a claim, whatever runs beside it."""
    return Random(f"{claim.name}/{number}")


def examine(claim: Claim, runs: int, is_full: bool) -> Finding:
    """Run a claim so many times."""
    return Finding(claim, [claim.run(seeded(claim, number), is_full) for number in range(runs)])


def bounds(hits: int, runs: int) -> tuple[float, float]:
    """Return below and above what the true share lies, each with 99 % confidence.

    Source: Clopper and Pearson, 1934: the shares at which so many hits or more, or so many or fewer, have a chance of
    just 1 %.
    """
    least = 0.0 if hits == 0 else _root(lambda share: _at_most(hits - 1, runs, share) - CONFIDENCE)
    most = 1.0 if hits == runs else _root(lambda share: _at_most(hits, runs, share) - (1.0 - CONFIDENCE))
    return least, most


def _root(falling: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if falling(middle) > 0 else (low, middle)
    return (low + high) / 2


def _at_most(hits: int, runs: int, share: float) -> float:
    """Return the chance of at most so many hits in so many runs."""
    if not 0.0 < share < 1.0:
        return 1.0 if share <= 0.0 else 0.0
    ways = lgamma(runs + 1)
    return min(
        1.0,
        sum(
            exp(ways - lgamma(k + 1) - lgamma(runs - k + 1) + k * log(share) + (runs - k) * log1p(-share))
            for k in range(hits + 1)
        ),
    )
