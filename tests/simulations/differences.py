"""Versions whose answers are stable's, or others, or noisy, told apart by ``DifferenceTest`` after every request.

An answer is right, or one of very many wrong ones; noise makes an answer wrong now and then, of stable as of the other.
"""

from __future__ import annotations

from functools import partial
from random import Random

from telemetry.stats.sequential import DifferenceTest, Odd, odd_one
from tests.simulations.claims import Claim, Outcome

MARGIN = 0.01
PROVED_AT = 100.0
NEVER = "undecided"


def decided(
    test: DifferenceTest, other: float, noise: float, lost: float, most: int, chance: Random
) -> tuple[str, int]:
    """Return which claim is proved first, "differs" or "same", and after how many requests.

    Args:
        other: share of requests to which the version answers wrongly.
        noise: share to which stable does, each time it is asked anew.
        lost: share of second answers that fail.
    """
    for number in range(1, most + 1):
        stable, again, candidate = (_answer(chance, rate) for rate in (noise, noise, other))
        if stable == candidate or chance.random() >= test.chance:
            test = test.seen_alike()
        elif chance.random() < lost:
            test = test.seen_different(Odd.UNKNOWN)
        else:
            test = test.seen_different(odd_one(again == stable, again == candidate))
        # A request that tells nothing of a difference brings "same" a hundredth nearer at most.
        if stable != candidate or number % 5 == 0:
            if test.differs >= PROVED_AT:
                return "differs", number
            if test.same >= PROVED_AT:
                return "same", number
    return NEVER, most


def _answer(chance: Random, wrong: float) -> float:
    return chance.random() if chance.random() < wrong else 1.0


def called(
    says: str, other: float, noise: float, within: int, chance: Random, is_full: bool, lost: float = 0.0
) -> Outcome:
    """One version: whether this is said of it within so many requests."""
    found, after = decided(DifferenceTest(MARGIN), other, noise, lost, within, chance)
    return Outcome(found == says, after)


def called_by_few_repeats(says: str, other: float, noise: float, within: int, chance: Random, is_full: bool) -> Outcome:
    """The same where stable is asked again for one difference in four."""
    found, after = decided(DifferenceTest(MARGIN, chance=0.25), other, noise, 0.0, within, chance)
    return Outcome(found == says, after)


CLAIMS = (
    Claim(
        "a version that differs on 3 % is told within 2,000", partial(called, "differs", 0.03, 0.0, 2000), 0.98, False
    ),
    Claim("a version that differs on 3 % is told within 700", partial(called, "differs", 0.03, 0.0, 700), 0.5, False),
    Claim("the same version is told within 1,000", partial(called, "same", 0.0, 0.0, 1000), 0.99, False),
    Claim("2 % beyond 1 % of noise are told within 6,000", partial(called, "differs", 0.03, 0.01, 6000), 0.5, False),
    Claim("1 % of noise on both sides is the same within 6,000", partial(called, "same", 0.01, 0.01, 6000), 0.5, False),
    Claim("1 % of noise on both sides is said to differ", partial(called, "differs", 0.01, 0.01, 3000), 0.01),
    Claim("5 % of noise on both sides is said to differ", partial(called, "differs", 0.05, 0.05, 3000), 0.01),
    Claim("just what the margin allows is said to differ", partial(called, "differs", 0.01, 0.0, 3000), 0.01),
    Claim("just what the margin forbids is said to be the same", partial(called, "same", 0.01, 0.0, 3000), 0.01),
    Claim(
        "5 % of noise, half of the second answers lost, is said to differ",
        partial(called, "differs", 0.05, 0.05, 2000, lost=0.5),
        0.01,
    ),
    Claim(
        "what the margin forbids, half of the second answers lost, is said to be the same",
        partial(called, "same", 0.02, 0.01, 2000, lost=0.5),
        0.01,
    ),
    Claim(
        "5 % of noise, asked again for one in four, is said to differ",
        partial(called_by_few_repeats, "differs", 0.05, 0.05, 2000),
        0.01,
    ),
)
