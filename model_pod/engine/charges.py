"""Divides the device time of a batch among its rows, in whole microseconds and with nothing left over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Held(NamedTuple):
    """One call of the handler that held the device.

    Attributes:
        places: of the rows that it was called with; a row that is searched for among others is in several calls.
        device_us: microseconds that it held the device.
    """

    places: Sequence[int]
    device_us: int


def charge_rows(row_tokens: Sequence[int], calls: Sequence[Held]) -> tuple[int, ...]:
    """Return what each row is charged, in microseconds of the device; the sum is that of all calls.

    A call is paid by the rows it was made with, each by its tokens where every one of them has some, and all alike
    otherwise: padded to one length, rows cost the same.

    Args:
        row_tokens: of every row of the batch; 0 where the handler told none.
    """
    if len(calls) == 1 and len(calls[0].places) == len(row_tokens):  # no row had to be searched for
        return tuple(_shares(row_tokens, calls[0].device_us))
    charged = [0] * len(row_tokens)
    for places, device_us in calls:
        shares = _shares([row_tokens[place] for place in places], device_us)
        for place, share_us in zip(places, shares, strict=True):
            charged[place] += share_us
    return tuple(charged)


def _shares(tokens: Sequence[int], device_us: int) -> list[int]:
    if all(tokens):
        return divide(device_us, tokens)
    share_us, left = divmod(device_us, len(tokens))
    return [share_us + 1] * left + [share_us] * (len(tokens) - left)


def divide(total: int, work: Sequence[int]) -> list[int]:
    """Return whole shares of a total in proportion to work, each at least 1; together they are the total.

    What rounding down leaves goes to the largest remainders, of equal ones to the first (Hamilton's method), so no
    share is a whole unit away from the exact one.
    """
    whole = sum(work)
    shares = [total * one // whole for one in work]
    left = total - sum(shares)
    if left:
        by_remainder = sorted(range(len(work)), key=lambda place: -(total * work[place] % whole))
        for place in by_remainder[:left]:
            shares[place] += 1
    return shares
