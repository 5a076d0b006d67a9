"""Fair queue: requests of one version that found its pods busy, and which of them goes to the next free place.

Strict order between priorities. Among the tenants of a priority, deficit round robin by weight, where a request costs
what its owner says: a worker says the same of all requests of a version, so that each counts once. Within a tenant, the
order of arrival.

A request that only one pod is good for waits in the lane of that pod. While a lane is blocked, whoever waits in others
goes before it; its tenant keeps its place in the order of turns, and so is among the next when the lane is free again.

A round gives each tenant that waits one turn, with ``unit * weight / lightest weight`` to spend; what a turn leaves is
less than the tenant's next request costs, and goes into its next turn. The unit is the dearest request that had the
front of its tenant's row in the round before, and is fixed within a round: so turns are fair by construction, most of
them spend something, and a single dear request makes no long turns for ever. Two tenants that always have something
waiting are never further apart than ``dearest * (1/lightest + 1/weight + 1/other weight)`` in cost per weight.

Where a full queue must make room, the tenant with the most waiting gives it, newest first.

Source: M. Shreedhar and G. Varghese, "Efficient Fair Queuing Using Deficit Round-Robin", 1995, for the turns;
P. McKenney, "Stochastic Fairness Queuing", 1990, for taking the room from the longest.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

from msgspec import Struct

from gateway.decide.decision import Refusal
from gateway.decide.lateness import DrainRate, would_be_late

# Of a queue's places, those that requests of a priority below 0 may fill.
SHEDDABLE_SHARE = 0.5
# Of the longest wait, what may be predicted: the rest is for predictions that are off, so that few wait for nothing.
PREDICTED_SHARE = 0.8
# Longest time that a refused caller is told to stay away: by then everything may be different.
MOST_RETRY_S = 30.0
# Up to so many tenants, how much is ahead of a request is summed up one by one; beyond, it is bounded from above.
_SUMMED_TENANTS = 64
# A tenant that has had something waiting for so long goes on to, and takes its share of every second.
_STEADY_S = 1.0
# What has left stays in the heap of moments until that comes, or until the heap is twice as long as what waits.
_SPARE_MOMENTS = 64

W = TypeVar("W")


def _number_of(ticket: Ticket[W]) -> int:
    return ticket.number


class Asked(Struct, frozen=True):
    """What a request asks of the queue.

    Attributes:
        cost: in the unit that all requests of the queue are measured in; above 0.
        service_s: predicted time from its going to a pod to its answer; 0.0 when nothing is known.
        most_waiting: requests of its tenant that may wait.
        longest_wait_s: after which it gives up; 0.0 when it may not wait at all.
        deadline_s: a moment of the clock that ``now_s`` is of.
        lane: that it begins in; "" is the lane of all that any pod is good for.
        counted_as: model and tier under which its wait is counted.
    """

    tenant: str
    priority: int
    weight: int
    cost: float
    service_s: float
    most_waiting: int
    longest_wait_s: float
    deadline_s: float
    lane: str = ""
    counted_as: tuple[str, str] = ("", "")


class Ticket(Generic[W]):
    """A place in the queue.

    Attributes:
        queue: that it is in, or was.
        waiter: whatever the queue's owner knows the request by.
        since_s: moment of its arrival.
        give_up_s: moment from which it waits no longer.
        held_bytes: of its body so far; the owner's to count.
        lane: that it waits in.
        number: of its arrival.
    """

    __slots__ = ("asked", "give_up_s", "held_bytes", "lane", "number", "queue", "row", "since_s", "waiter")

    def __init__(self, queue: FairQueue[W], waiter: W, asked: Asked, now_s: float) -> None:
        self.queue = queue
        self.waiter = waiter
        self.asked = asked
        self.since_s = now_s
        # However slow others were, half of its time may pass in the queue: perhaps this one is faster.
        needed_s = min(asked.service_s, (asked.deadline_s - now_s) / 2)
        self.give_up_s = min(now_s + asked.longest_wait_s, asked.deadline_s - needed_s)
        self.held_bytes = 0
        self.lane = asked.lane
        self.number = 0
        self.row: _Row[W] | None = None  # None once it waits no more

    @property
    def waits(self) -> bool:
        """Whether it still has its place."""
        return self.row is not None


class Offered(Struct, Generic[W], frozen=True):
    """What became of a request that wanted to wait.

    Attributes:
        ticket: its place; None when it was refused.
        refusal: why it was refused.
        displaced: who lost a place to it, and must be told ``displaced_refusal``.
    """

    ticket: Ticket[W] | None
    refusal: Refusal | None = None
    displaced: Ticket[W] | None = None


class _Row(Generic[W]):
    """What one tenant has waiting at one priority, in lanes, oldest first.

    Attributes:
        deficit: what it may still spend in its turn.
        is_in_turn: it has been given what it may spend in this turn.
        round: of its last turn, or of the one that it came in.
        since_s: moment from which on it has always had something waiting.
    """

    __slots__ = ("band", "cost", "count", "deficit", "is_in_turn", "lanes", "round", "since_s", "tenant", "weight")

    def __init__(self, band: _Band[W], tenant: str, weight: int, of_round: int, since_s: float) -> None:
        self.band = band
        self.tenant = tenant
        self.weight = weight
        self.lanes: dict[str, OrderedDict[Ticket[W], None]] = {}
        self.count = 0
        self.cost = 0.0
        self.deficit = 0.0
        self.is_in_turn = False
        self.round = of_round
        self.since_s = since_s

    def add(self, ticket: Ticket[W]) -> None:
        self.lanes.setdefault(ticket.lane, OrderedDict())[ticket] = None
        self.count += 1

    def remove(self, ticket: Ticket[W]) -> None:
        lane = self.lanes[ticket.lane]
        del lane[ticket]
        self.count -= 1
        if not lane:
            del self.lanes[ticket.lane]

    def oldest(self, blocked: Collection[str]) -> Ticket[W]:
        return min((next(iter(self.lanes[lane])) for lane in self.lanes if lane not in blocked), key=_number_of)

    def newest(self) -> Ticket[W]:
        return max((next(reversed(lane)) for lane in self.lanes.values()), key=_number_of)

    def is_blocked(self, blocked: Collection[str]) -> bool:
        return all(lane in blocked for lane in self.lanes)


class _Lengths(Generic[W]):
    """Rows by how many tickets they have, so that the longest is found without looking at each."""

    def __init__(self) -> None:
        self._rows: dict[int, OrderedDict[_Row[W], None]] = {}
        self._longest = 0

    def move(self, row: _Row[W], before: int, after: int) -> None:
        if before:
            self._rows[before].pop(row)
            if not self._rows[before]:
                del self._rows[before]
        if after:
            self._rows.setdefault(after, OrderedDict())[row] = None
        self._longest = max(self._longest, after)
        while self._longest and self._longest not in self._rows:
            self._longest -= 1

    def longest(self) -> _Row[W]:
        return next(iter(self._rows[self._longest]))


class _Band(Generic[W]):
    """All that waits at one priority; the order of ``rows`` is the order of their turns."""

    def __init__(self) -> None:
        self.rows: OrderedDict[str, _Row[W]] = OrderedDict()
        self.lengths: _Lengths[W] = _Lengths()
        self.cost = 0.0
        self._weights: Counter[int] = Counter()
        self._round = 0
        self._unit = 0.0
        self._next_unit = 0.0
        self._lightest = 1

    def add(self, ticket: Ticket[W]) -> None:
        asked = ticket.asked
        row = self.rows.get(asked.tenant)
        if row is None:
            row = self.rows[asked.tenant] = _Row(self, asked.tenant, asked.weight, self._round, ticket.since_s)
            self._weights[row.weight] += 1
        elif row.weight != asked.weight:  # another generation's
            self._forget_weight(row)
            row.weight = asked.weight
            self._weights[row.weight] += 1
        row.add(ticket)
        ticket.row = row
        row.cost += asked.cost
        self.cost += asked.cost
        self.lengths.move(row, row.count - 1, row.count)

    def remove(self, row: _Row[W], ticket: Ticket[W]) -> None:
        row.remove(ticket)
        ticket.row = None
        self.lengths.move(row, row.count + 1, row.count)
        row.cost -= ticket.asked.cost
        self.cost -= ticket.asked.cost
        if not row.count:
            del self.rows[row.tenant]
            self._forget_weight(row)

    def first(self, blocked: Collection[str]) -> Ticket[W] | None:
        """Return who goes next; the same one until something comes or goes. Rows that are blocked keep their places."""
        while (row := self._next_row(blocked)) is not None:
            ticket = row.oldest(blocked)
            if not row.is_in_turn:
                self._begin_turn(row, ticket.asked.cost)
            if row.deficit >= ticket.asked.cost:
                return ticket
            row.is_in_turn = False
            self.rows.move_to_end(row.tenant)
        return None

    def _next_row(self, blocked: Collection[str]) -> _Row[W] | None:
        for row in self.rows.values():
            if not row.is_blocked(blocked):
                return row
        return None

    def ahead(self, asked: Asked, now_s: float) -> float:
        """Return what is served before a request that comes now, its own cost left out.

        By the time that its tenant's row is served up to it, every other has had its share by weight, or all it had.
        """
        row = self.rows.get(asked.tenant)
        own = row.cost if row is not None else 0.0
        per_weight = (own + asked.cost) / asked.weight
        if len(self.rows) > _SUMMED_TENANTS:
            weights = sum(weight * count for weight, count in self._weights.items())
            return min(self.cost, own + per_weight * weights)
        steady_s = now_s - _STEADY_S
        return own + sum(
            per_weight * one.weight if one.since_s <= steady_s else min(one.cost, per_weight * one.weight)
            for one in self.rows.values()
            if one is not row
        )

    def _begin_turn(self, row: _Row[W], cost: float) -> None:
        if row.round == self._round:  # it had a turn in this round, or came in it: so everyone had
            self._round += 1
            self._unit, self._next_unit = max(self._next_unit, cost), 0.0
            self._lightest = min(self._weights)
        row.round = self._round
        row.deficit += self._unit * row.weight / self._lightest
        self._next_unit = max(self._next_unit, cost)
        row.is_in_turn = True

    def _forget_weight(self, row: _Row[W]) -> None:
        self._weights[row.weight] -= 1
        if not self._weights[row.weight]:
            del self._weights[row.weight]


class FairQueue(Generic[W]):
    """What waits for the pods of one version in one worker.

    Args:
        name: of the version, for messages.
        places: most requests that may wait.
    """

    def __init__(self, name: str, places: int) -> None:
        self._name = name
        self._places = places
        self._bands: dict[int, _Band[W]] = {}
        self._count = 0
        self._lanes: Counter[str] = Counter()
        self._moments: list[tuple[float, int, Ticket[W]]] = []
        self._arrivals = 0
        self._drain = DrainRate()

    def __len__(self) -> int:
        return self._count

    def is_forgotten(self, now_s: float) -> bool:
        """Whether nobody waits, and nothing is known any more of how fast it drains."""
        return not self._count and self._drain.is_forgotten(now_s)

    def offer(self, waiter: W, asked: Asked, now_s: float) -> Offered[W]:
        """Give a request a place, or say why it has none; what would be too late or wait too long gets none."""
        wait_s = self.predicted_wait_s(asked, now_s)
        refusal = self._unwelcome(asked, wait_s, now_s)
        if refusal is not None:
            return Offered(None, refusal)
        displaced = None
        if self._count >= self._places:
            displaced = self._victim(asked)
            if displaced is None:
                message = f"{self._count} requests wait for the pods of {self._name}, as many as may"
                return Offered(None, self._refusal("pods_busy", message, wait_s))
            self.leave(displaced, now_s)
        return Offered(self._admit(Ticket(self, waiter, asked, now_s), now_s), displaced=displaced)

    def predicted_wait_s(self, asked: Asked, now_s: float) -> float:
        """Return how long a request that comes now would wait here at best; 0.0 when nobody waits or it is not known.

        So whatever was measured once, somebody is always let in who measures anew.
        """
        if not self._count:
            return 0.0
        higher = sum(band.cost for priority, band in self._bands.items() if priority > asked.priority)
        band = self._bands.get(asked.priority)
        ahead = higher + (band.ahead(asked, now_s) if band is not None else 0.0)
        return self._drain.wait_s(ahead + asked.cost, now_s)

    def displaced_refusal(self, ticket: Ticket[W], now_s: float) -> Refusal:
        """Return what is told to a request that lost its place to another."""
        message = f"{self._places} requests wait for the pods of {self._name}, as many as may, and one came before it"
        return self._refusal("shed", message, self.predicted_wait_s(ticket.asked, now_s))

    def first(self, blocked: Collection[str] = ()) -> Ticket[W] | None:
        """Return who goes to the next free place, if anybody waits; ``take`` says that it went.

        Args:
            blocked: lanes whose pods have no room; who waits in them is passed over.
        """
        if self._lanes.keys() <= set(blocked):  # so mostly nobody has to be looked at
            return None
        for priority in sorted(self._bands, reverse=True):
            ticket = self._bands[priority].first(blocked)
            if ticket is not None:
                return ticket
        return None

    def change_lane(self, ticket: Ticket[W], lane: str) -> None:
        """Let a request wait behind those of another lane: another pod is the one for it now."""
        row = ticket.row
        if row is not None:
            row.remove(ticket)
            self._leave_lane(ticket)
            ticket.lane = lane
            row.add(ticket)
            self._lanes[lane] += 1

    def take(self, ticket: Ticket[W], now_s: float) -> None:
        """Take a request out that went to a pod."""
        row = ticket.row
        if row is not None:
            row.deficit -= ticket.asked.cost
            self._drain.took(ticket.asked.cost, now_s)
            self._remove(row, ticket, now_s)

    def leave(self, ticket: Ticket[W], now_s: float) -> None:
        """Take a request out that went nowhere; harmless when it does not wait any more."""
        if ticket.row is not None:
            self._remove(ticket.row, ticket, now_s)

    def expire(self, now_s: float) -> Iterable[tuple[Ticket[W], Refusal]]:
        """Take out whose time is over, and return what each is told."""
        over: list[tuple[Ticket[W], Refusal]] = []
        while self._moments and self._moments[0][0] <= now_s:
            ticket = heappop(self._moments)[2]
            if ticket.waits:
                self.leave(ticket, now_s)
                over.append((ticket, self._over(ticket, now_s)))
        return over

    def _admit(self, ticket: Ticket[W], now_s: float) -> Ticket[W]:
        self._drain.begin(now_s)
        self._arrivals += 1
        ticket.number = self._arrivals
        self._bands.setdefault(ticket.asked.priority, _Band()).add(ticket)
        self._count += 1
        self._lanes[ticket.lane] += 1
        heappush(self._moments, (ticket.give_up_s, ticket.number, ticket))
        return ticket

    def _unwelcome(self, asked: Asked, wait_s: float, now_s: float) -> Refusal | None:
        if asked.longest_wait_s <= 0.0:
            return self._refusal("pods_busy", f"every pod of {self._name} is busy, and the tier does not wait", wait_s)
        if late := would_be_late(now_s, asked.deadline_s, wait_s, asked.service_s):
            why = f"{self._count} requests wait for the pods of {self._name}"
            return Refusal("would_be_late", f"{late}: {why}; give it more time, or try again")
        if wait_s > asked.longest_wait_s * PREDICTED_SHARE:
            message = f"a pod of {self._name} would have room for it in about {wait_s:.1f} s"
            too_long = f"more than {PREDICTED_SHARE:.0%} of the {asked.longest_wait_s:g} s that it may wait"
            return self._refusal("pods_busy", f"{message}, {too_long}", wait_s)
        if self._waiting_of(asked) >= asked.most_waiting:
            message = f"{asked.most_waiting} requests of the tenant wait for the pods of {self._name}, as many as may"
            return self._refusal("pods_busy", message, wait_s)
        if asked.priority < 0 and self._count >= math.ceil(self._places * SHEDDABLE_SHARE):
            message = f"{self._count} requests wait for the pods of {self._name}, and its priority is below 0"
            return self._refusal("shed", message, wait_s)
        return None

    def _waiting_of(self, asked: Asked) -> int:
        band = self._bands.get(asked.priority)
        row = band.rows.get(asked.tenant) if band is not None else None
        return row.count if row is not None else 0

    def _victim(self, asked: Asked) -> Ticket[W] | None:
        """Return who must make room in a full queue; None when the newcomer has no better claim than anybody."""
        lowest = min(self._bands)
        if lowest > asked.priority:
            return None
        row = self._bands[lowest].lengths.longest()
        has_claim = lowest < asked.priority or row.count > self._waiting_of(asked) + 1
        return row.newest() if has_claim else None

    def _leave_lane(self, ticket: Ticket[W]) -> None:
        self._lanes[ticket.lane] -= 1
        if not self._lanes[ticket.lane]:
            del self._lanes[ticket.lane]

    def _remove(self, row: _Row[W], ticket: Ticket[W], now_s: float) -> None:
        row.band.remove(row, ticket)
        self._count -= 1
        self._leave_lane(ticket)
        if not row.band.rows:
            del self._bands[ticket.asked.priority]
        if not self._count:
            self._drain.stop(now_s)
        if len(self._moments) > 2 * self._count + _SPARE_MOMENTS:
            self._moments = [moment for moment in self._moments if moment[2].waits]
            heapify(self._moments)

    def _over(self, ticket: Ticket[W], now_s: float) -> Refusal:
        asked, waited_s = ticket.asked, now_s - ticket.since_s
        told = f"no pod of {self._name} had room for {waited_s:.1f} s"
        if asked.deadline_s <= now_s:
            return Refusal("deadline_exceeded", f"{told}, and the request's deadline passed; it was not run")
        if now_s < ticket.since_s + asked.longest_wait_s:
            left_ms = round((asked.deadline_s - now_s) * 1000)
            return Refusal("would_be_late", f"{told}, and its deadline in {left_ms} ms is too soon to begin it now")
        return self._refusal("waited_too_long", told, self.predicted_wait_s(asked, now_s))

    def _refusal(self, reason: str, message: str, wait_s: float) -> Refusal:
        return Refusal(reason, f"{message}; try again shortly", min(wait_s, MOST_RETRY_S))
