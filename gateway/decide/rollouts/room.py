"""Room: whether pods that are ready now can answer a share of what comes, going by what requests have cost."""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.rollouts.progress import Sight, VersionSeen, Wait, percent
from policies.snapshot.release import Canary

# So many requests tell what a version costs.
MEASURED_BY = 20
# Going back may ask a tenth more of stable's pods than they were measured for: what they were measured by is a mean,
# and a request that is late there is better than one that a harmful version answers.
_BACK_SLACK = 1.1


class Lack(Struct, frozen=True):
    """Room that is not there, and why, in a sentence."""

    wait: Wait
    because: str


def is_measured(seen: VersionSeen) -> bool:
    """Whether it is known what requests of a version cost, be it that they tell of no device."""
    return seen.requests >= MEASURED_BY


def lack_of_room(canary: Canary, sight: Sight, share: float) -> Lack | None:
    """Return what the new version's pods lack to take a share; None when nothing.

    Without a ready pod no share ever rises. Whether there is room is asked only where policy says ``capacity``; it
    cannot be told of a version whose requests tell of no device time.
    """
    seen, version = sight.candidate, canary.version
    if not seen.ready_pods:
        return Lack(Wait.PODS, f"no pod of version {version} is ready")
    wanted = canary.capacity
    if wanted is None:
        return None
    if seen.ready_pods < wanted.ready_pods_at_least:
        have = f"{seen.ready_pods} of {wanted.ready_pods_at_least} pods of version {version} are ready"
        return Lack(Wait.CAPACITY, have)
    if not is_measured(seen):
        return Lack(Wait.CAPACITY, f"what requests of version {version} cost is known once {MEASURED_BY} are answered")
    if not seen.device_s_each:
        return None
    asked_per_s = share * sight.busiest_per_s * wanted.room
    can_per_s = seen.ready_pods / seen.device_s_each
    if can_per_s >= asked_per_s:
        return None
    return Lack(
        Wait.CAPACITY,
        f"{percent(share)} of the last hour's busiest minute, {wanted.room:g} times, is {asked_per_s:.3g} requests/s, "
        f"and {seen.ready_pods} ready pods of version {version} can answer {can_per_s:.3g}",
    )


def stable_can_take(sight: Sight, share: float) -> float:
    """Return the share of what comes now that stable's ready pods can answer: all of it where nothing was measured.

    What they were measured by may be of quieter minutes, when batches were smaller and a request cost more.

    Args:
        share: that they do not answer now.
    """
    seen = sight.stable
    if not seen.ready_pods:
        return 0.0
    if _BACK_SLACK * (1.0 - share) >= 1.0:
        return 1.0  # they answer nearly all of it already
    if not is_measured(seen) or not seen.device_s_each or not sight.rate_per_s:
        return 1.0
    return min(1.0, _BACK_SLACK * seen.ready_pods / seen.device_s_each / sight.rate_per_s)
