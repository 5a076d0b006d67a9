"""Admission: every limit of a request at once: rates, places in flight and quotas; all must have room.

Nothing is charged here. What fits is returned as charges, which whoever acts writes all or none.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.limits import (
    ANOTHER_RATES_NS,
    NS,
    Charge,
    Counters,
    QuotaCharge,
    RateCharge,
    SlotCharge,
    Standing,
    known_tat_ns,
    nanoseconds,
)
from gateway.decide.tables import Admission, QuotaBound, RateBound, SlotBound
from gateway.decide.waits import wait_text
from policies.snapshot.tenant import Quota

PENDING_RETRY_S = 1.0
SLOT_RETRY_S = 1.0


class Obstacle(Struct, frozen=True):
    """A limit that has no room, and when it will have.

    Attributes:
        reason: of the registry.
        limit: the limit's name.
        is_observed: it is measured and not applied.
        wanted: what a request that waits for the ledger needs of a quota, in its unit.
    """

    reason: str
    limit: str
    message: str
    retry_after_s: float
    is_observed: bool = False
    wanted: int = 0


class Room(Struct, frozen=True, gc=False):
    """What is left of a limit once the request is charged: one entry of the ``RateLimit`` header.

    Attributes:
        reset_s: seconds until there is more; 0 when that depends on requests in flight.
        charged: of it for this request, which comes back if another limit refuses it.
    """

    limit: str
    left: int
    reset_s: float
    charged: int = 0


class Admitted(Struct, frozen=True):
    """What the limits say of one request.

    Attributes:
        obstacles: limits that refuse it, in the order of the files; none admits it.
        observed: limits that would refuse it if they were enforced.
        warned: quotas that are used up to a step that warns.
        demoted_by: the quota beyond a step that demotes, "" when there is none.
    """

    charges: tuple[Charge, ...]
    rooms: tuple[Room, ...]
    obstacles: tuple[Obstacle, ...] = ()
    observed: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    demoted_by: str = ""


class Work(Struct, frozen=True, gc=False):
    """What a request asks for, as far as quotas can tell before it has run."""

    model: str
    version: str
    body_bytes: int


NOTHING_LIMITS = Admitted((), ())


def admit(admission: Admission, counters: Counters, work: Work, wall_s: float, now_s: float) -> Admitted:
    """Return whether a request fits all its limits, and what to charge if it does."""
    if admission.is_empty:
        return NOTHING_LIMITS
    charges: list[Charge] = []
    rooms: list[Room] = []
    failed: list[Obstacle] = []
    now_ns = nanoseconds(now_s)
    for rate in admission.rates:
        failure = _try_rate(rate, counters.tat_ns(rate.key), now_ns, charges, rooms)
        if failure is not None:
            failed.append(failure)
    for slot in admission.slots:
        failure = _try_slot(slot, counters.in_flight(slot.key), charges, rooms)
        if failure is not None:
            failed.append(failure)
    if not admission.quotas and not failed:
        return Admitted(tuple(charges), tuple(rooms))
    shares: list[tuple[QuotaBound, float]] = []
    for bound in admission.quotas:
        costs = _costs(bound, counters, work)
        failure = _try_quota(bound, counters.standing(bound.account), costs, wall_s, charges, rooms, shares)
        if failure is not None:
            failed.append(failure)
    if not failed and not shares:
        return Admitted(tuple(charges), tuple(rooms))
    obstacles = tuple(failure for failure in failed if not failure.is_observed)
    observed = tuple(failure.limit for failure in failed if failure.is_observed)
    if obstacles:
        uncharged = tuple(Room(one.limit, one.left + one.charged, one.reset_s) for one in rooms)
        return Admitted((), uncharged, obstacles, observed, *_climbed(shares))
    return Admitted(tuple(charges), tuple(rooms), (), observed, *_climbed(shares))


def _costs(bound: QuotaBound, counters: Counters, work: Work) -> tuple[int, int]:
    """Return what a request costs at least, and what it probably costs."""
    match bound.quota.meter:
        case "requests":
            return 1, 1
        case "bytes":  # the body that was announced, and what such requests take beyond theirs
            least = max(1, work.body_bytes)
            return least, least + counters.estimate(work.model, work.version, "bytes")
        case meter:
            return 1, max(1, counters.estimate(work.model, work.version, meter))


def _try_rate(
    bound: RateBound, seen_tat_ns: int, now_ns: int, charges: list[Charge], rooms: list[Room]
) -> Obstacle | None:
    # ``limits.gcra`` and ``limits.room`` written out: this is done for every request. Their tests hold for it too.
    interval_ns = bound.interval_ns
    burst_ns = bound.burst * interval_ns
    tat_ns = seen_tat_ns
    if tat_ns < 0 or tat_ns > now_ns + burst_ns + ANOTHER_RATES_NS:
        tat_ns = known_tat_ns(interval_ns, burst_ns, tat_ns, now_ns)
    new_tat_ns = (tat_ns if tat_ns > now_ns else now_ns) + interval_ns
    ahead_ns = new_tat_ns - now_ns
    if ahead_ns > burst_ns:
        return _over_rate(bound, (ahead_ns - burst_ns) / NS, rooms)
    charges.append(RateCharge(bound.key, seen_tat_ns, new_tat_ns))
    if not bound.observe:
        rooms.append(Room(bound.name, (burst_ns - ahead_ns) // interval_ns, interval_ns / NS, 1))
    return None


def _over_rate(bound: RateBound, retry_after_s: float, rooms: list[Room]) -> Obstacle:
    if not bound.observe:
        rooms.append(Room(bound.name, 0, retry_after_s))
    message = (
        f"the limit {bound.name} of {bound.rate_per_s:g} requests per second is used up;"
        f" one more fits in {retry_after_s:.3f} s"
    )
    return Obstacle("rate_limited", bound.name, message, retry_after_s, bound.observe)


def _try_slot(bound: SlotBound, holders: int, charges: list[Charge], rooms: list[Room]) -> Obstacle | None:
    if bound.observe:
        charges.append(SlotCharge(bound.key, 0))
    elif holders < bound.most:
        charges.append(SlotCharge(bound.key, bound.most))
        rooms.append(Room(bound.name, bound.most - holders - 1, 0.0, 1))
    else:
        rooms.append(Room(bound.name, 0, SLOT_RETRY_S))
    if holders < bound.most:
        return None
    message = f"{bound.most} requests of the limit {bound.name} are in flight; one more fits when one is answered"
    return Obstacle("in_flight_limited", bound.name, message, SLOT_RETRY_S, bound.observe)


def _try_quota(
    bound: QuotaBound,
    standing: Standing | None,
    costs: tuple[int, int],
    wall_s: float,
    charges: list[Charge],
    rooms: list[Room],
    shares: list[tuple[QuotaBound, float]],
) -> Obstacle | None:
    """``shares`` gets the quota if it is used up to a step that warns or demotes."""
    quota, (least, amount) = bound.quota, costs
    if standing is None:
        return _pending(quota.name, amount)
    reset_s = max(0.0, standing.resets_at_s - wall_s)
    if bound.refuse_share is not None:
        most = int(standing.limit * bound.refuse_share)
        left = most - standing.used
        if left < least:
            return _exhausted(quota, standing, reset_s, rooms, least, most)
        # What is left is enough for what is known: an estimate alone refuses nobody, it reserves all that there is.
        amount = min(amount, left)
    if amount > standing.left:
        return _pending(quota.name, amount)
    used = standing.used + amount
    rooms.append(Room(quota.name, max(0, standing.limit - used), reset_s, amount))
    charges.append(QuotaCharge(bound.account, quota.meter, amount, quota.per, standing.resets_at_s))
    if used >= standing.limit * quota.ladder[0].share:
        shares.append((bound, used / max(1, standing.limit)))
    return None


def _exhausted(quota: Quota, standing: Standing, reset_s: float, rooms: list[Room], least: int, most: int) -> Obstacle:
    """``least`` is what the request needs, ``most`` what the quota gives in a period; of the past no reset is known."""
    rooms.append(Room(quota.name, max(0, standing.limit - standing.used), reset_s, 0))
    name = f"the quota {quota.name} ({quota.per})"
    is_of_bytes = quota.meter == "bytes"
    if is_of_bytes and least > most:  # no waiting helps
        message = f"{name} gives {most} bytes in all, and this body alone has {least}; send a smaller one"
        return Obstacle("body_too_large", quota.name, message, 0.0)
    later = f"; there is more in {wait_text(reset_s)}" if reset_s else ""
    if is_of_bytes and standing.used < most:
        message = f"{name} has {most - standing.used} bytes left, and this body alone has {least}{later}"
    else:
        message = f"{name} is used up to {standing.used / max(1, standing.limit):.1%}{later}"
    return Obstacle("quota_exhausted", quota.name, message, reset_s)


def _climbed(shares: list[tuple[QuotaBound, float]]) -> tuple[tuple[str, ...], str]:
    """Return the quotas that warn, and the last one that demotes."""
    warned: list[str] = []
    demoted_by = ""
    for bound, share in shares:
        reached = {step.action for step in bound.quota.ladder if share >= step.share}
        if "warn" in reached:
            warned.append(bound.quota.name)
        if "demote" in reached:
            demoted_by = bound.quota.name
    return tuple(warned), demoted_by


def _pending(quota: str, amount: int) -> Obstacle:
    message = f"the ledger has not granted more of the quota {quota} yet; try again"
    return Obstacle("quota_pending", quota, message, PENDING_RETRY_S, wanted=amount)
