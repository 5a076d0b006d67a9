"""Limits: whether a request may enter now: by rate, by how many are in flight, by what is left of a quota.

Rates follow GCRA (the generic cell rate algorithm), which keeps one number per limit, the theoretical arrival time
(TAT): when the next request would arrive if callers kept exactly to the rate. A request is admitted while the TAT runs
ahead of the clock by no more than the burst. Source: ITU-T I.371, annex A; in its virtual-scheduling form.
"""

from __future__ import annotations

from math import ceil, inf
from typing import Protocol

from msgspec import Struct

NS = 1_000_000_000
# A worker may decide by a moment that a sibling has passed: it was held up, but no longer than it may live so.
ANOTHER_RATES_NS = 10 * NS


class RateCharge(Struct, frozen=True, gc=False):
    """A rate as it was seen and as it is to become, for a compare-and-set.

    Attributes:
        key: the counter's name, the same on every worker.
        seen_tat_ns: the TAT that the decision read, in nanoseconds of the monotonic clock.
        new_tat_ns: the TAT once the request is charged.
    """

    key: str
    seen_tat_ns: int
    new_tat_ns: int


class SlotCharge(Struct, frozen=True, gc=False):
    """One place among the requests in flight, given back when the request is settled.

    Attributes:
        most: places there are; 0 counts without a bound.
    """

    key: str
    most: int


class QuotaCharge(Struct, frozen=True, gc=False):
    """What is reserved of a quota until the request is settled at what it cost.

    Attributes:
        account: the quota's name, the same on every worker and in the ledger.
        meter: one of ``policies.snapshot.tenant.METERS``.
        amount: in the meter's unit.
        per, resets_at_s: the quota's period and its end as it was then: what comes back after it belongs to nobody.
    """

    account: str
    meter: str
    amount: int
    per: str = "rolling-24h"
    resets_at_s: float = inf


Charge = RateCharge | SlotCharge | QuotaCharge


class Standing(Struct, frozen=True, gc=False):
    """How a quota stands.

    Attributes:
        left: what may still be spent without asking the ledger again.
        used: spent or reserved in the present window, by every gateway as far as known.
        limit: of the window, with what was granted on top.
        resets_at_s: seconds since the epoch when use falls next: a calendar window's end, or when a rolling one lets
            go of its oldest part.
        rate_per_s: how fast it is used lately.
    """

    left: int
    used: int
    limit: int
    resets_at_s: float
    rate_per_s: float


class Counters(Protocol):
    """The state of limits, as a decision reads it."""

    def tat_ns(self, key: str) -> int:
        """Return a rate's theoretical arrival time in nanoseconds of the monotonic clock; 0 when it was never charged.

        A negative one says that nothing is known of the time before that moment.
        """
        ...

    def in_flight(self, key: str) -> int:
        """Return how many requests hold a place."""
        ...

    def standing(self, account: str) -> Standing | None:
        """Return how a quota stands; None while the ledger has not been asked."""
        ...

    def estimate(self, model: str, version: str, meter: str) -> int:
        """Return what one request probably costs, in the meter's unit."""
        ...


class Verdict(Struct, frozen=True):
    """What one rate says.

    Attributes:
        charge: what to write when the request is admitted; None refuses it.
        retry_after_s: when refused, seconds until one request would be admitted.
    """

    charge: RateCharge | None
    retry_after_s: float = 0.0


def charge_rate(key: str, rate_per_s: float, burst: int, seen_tat_ns: int, now_s: float) -> Verdict:
    """Return whether one more request fits the rate, in any interval: at most ``burst + rate_per_s * seconds``."""
    new_tat_ns, early_ns = gcra(interval_ns(rate_per_s), burst, seen_tat_ns, nanoseconds(now_s))
    if early_ns > 0:
        return Verdict(None, early_ns / NS)
    return Verdict(RateCharge(key, seen_tat_ns, new_tat_ns))


def interval_ns(rate_per_s: float) -> int:
    """Return the nanoseconds between two requests of a rate, rounded up: never in the caller's favour."""
    return ceil(NS / rate_per_s)


def nanoseconds(now_s: float) -> int:
    """Return a moment of the monotonic clock, which counts whole nanoseconds."""
    return round(now_s * NS)


def gcra(interval_ns: int, burst: int, tat_ns: int, now_ns: int) -> tuple[int, int]:
    """Return the TAT once a request is charged, and by how much the request is too early: up to 0 it may enter."""
    burst_ns = burst * interval_ns
    tat_ns = known_tat_ns(interval_ns, burst_ns, tat_ns, now_ns)
    new_tat_ns = (tat_ns if tat_ns > now_ns else now_ns) + interval_ns
    return new_tat_ns, new_tat_ns - now_ns - burst_ns


def known_tat_ns(interval_ns: int, burst_ns: int, tat_ns: int, now_ns: int) -> int:
    """Return the TAT as this rate can have left it.

    A negative one says that nothing is known before that moment: the burst counts as spent then. One that is far
    further ahead than the burst was left by a slower rate of the same name: all of this one's burst but one request
    counts as spent, and that one writes a TAT of this rate.
    """
    if tat_ns < 0:
        tat_ns = burst_ns - tat_ns
    if tat_ns > now_ns + burst_ns + ANOTHER_RATES_NS:
        return now_ns + burst_ns - interval_ns
    return tat_ns


def room(interval_ns: int, burst: int, tat_ns: int, now_ns: int) -> int:
    """Return how many requests fit now."""
    tat_ns = known_tat_ns(interval_ns, burst * interval_ns, tat_ns, now_ns)
    if tat_ns <= now_ns:
        return burst
    return max(0, burst - (tat_ns - now_ns + interval_ns - 1) // interval_ns)
