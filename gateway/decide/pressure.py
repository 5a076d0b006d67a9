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


def accepts(now: Pressure, lag_s: float) -> bool:
    """Say whether connections are accepted, given how late the loop was lately."""
    return now is not Pressure.SHUT and lag_s <= MOST_LAG_S
