"""Turns tiers and limits into what requests are charged."""

from policies import units
from policies.compilation.values import names, optional_duration
from policies.schema.limits import LimitWritten, SharedWritten, TierWritten
from policies.snapshot.limits import Limit, SharedLimit, Tier, default_burst


def tier_of(name: str, written: TierWritten) -> Tier:
    """A tier, with what its limit has not said at the usual values."""
    usual, queue = Tier(name), written.queue
    return Tier(
        name,
        limit_of(f"tier/{name}", written),
        optional_duration(written.deadline),
        priority=usual.priority if written.priority is None else written.priority,
        weight=written.weight or usual.weight,
        queue_length=queue.length if queue else usual.queue_length,
        queue_wait_s=units.duration_s(queue.wait) if queue else usual.queue_wait_s,
    )


def limit_of(name: str, written: LimitWritten | TierWritten | SharedWritten | None) -> Limit | None:
    """A limit as it is kept; None where nothing is limited."""
    if written is None or (written.rate is None and written.in_flight is None):
        return None
    rate_per_s = None if written.rate is None else units.rate_per_s(written.rate)
    burst = written.burst or (1 if rate_per_s is None else default_burst(rate_per_s))
    return Limit(name, rate_per_s, burst, written.in_flight, observe=written.mode == "observe")


def shared_limit_of(written: SharedWritten) -> SharedLimit | None:
    """A limit that several share; None where nothing is limited."""
    limit = limit_of(f"shared/{written.name}", written)
    to = written.applies_to
    return SharedLimit(limit, names(to.route), names(to.tenant), names(to.tier)) if limit else None
