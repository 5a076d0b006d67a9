"""Five times more than the pods can do, in simulated time: no capacity is lost, and everybody has a share.

The pods are places that are busy for as long as a request takes; the clock is the list of what happens next.
"""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field

import pytest

from gateway.decide.fair_queue import Asked, FairQueue, Ticket

PLACES = 8
SERVICE_S = 0.02
CAPACITY_PER_S = PLACES / SERVICE_S
MOST_WAITING = 64
LONGEST_WAIT_S = 1.0
FOR_S = 30.0
SETTLED_AFTER_S = 2.0


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    rate_per_s: float
    weight: int = 1
    priority: int = 0
    service_s: float = SERVICE_S


@dataclass
class Played:
    """What came of it, after the first moments.

    Attributes:
        work_s: of the pods' time, by tenant.
        at_once, late: refusals on arrival, and after a wait.
        waits_s: of those that were served.
    """

    offered: Counter[str] = field(default_factory=Counter)
    served: Counter[str] = field(default_factory=Counter)
    work_s: dict[str, float] = field(default_factory=dict)
    at_once: Counter[str] = field(default_factory=Counter)
    late: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)

    @property
    def goodput(self) -> float:
        """Share of the pods' time that went into answers."""
        return sum(self.work_s.values()) / (PLACES * (FOR_S - SETTLED_AFTER_S))


class Simulation:
    """An open loop of tenants against one version's pods; costs are told to the queue as what they will be."""

    def __init__(self, tenants: list[Tenant], *, deadline_s: float = 5.0) -> None:
        self.queue: FairQueue[Tenant] = FairQueue("digits/1", 4096)
        self.played = Played()
        self._deadline_s = deadline_s
        self._free = PLACES
        self._next: list[tuple[float, int, Tenant | None]] = []
        self._number = itertools.count()
        for tenant in tenants:
            heapq.heappush(self._next, (1 / tenant.rate_per_s, next(self._number), tenant))

    def run(self) -> Played:
        tick_s = 0.05
        while self._next[0][0] < FOR_S:
            now_s, _, tenant = heapq.heappop(self._next)
            while tick_s <= now_s:
                self._tick(tick_s)
                tick_s += 0.05
            if tenant is None:
                self._free += 1
                self._serve(now_s)
            else:
                self._arrive(tenant, now_s)
        return self.played

    def _arrive(self, tenant: Tenant, now_s: float) -> None:
        heapq.heappush(self._next, (now_s + 1 / tenant.rate_per_s, next(self._number), tenant))
        counted = now_s > SETTLED_AFTER_S
        self.played.offered[tenant.name] += counted
        if self._free and not len(self.queue):
            self._send(tenant, now_s)
            return
        cost = tenant.service_s * 1e6
        of = Asked(
            tenant.name,
            tenant.priority,
            tenant.weight,
            cost,
            tenant.service_s,
            MOST_WAITING,
            LONGEST_WAIT_S,
            now_s + self._deadline_s,
        )
        offered = self.queue.offer(tenant, of, now_s)
        if offered.refusal is not None:
            self.played.at_once[tenant.name] += counted
        if offered.displaced is not None:
            self._lost(offered.displaced, now_s)

    def _serve(self, now_s: float) -> None:
        self._tick(now_s)
        while self._free and (ticket := self.queue.first()) is not None:
            self.queue.take(ticket, now_s)
            if now_s > SETTLED_AFTER_S:
                self.played.waits_s.append(now_s - ticket.since_s)
            assert now_s + ticket.waiter.service_s <= ticket.asked.deadline_s
            self._send(ticket.waiter, now_s)

    def _send(self, tenant: Tenant, now_s: float) -> None:
        self._free -= 1
        heapq.heappush(self._next, (now_s + tenant.service_s, next(self._number), None))
        if now_s > SETTLED_AFTER_S:
            self.played.served[tenant.name] += 1
            work_s = self.played.work_s
            work_s[tenant.name] = work_s.get(tenant.name, 0.0) + tenant.service_s

    def _tick(self, now_s: float) -> None:
        for ticket, _ in self.queue.expire(now_s):
            self._lost(ticket, now_s)

    def _lost(self, ticket: Ticket[Tenant], now_s: float) -> None:
        self.played.late[ticket.waiter.name] += now_s > SETTLED_AFTER_S


