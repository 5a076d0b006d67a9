"""Decides what a worker still takes on when memory is short or its own loop is late."""

from __future__ import annotations

from enum import IntEnum

# Envoy's overload manager: from here on the little memory that is left is for what runs already.
REFUSE_FROM = 0.92
SHUT_FROM = 0.95
# Relief counts once it is clear, or each request that ends would let another in and out again.
RELIEF = 0.02
# A loop that was so late has requests waiting; a sibling is quicker with the next ones.
MOST_LAG_S = 1.0
# Bodies of requests may hold so much in one worker, however much memory there is.
MOST_BODIES_BYTES = 256 * 1024 * 1024
# And so much of what memory is left: what they cost beside their bytes, and answers, is to fit in the rest.
_BODIES_SHARE = 0.5
# A smaller body costs hardly more than its request does anyway, and is not counted.
SMALL_BODY_BYTES = 16 * 1024
# However large a body is, no more of it is held: what one read of a connection gives, and what its pod has room for.
HELD_OF_BODY_BYTES = (256 + 64) * 1024


class Pressure(IntEnum):
    """How short memory is."""

    NONE = 0
    REFUSES = 1  # new requests are refused
    SHUT = 2  # and connections wait in the kernel's queue


def pressure(before: Pressure, used_ratio: float) -> Pressure:
    """Return the pressure, given the last one and how much of the allowed memory is used."""
    if used_ratio >= (SHUT_FROM - RELIEF if before is Pressure.SHUT else SHUT_FROM):
        return Pressure.SHUT
    if used_ratio >= (REFUSE_FROM - RELIEF if before is not Pressure.NONE else REFUSE_FROM):
        return Pressure.REFUSES
    return Pressure.NONE


def accepts(now: Pressure, *, rests: bool) -> bool:
    """Say whether connections are accepted, given whether this worker may leave them to its siblings for a while."""
    return now is not Pressure.SHUT and not rests


def wants_rest(lag_s: float) -> bool:
    """Say whether siblings had better take the next connections, given how late the loop was lately."""
    return lag_s > MOST_LAG_S


def most_resting(worker_count: int) -> int:
    """Return how many workers may leave connections to the others at a time: where all are late, one goes on."""
    return max(0, worker_count - 1)


def bodies_room_bytes(left_bytes: float, worker_count: int) -> int:
    """Return what bodies may hold in one worker, given how much memory is left to all before requests are refused."""
    return int(min(MOST_BODIES_BYTES, max(0.0, left_bytes * _BODIES_SHARE / worker_count)))


def may_hold_bytes(announced_bytes: int | None) -> int:
    """Return how much of a body may have to be held at a time; 0 for one that does not count.

    Args:
        announced_bytes: its length; None when it tells its end only when it comes.
    """
    if announced_bytes is None:
        return HELD_OF_BODY_BYTES
    return 0 if announced_bytes <= SMALL_BODY_BYTES else min(announced_bytes, HELD_OF_BODY_BYTES)
