"""The limits of a generation: what enters, what tiers may use, and what several tenants share."""

from math import ceil

from msgspec import Struct

# Requests that may wait for the pods of one version.
MAX_WAITING = 4096


class Limit(Struct, frozen=True):
    """How many requests may enter: a rate, a bound on those in flight, or both; every limit of a request must hold.

    Attributes:
        name: what refusals, headers and counters call it: "tier/gold", "tenant/ads", "model/digits" or "shared/NAME".
        rate_per_s: None for any rate.
        burst: requests at once when none came before.
        in_flight: None for any number.
        observe: count and tell what would have been refused, and refuse nothing.
    """

    name: str
    rate_per_s: float | None = None
    burst: int = 1
    in_flight: int | None = None
    observe: bool = False


class SharedLimit(Struct, frozen=True):
    """A limit that several tenants draw from together.

    Attributes:
        models, tenants, tiers: whose requests draw from it; all that is not empty must hold.
    """

    limit: Limit
    models: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


class Tier(Struct, frozen=True):
    """What every tenant of this tier may use by itself; None is no limit.

    Attributes:
        priority: whose requests go first to a pod that has room again; below 0 they are refused first.
        weight: a tenant's share among those of the same priority.
        queue_length: requests of one tenant that may wait for the pods of one version.
        queue_wait_s: the longest that they wait; 0.0 refuses them at once.
    """

    name: str
    limit: Limit | None = None
    deadline_s: float | None = None
    priority: int = 0
    weight: int = 1
    queue_length: int = 64
    queue_wait_s: float = 1.0


def default_burst(rate_per_s: float) -> int:
    """One second of the rate, and never less than one request."""
    return max(1, ceil(rate_per_s))
