"""Counters that stand as somebody says, for one decision that is tried: nothing is charged and nothing runs."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.decide.limits import Standing

# More than any request costs: the ledger of a trial grants at once.
_GRANTED = 2**62


class StatedCounters:
    """The state of limits, as it is stated.

    Args:
        quotas: by account; one that is missing is not known.
        tats_ns: theoretical arrival times of rates, by key; one that is missing was never charged.
        held: places in flight, by key.
        estimates: what a request probably costs, by meter; one that is missing costs 1.
    """

    def __init__(
        self,
        quotas: Mapping[str, Standing],
        tats_ns: Mapping[str, int] | None = None,
        held: Mapping[str, int] | None = None,
        estimates: Mapping[str, int] | None = None,
    ) -> None:
        self._quotas = quotas
        self._tats_ns = tats_ns or {}
        self._held = held or {}
        self._estimates = estimates or {}

    def tat_ns(self, key: str) -> int:
        """Return a rate's theoretical arrival time; 0 when it was never charged."""
        return self._tats_ns.get(key, 0)

    def in_flight(self, key: str) -> int:
        """Return how many requests hold a place."""
        return self._held.get(key, 0)

    def standing(self, account: str) -> Standing | None:
        """Return how a quota stands; None when nobody said."""
        return self._quotas.get(account)

    def estimate(self, model: str, version: str, meter: str) -> int:
        """Return what one request probably costs."""
        return self._estimates.get(meter, 1)


def standing_of(limit: int, used: int) -> Standing:
    """Return how a quota stands of which so much is used, while the ledger grants what is asked."""
    return Standing(_GRANTED, used, limit, resets_at_s=0.0, rate_per_s=0.0)