def shares(played: Played) -> dict[str, float]:
    total_s = sum(played.work_s.values())
    return {name: work_s / total_s for name, work_s in played.work_s.items()}


def test_at_five_times_the_capacity_none_of_it_is_lost_and_four_tenants_have_a_quarter_each() -> None:
    """One floods with more than all others together, and gets no more than they."""
    flood = [Tenant("flood", 3.2 * CAPACITY_PER_S), *(Tenant(name, 0.6 * CAPACITY_PER_S) for name in "abc")]
    played = Simulation(flood).run()
    assert played.goodput >= 0.99
    assert all(share >= 0.8 / 4 for share in shares(played).values())
    assert max(shares(played).values()) <= 1.1 / 4


def test_who_is_refused_is_refused_on_arrival() -> None:
    played = Simulation([Tenant(name, 1.25 * CAPACITY_PER_S) for name in "abcd"]).run()
    assert sum(played.late.values()) <= 0.01 * sum(played.at_once.values())
    assert max(played.waits_s) <= 1.0 + SERVICE_S


def test_shares_go_by_weight() -> None:
    weights = {"a": 6, "b": 3, "c": 2, "d": 1}
    played = Simulation([Tenant(name, 1.25 * CAPACITY_PER_S, weight) for name, weight in weights.items()]).run()
    assert played.goodput >= 0.99
    for name, weight in weights.items():
        assert shares(played)[name] >= 0.8 * weight / 12
    assert sum(played.late.values()) <= 0.005 * sum(played.at_once.values())


def test_shares_are_of_the_pods_time_not_of_requests() -> None:
    tenants = [Tenant("dear", 50.0, service_s=0.1), *(Tenant(name, 500.0) for name in "abc")]
    played = Simulation(tenants).run()
    assert shares(played) == pytest.approx(dict.fromkeys(("dear", *"abc"), 0.25), rel=0.1)


def test_who_asks_for_less_than_its_share_gets_all_of_it() -> None:
    played = Simulation([Tenant("small", 0.1 * CAPACITY_PER_S), Tenant("flood", 5.0 * CAPACITY_PER_S)]).run()
    assert played.served["small"] >= 0.99 * played.offered["small"]
    assert played.goodput >= 0.99


def test_a_lower_priority_gets_what_is_left_and_nothing_else() -> None:
    tenants = [Tenant("high", 0.7 * CAPACITY_PER_S, priority=10), Tenant("low", 4.3 * CAPACITY_PER_S, priority=-10)]
    played = Simulation(tenants).run()
    assert played.served["high"] == pytest.approx(played.offered["high"], abs=PLACES)
    assert shares(played)["low"] == pytest.approx(0.3, abs=0.02)
    assert played.goodput >= 0.99


def test_shares_hold_where_places_come_free_in_batches() -> None:
    """All places are free at about the same moment, every two seconds, which is longer than anybody may wait."""
    tenants = [Tenant("flood", 40.0, service_s=2.0), *(Tenant(name, 5.0, service_s=2.0) for name in "abc")]
    played = Simulation(tenants).run()
    assert played.goodput >= 0.95
    assert all(share >= 0.8 / 4 for share in shares(played).values())


def test_nothing_is_begun_that_its_deadline_does_not_leave_time_for() -> None:
    played = Simulation([Tenant(name, 1.25 * CAPACITY_PER_S) for name in "abcd"], deadline_s=0.2).run()
    assert played.goodput >= 0.99
    assert max(played.waits_s) <= 0.2
    assert sum(played.late.values()) <= 0.02 * sum(played.at_once.values())
