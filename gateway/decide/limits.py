"""Limits: whether a request may enter now, by GCRA (the generic cell rate algorithm).

GCRA keeps one number per limit, the theoretical arrival time (TAT): when the next request would arrive if callers kept
exactly to the rate. A request is admitted while the TAT runs ahead of the clock by no more than the burst.
Source: ITU-T I.371, annex A; in its virtual-scheduling form.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class Charge(Struct, frozen=True):
    """A limit as it was seen and as it is to become, for a compare-and-set.

    Attributes:
        limit: the limit's name, the same on every worker.
        seen_tat_s: the TAT that the decision read.
        new_tat_s: the TAT once the request is charged.
    """

    limit: str
    seen_tat_s: float
    new_tat_s: float


class Counters(Protocol):
    """The state of limits, as a decision reads it."""

    def tat_s(self, limit: str) -> float:
        """Return the limit's theoretical arrival time on the monotonic clock; 0.0 when it was never charged."""
        ...


class Verdict(Struct, frozen=True):
    """What one limit says.

    Attributes:
        charge: what to write when the request is admitted; None refuses it.
        retry_after_s: when refused, seconds until one request would be admitted.
    """

    charge: Charge | None
    retry_after_s: float = 0.0


def charge_rate(limit: str, rate_per_s: float, burst: int, tat_s: float, now_s: float) -> Verdict:
    """Return whether one more request fits the rate, in any interval: at most ``burst + rate_per_s * seconds``."""
    interval_s = 1.0 / rate_per_s
    new_tat_s = max(tat_s, now_s) + interval_s
    ahead_s = new_tat_s - now_s - burst * interval_s
    # A billionth of an interval absorbs rounding, so that a burst of n admits n.
    if ahead_s > interval_s * 1e-9 + 1e-12:
        return Verdict(None, ahead_s)
    return Verdict(Charge(limit, tat_s, new_tat_s))
