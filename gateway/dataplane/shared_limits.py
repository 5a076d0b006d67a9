"""Shared limits: the limit table as one worker's decisions read it and its requests charge it.

Reading takes no lock. Charging takes the locks of the limits that a request has, looks again whether what was decided
still holds, and writes all charges or none.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from gateway.dataplane.estimates import Estimates
from gateway.decide.limits import Charge, QuotaCharge, RateCharge, SlotCharge, Standing
from gateway.decide.quota_windows import may_come_back
from gateway.limits.table import TAT_WORD, Busy, LimitTable, RowKind, TableFull, domain_of
from model_pod.wire.refusals import Refused

_KINDS: dict[type[Charge], RowKind] = {
    RateCharge: RowKind.RATE,
    SlotCharge: RowKind.IN_FLIGHT,
    QuotaCharge: RowKind.QUOTA,
}


NOT_CHARGED = "the limits could not be charged in time, so the request was not admitted; try again"


class Committed(enum.Enum):
    """What became of charges."""

    DONE = "done"
    CHANGED = "changed"  # a sibling was quicker: decide again
    BUSY = "busy"


class SharedLimits:
    """The limits of one worker's decisions, shared with its siblings.

    Args:
        fd: of the limit table's file, inherited by all workers.
    """

    def __init__(self, fd: int) -> None:
        self._table = LimitTable(fd)
        self._table.take_column()
        self._words = self._table.words
        self._places: dict[str, tuple[int, int]] = {}
        self.estimates = Estimates()

    # --- gateway.decide.limits.Counters

    def tat_ns(self, key: str) -> int:
        """Return a rate's theoretical arrival time."""
        place = self._places.get(key)
        return self._words[(self._row(key, RowKind.RATE) if place is None else place[0]) + TAT_WORD]

    def in_flight(self, key: str) -> int:
        """Return how many requests hold a place."""
        place = self._places.get(key)
        return self._table.in_flight(place[0] if place is not None else self._row(key, RowKind.IN_FLIGHT))

    def standing(self, account: str) -> Standing | None:
        """Return how a quota stands; None until the supervisor has written its row."""
        row = self._table.quota(self._row(account, RowKind.QUOTA))
        if not row.limit:
            return None
        used = row.used
        return Standing(row.granted - used, used + row.offset, row.limit, row.resets_at_s, row.rate_per_s)

    def estimate(self, model: str, version: str, meter: str) -> int:
        """Return what one request probably costs."""
        return self.estimates.of(model, version, meter)

    def _row(self, key: str, kind: RowKind) -> int:
        try:
            return self._table.find(key, kind)
        except (Busy, TableFull) as error:
            raise Refused("limits_busy", NOT_CHARGED) from error

    # --- charging

    def commit(self, charges: Sequence[Charge]) -> Committed:
        """Write all charges, or none because one of them does not hold any more."""
        if not charges:
            return Committed.DONE
        try:
            places = [self._place(charge) for charge in charges]
        except (Busy, TableFull):
            return Committed.BUSY
        domains = {place[1] for place in places}
        if len(domains) == 1:  # as it is unless a model or a shared limit has one too
            return self._commit_in_one(charges, places, places[0][1])
        try:
            self._table.lock(domains)
        except Busy:
            return Committed.BUSY
        try:
            return self._write(charges, places)
        finally:
            self._table.unlock(domains)

    def _commit_in_one(self, charges: Sequence[Charge], places: Sequence[tuple[int, int]], domain: int) -> Committed:
        try:
            self._table.lock_one(domain)
        except Busy:
            return Committed.BUSY
        try:
            return self._write(charges, places)
        finally:
            self._table.unlock_one(domain)

    def _write(self, charges: Sequence[Charge], places: Sequence[tuple[int, int]]) -> Committed:
        table, words = self._table, self._words
        for charge, (offset, _) in zip(charges, places, strict=True):
            if type(charge) is RateCharge:
                if words[offset + TAT_WORD] != charge.seen_tat_ns:
                    return Committed.CHANGED
            elif type(charge) is SlotCharge:
                if charge.most and table.in_flight(offset) >= charge.most:
                    return Committed.CHANGED
            elif not self._is_granted(charge, offset):
                return Committed.CHANGED
        for charge, (offset, _) in zip(charges, places, strict=True):
            if type(charge) is RateCharge:
                words[offset + TAT_WORD] = charge.new_tat_ns
            else:
                table.add(offset, charge.amount if type(charge) is QuotaCharge else 1)
        return Committed.DONE

    def settle(self, charges: Sequence[Charge], cost: Callable[[QuotaCharge], int], wall_s: float) -> None:
        """Give places back, and charge quotas what the request cost instead of what was reserved."""
        for charge in charges:
            if type(charge) is SlotCharge:
                self._table.add(self._place(charge)[0], -1)
            elif type(charge) is QuotaCharge:
                more = cost(charge) - charge.amount
                if more > 0 or (more and may_come_back(charge.per, charge.resets_at_s, wall_s)):
                    self._table.add(self._place(charge)[0], more)

    def _is_granted(self, charge: Charge, offset: int) -> bool:
        assert type(charge) is QuotaCharge  # noqa: S101 - there is no fourth
        row = self._table.quota(offset)
        return row.used + charge.amount <= row.granted

    def _place(self, charge: Charge) -> tuple[int, int]:
        """Return where a charge is written, and under which lock."""
        key = charge.account if type(charge) is QuotaCharge else charge.key  # type: ignore[union-attr]  # the others have one
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self._table.find(key, _KINDS[type(charge)]), domain_of(key)
        return place
