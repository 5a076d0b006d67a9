"""Decides whether so many bad events of so few could be chance."""

from __future__ import annotations

from math import exp, lgamma, log, log1p


def is_beyond_chance(bad: int, total: int, share: float, chance_below: float) -> bool:
    """Return whether ``P(X >= bad)`` is below ``chance_below`` for X of the binomial distribution (total, share).

    The tail is summed from its first and largest term. Each further term is the one before times a ratio that only
    falls, so what is still to come is less than a geometric series; the sum ends as soon as it, or it and that bound,
    tells the answer. That takes at most a few standard deviations of terms: 10 ms for 10,000,000,000 events, and
    microseconds where the answer is clear.

    Args:
        share: of events that are bad if all is as it may be, 0 < share < 1.

    Returns:
        False when no more are bad than ``total * share``, for that is no reason to look at chance.
    """
    if bad <= total * share:
        return False
    odds = share / (1.0 - share)
    term = exp(_log_chance_of(bad, total, share))
    summed = 0.0
    for count in range(bad, total + 1):
        summed += term
        ratio = (total - count) / (count + 1) * odds
        if summed >= chance_below:
            return False
        if summed + term * ratio / (1.0 - ratio) < chance_below:
            return True
        term *= ratio
    return summed < chance_below


def _log_chance_of(bad: int, total: int, share: float) -> float:
    ways = lgamma(total + 1) - lgamma(bad + 1) - lgamma(total - bad + 1)
    return ways + bad * log(share) + (total - bad) * log1p(-share)
