"""Decides what one claim changes of one account; every store that runs in this process asks here."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from gateway.control.ledger.protocol import CLOCK_SET_BACK_S, REFUND_WITHIN_S, Claim
from gateway.decide.quota_windows import LONGEST_SLOT_S, LONGEST_WINDOW_S, SLOTS_PER_ROLLING_WINDOW, Window

# Slots that ended so long ago are in no window. A clock that runs far ahead makes all look old, so as many as a window
# has are kept whatever their age.
KEPT_S = LONGEST_WINDOW_S + LONGEST_SLOT_S
KEPT_SLOTS = SLOTS_PER_ROLLING_WINDOW + 32


class Movement(Struct, frozen=True, gc=False):
    """What a holder did since its last claim.

    Attributes:
        spent: to add to the slot of now.
        refund: what was reserved and not spent, to take from the slots in which it may have been reserved.
    """

    spent: int
    refund: int


def movement(known_used_total: int, used_total: int) -> Movement:
    """Return what two readings of a holder's ``used_total`` say."""
    return Movement(max(0, used_total - known_used_total), max(0, known_used_total - used_total))


def granted_total(claim: Claim, window_used: int, outstanding_others: int) -> int:
    """Return what the holder may have: nothing is let beyond the cap, and nothing taken that it may be using.

    Args:
        window_used: by all holders, with what this one now says.
    """
    room = claim.want
    if claim.cap is not None:
        room = min(room, claim.cap - window_used - outstanding_others)
    return max(claim.held_total, claim.used_total + max(0, room))


def refunded(used_by_slot_end: Mapping[float, int], refund: int, window: Window, now_s: float) -> dict[float, int]:
    """Return how much of a refund each slot gives: the oldest first of those in which it may have been reserved.

    Use that is thereby shown too late leaves its window too late, never too early. Nothing comes back out of a window
    that has ended.
    """
    earliest_s = max(window.start_s, now_s - REFUND_WITHIN_S)
    given: dict[float, int] = {}
    for end_s in sorted(end_s for end_s in used_by_slot_end if end_s > earliest_s):
        if refund <= 0:
            break
        given[end_s] = min(refund, used_by_slot_end[end_s])
        refund -= given[end_s]
    return given


def steady_now_s(last_s: float, now_s: float) -> float:
    """Return the time to go by: that of the latest call while the clock is a little behind it."""
    return last_s if last_s - CLOCK_SET_BACK_S <= now_s < last_s else now_s


def is_of_a_wrong_clock(slot_end_s: float, now_s: float) -> bool:
    """Whether a slot ends later than any that begins now, so that a clock that was ahead wrote it."""
    return slot_end_s > now_s + CLOCK_SET_BACK_S + LONGEST_SLOT_S
