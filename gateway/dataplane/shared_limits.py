"""Shared limits: the limit table as one worker's decisions read it and its requests charge it.

Reading takes no lock. Charging takes the locks of the limits that a request has, looks again whether what was decided
still holds, and writes all charges or none.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence

from msgspec import Struct

from gateway.dataplane.estimates import Estimates
from gateway.decide.admission import Room
from gateway.decide.limits import NS, Charge, QuotaCharge, RateCharge, SlotCharge, Standing
from gateway.decide.quota_windows import may_come_back
from gateway.decide.tables import Admission, RateBound, SlotBound
from gateway.limits.table import TAT_WORD, Busy, LimitTable, RowKind, TableFull, domain_of
from model_pod.wire.refusals import Refused

_KINDS: dict[type[Charge], RowKind] = {
    RateCharge: RowKind.RATE,
    SlotCharge: RowKind.IN_FLIGHT,
    QuotaCharge: RowKind.QUOTA,
}


# Instead of a lock's number, of those that have no limits.
_NO_LIMITS = -1
# So many tenants of one turn have their locks taken one by one, and others are kept from nothing.
_LOCKED_EACH = 4
NOT_CHARGED = "the limits could not be charged in time, so the request was not admitted; try again"


class Charged(Struct, frozen=True):
    """Where the rates and places in flight of one caller are written, all under one lock.

    Attributes:
        rates: of each rate the word of its time, the nanoseconds between two requests, and those of its burst.
        slots: of each bound on requests in flight the words of all workers, how many there may be, and our own word.
        domain: of the lock.
        admission: what the limits are.
    """

    rates: tuple[tuple[int, int, int], ...]
    slots: tuple[tuple[slice, int, int], ...]
    domain: int
    admission: Admission

    @property
    def nothing_left(self) -> tuple[int, ...]:
        """What is left of limits that have no room."""
        return (0,) * (len(self.rates) + len(self.slots))

    @property
    def held(self) -> tuple[Charge, ...]:
        """The places in flight, to be given back."""
        return tuple(SlotCharge(slot.key, slot.most) for slot in self.admission.slots)

    def rooms(self, lefts: tuple[int, ...]) -> tuple[Room, ...]:
        """Return what is left as a decision tells it."""
        rates, slots = self.admission.rates, self.admission.slots
        told = [(rate.name, rate.interval_ns / NS) for rate in rates] + [(slot.name, 0.0) for slot in slots]
        return tuple(Room(name, left, reset_s, 1) for (name, reset_s), left in zip(told, lefts, strict=True))


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

    # --- charging what nearly every request is charged

    def charged(self, admission: Admission) -> Charged | None:
        """Return where these limits are written; None where they are not all enforced rates and places of one tenant.

        Raises:
            Refused: ``limits_busy``.
        """
        rates, slots = admission.rates, admission.slots
        bounds: list[RateBound | SlotBound] = [*rates, *slots]
        domains = {domain_of(bound.key) for bound in bounds}
        if admission.quotas or len(domains) > 1 or any(bound.observe for bound in bounds):
            return None
        return Charged(
            tuple(
                (self._row(rate.key, RowKind.RATE) + TAT_WORD, rate.interval_ns, rate.burst * rate.interval_ns)
                for rate in rates
            ),
            tuple(
                (self._table.columns_of(place), slot.most, place + self._table.own_word)
                for slot in slots
                for place in (self._row(slot.key, RowKind.IN_FLIGHT),)
            ),
            min(domains, default=_NO_LIMITS),
            admission,
        )

    def charge(self, requests: Sequence[Charged], now_ns: int) -> list[tuple[int, ...] | None] | None:
        """Charge requests one after the other, under one lock; return what is left of each limit of each of them.

        None stands for one of which some limit has no room, and which is charged nothing; None instead of the list says
        that the limits could not be charged in time. It is
        ``gateway.decide.admission.admit`` and ``commit`` in one, while the lock is held.
        """
        domains = {request.domain for request in requests if request.domain != _NO_LIMITS}
        try:
            self._lock(domains)
        except Busy:
            return None
        try:
            return self._charge_each(requests, now_ns)
        finally:
            self._unlock(domains)

    def _lock(self, domains: Collection[int]) -> None:
        if len(domains) == 1:
            (domain,) = domains
            self._table.lock_one(domain)
        elif len(domains) <= _LOCKED_EACH:
            self._table.lock(domains)
        else:
            self._table.lock_all()

    def _unlock(self, domains: Collection[int]) -> None:
        if len(domains) == 1:
            (domain,) = domains
            self._table.unlock_one(domain)
        elif len(domains) <= _LOCKED_EACH:
            self._table.unlock(domains)
        else:
            self._table.unlock_all()

    def _charge_each(self, requests: Sequence[Charged], now_ns: int) -> list[tuple[int, ...] | None]:
        told: list[tuple[int, ...] | None] = []
        at, end = 0, len(requests)
        while at < end:
            request = requests[at]
            lefts = self._charge_one(request, now_ns)
            told.append(lefts)
            at += 1
            more = 0
            while at < end and requests[at] is request:
                at += 1
                more += 1
            if more:
                told += self._charge_more(request, lefts, more)
        return told

    def _charge_more(
        self, request: Charged, lefts: tuple[int, ...] | None, count: int
    ) -> Sequence[tuple[int, ...] | None]:
        """Charge so many more that have the same limits as one to which so much was left: each finds one less."""
        if not lefts:  # there was no room for that one, or there are no limits
            return [lefts] * count
        admitted = min(count, *lefts)
        words = self._words
        for at, interval_ns, _ in request.rates:
            words[at] += admitted * interval_ns
        for _, _, at in request.slots:
            words[at] += admitted
        told = zip(*[range(left - 1, left - 1 - admitted, -1) for left in lefts], strict=True)
        return [*told, *[None] * (count - admitted)]

    def _charge_one(self, request: Charged, now_ns: int) -> tuple[int, ...] | None:
        words = self._words
        lefts: list[int] = []
        moved: list[tuple[int, int]] = []
        for at, interval_ns, burst_ns in request.rates:
            tat_ns = words[at]
            new_tat_ns = (tat_ns if tat_ns > now_ns else now_ns) + interval_ns
            ahead_ns = new_tat_ns - now_ns
            if ahead_ns > burst_ns or tat_ns < 0:
                return None
            lefts.append((burst_ns - ahead_ns) // interval_ns)
            moved.append((at, new_tat_ns))
        for columns, most, _ in request.slots:
            left = most - 1 - sum(words[columns])
            if left < 0:
                return None
            lefts.append(left)
        for at, new_tat_ns in moved:
            words[at] = new_tat_ns
        for _, _, at in request.slots:
            words[at] += 1
        return tuple(lefts)

    def give_back(self, charged: Charged) -> None:
        """The request is over: its places in flight are free."""
        words = self._words
        for _, _, at in charged.slots:
            words[at] -= 1

    # --- settling

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
