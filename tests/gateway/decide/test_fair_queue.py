"""Who waits for busy pods, and in which order: by weight, strict by priority, bounded; nobody is lost or doubled."""

from __future__ import annotations

import itertools
import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.decide.fair_queue import Asked, FairQueue, Offered, Ticket
from gateway.errors import REASONS

FAR_S = 1e9


def asked(
    tenant: str = "ads",
    *,
    priority: int = 0,
    weight: int = 1,
    cost: float = 1.0,
    service_s: float = 0.0,
    most_waiting: int = 10_000,
    longest_wait_s: float = 1000.0,
    deadline_s: float = FAR_S,
    lane: str = "",
) -> Asked:
    return Asked(tenant, priority, weight, cost, service_s, most_waiting, longest_wait_s, deadline_s, lane)


def enter(queue: FairQueue[str], name: str, of: Asked, now_s: float = 0.0) -> Ticket[str]:
    ticket = queue.offer(name, of, now_s).ticket
    assert ticket is not None
    return ticket


def take(queue: FairQueue[str], now_s: float = 0.0) -> str:
    ticket = queue.first()
    assert ticket is not None
    queue.take(ticket, now_s)
    return ticket.waiter


def emptied(queue: FairQueue[str]) -> list[str]:
    return [take(queue) for _ in range(len(queue))]


def refused(offered: Offered[str]) -> tuple[str, str]:
    assert offered.ticket is None
    assert offered.refusal is not None
    assert offered.refusal.reason in REASONS
    return offered.refusal.reason, offered.refusal.message


# --- whose turn it is


def test_one_tenant_s_requests_keep_their_order() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for name in "abcde":
        enter(queue, name, asked())
    assert emptied(queue) == list("abcde")


def test_tenants_of_one_weight_take_turns() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for name in ("a1", "a2", "a3"):
        enter(queue, name, asked("a"))
    for name in ("b1", "b2", "c1"):
        enter(queue, name, asked(name[0]))
    assert emptied(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_weight_of_three_gets_three_where_one_gets_one() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for number in range(8):
        enter(queue, f"a{number}", asked("a", weight=3))
        enter(queue, f"b{number}", asked("b", weight=1))
    assert Counter(name[0] for name in emptied(queue)[:8]) == {"a": 6, "b": 2}


def test_a_dear_request_costs_its_tenant_its_turns() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for number in range(4):
        enter(queue, f"a{number}", asked("a", cost=4.0))
    for number in range(16):
        enter(queue, f"b{number}", asked("b", cost=1.0))
    for number in range(1, 4):
        served = [take(queue) for _ in range(5)]
        assert Counter(name[0] for name in served) == {"a": 1, "b": 4}, number


def test_one_dear_request_makes_no_long_turns_for_ever() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 10_000)
    enter(queue, "dear", asked("a", cost=1000.0))
    for number in range(3000):
        enter(queue, f"a{number}", asked("a"))
        enter(queue, f"b{number}", asked("b"))
    served = emptied(queue)
    late = served[3002:4900]  # after the turns in which both have as much as the dear one cost
    longest = max(len(list(group)) for _, group in itertools.groupby(name[0] for name in late))
    assert longest == 1


def test_a_higher_priority_goes_first_whatever_it_weighs() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    enter(queue, "low", asked("a", priority=-10, weight=1000))
    enter(queue, "middle", asked("b", priority=0, weight=1000))
    enter(queue, "high", asked("c", priority=5))
    assert emptied(queue) == ["high", "middle", "low"]


def test_the_first_one_stays_the_first_until_something_changes() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for name in ("a1", "a2", "b1"):
        enter(queue, name, asked(name[0], cost=2.5))
    assert take(queue) == "a1"
    firsts = {ticket.waiter for _ in range(20) if (ticket := queue.first()) is not None}
    assert firsts == {"b1"}


weights = st.lists(st.integers(1, 20), min_size=2, max_size=6)
costs = st.floats(0.5, 50.0)


@given(weights, st.data())
def test_tenants_that_always_wait_are_served_by_their_weights(tenants: list[int], data: st.DataObject) -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 10_000)
    names = [str(number) for number in range(len(tenants))]
    served = dict.fromkeys(names, 0.0)
    dearest = 0.0

    def arrive(name: str) -> None:
        nonlocal dearest
        cost = data.draw(costs)
        dearest = max(dearest, cost)
        enter(queue, name, asked(name, weight=tenants[int(name)], cost=cost))

    for name in names * 2:
        arrive(name)
    lightest = min(tenants)
    for _ in range(60):
        ticket = queue.first()
        assert ticket is not None
        queue.take(ticket, 0.0)
        served[ticket.waiter] += ticket.asked.cost
        arrive(ticket.waiter)
        for one, other in itertools.combinations(range(len(tenants)), 2):
            apart = abs(served[str(one)] / tenants[one] - served[str(other)] / tenants[other])
            assert apart <= dearest * (1 / lightest + 1 / tenants[one] + 1 / tenants[other]) + 1e-6


# --- bounds


def test_a_tenant_has_no_more_waiting_than_its_tier_lets_it() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for name in "abc":
        enter(queue, name, asked(most_waiting=3))
    reason, message = refused(queue.offer("d", asked(most_waiting=3), 0.0))
    assert reason == "pods_busy"
    assert message.startswith("3 requests of the tenant wait for the pods of digits/1, as many as may")
    assert queue.offer("e", asked("other", most_waiting=3), 0.0).ticket is not None


def test_who_may_not_wait_is_refused_at_once() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    assert refused(queue.offer("a", asked(longest_wait_s=0.0), 0.0))[0] == "pods_busy"


def test_in_a_full_queue_a_higher_priority_takes_the_place_of_the_newest_of_the_lowest() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 4)
    for name in ("low1", "low2", "middle1", "middle2"):
        enter(queue, name, asked("a", priority=0 if name.startswith("low") else 3))
    offered = queue.offer("high", asked("b", priority=5), 0.0)
    assert offered.displaced is not None
    assert offered.displaced.waiter == "low2"
    assert not offered.displaced.waits
    assert queue.displaced_refusal(offered.displaced, 0.0).reason == "shed"
    assert emptied(queue) == ["high", "middle1", "middle2", "low1"]


def test_in_a_full_queue_a_lower_priority_takes_nobody_s_place() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 2)
    enter(queue, "a", asked(priority=1))
    enter(queue, "b", asked(priority=1))
    assert refused(queue.offer("c", asked("other", priority=0), 0.0))[0] == "pods_busy"


def test_in_a_full_queue_who_has_few_waiting_takes_a_place_of_who_has_most() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 5)
    for name in ("a1", "a2", "a3", "b1", "b2"):
        enter(queue, name, asked(name[0]))
    offered = queue.offer("c1", asked("c"), 0.0)
    assert offered.displaced is not None
    assert offered.displaced.waiter == "a3"
    assert queue.offer("c2", asked("c"), 0.0).ticket is None  # two each: nobody has a better claim
    assert queue.offer("a4", asked("a"), 0.0).ticket is None


def test_below_zero_half_of_the_places_is_the_most() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 8)
    for number in range(4):
        enter(queue, str(number), asked(str(number), priority=-1))
    reason, message = refused(queue.offer("late", asked("other", priority=-1), 0.0))
    assert reason == "shed"
    assert "its priority is below 0" in message
    for number in range(4, 8):
        enter(queue, str(number), asked(str(number), priority=0))


# --- time


def test_who_has_waited_as_long_as_its_tier_waits_is_ended_once() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    enter(queue, "a", asked(longest_wait_s=1.0), 5.0)
    enter(queue, "b", asked(longest_wait_s=2.0), 5.0)
    assert list(queue.expire(5.99)) == []
    [(ticket, refusal)] = queue.expire(6.0)
    assert (ticket.waiter, refusal.reason) == ("a", "waited_too_long")
    assert refusal.message == "no pod of digits/1 had room for 1.0 s; try again shortly"
    assert list(queue.expire(6.0)) == []
    assert emptied(queue) == ["b"]


def test_nobody_waits_beyond_the_deadline() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    enter(queue, "a", asked(longest_wait_s=10.0, deadline_s=5.5), 5.0)
    [(ticket, refusal)] = queue.expire(5.5)
    assert (ticket.waiter, refusal.reason) == ("a", "deadline_exceeded")
    assert "it was not run" in refusal.message


def test_who_could_not_be_answered_any_more_gives_up_before_the_deadline() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    enter(queue, "a", asked(deadline_s=6.0, service_s=0.25), 5.0)
    assert list(queue.expire(5.74)) == []
    [(ticket, refusal)] = queue.expire(5.75)
    assert (ticket.waiter, refusal.reason) == ("a", "would_be_late")
    assert "its deadline in 250 ms is too soon" in refusal.message


def test_half_of_its_time_a_request_waits_however_slow_others_were() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    enter(queue, "a", asked(deadline_s=6.0, service_s=60.0), 5.0)
    assert list(queue.expire(5.49)) == []
    assert len(list(queue.expire(5.5))) == 1


def draining(rate_per_s: float, now_s: float = 10.0, waiting: int = 20) -> FairQueue[str]:
    """A queue from which so many per second went lately, and in which so many of one tenant wait."""
    queue: FairQueue[str] = FairQueue("digits/1", 1000)
    for number in range(100 + waiting):
        enter(queue, str(number), asked("crowd"), now_s - 100 / rate_per_s)
    for number in range(100, 0, -1):
        take(queue, now_s - (number - 1) / rate_per_s)
    return queue


def test_what_would_be_late_is_refused_before_it_waits_with_the_number() -> None:
    queue = draining(100.0)
    reason, message = refused(queue.offer("x", asked("crowd", deadline_s=10.15, service_s=0.05), 10.0))
    assert reason == "would_be_late"
    needed = re.match(r"the answer would take about (\d+) ms ", message)
    assert needed is not None
    assert int(needed[1]) == pytest.approx(210 + 50, rel=0.1)
    assert "the deadline is in 150 ms" in message


def test_another_tenant_s_long_queue_makes_nobody_late() -> None:
    queue = draining(100.0)
    assert queue.offer("x", asked("other", deadline_s=10.15, service_s=0.05), 10.0).ticket is not None


def test_a_higher_priority_is_not_kept_by_what_waits_below() -> None:
    queue = draining(100.0)
    assert queue.predicted_wait_s(asked("vip", priority=1), 10.0) <= 0.01
    assert queue.predicted_wait_s(asked("crowd", priority=-1), 10.0) == pytest.approx(0.21, rel=0.1)


def test_who_would_wait_longer_than_it_may_is_told_at_once_and_when_to_come_back() -> None:
    queue = draining(10.0)
    offered = queue.offer("x", asked("crowd", longest_wait_s=1.0), 10.0)
    assert refused(offered)[0] == "pods_busy"
    assert refused(offered)[1].endswith("about 2.0 s, more than 80% of the 1 s that it may wait; try again shortly")
    assert offered.refusal is not None
    assert offered.refusal.retry_after_s == pytest.approx(2.05, rel=0.05)


def test_an_empty_queue_takes_somebody_however_slow_it_drained() -> None:
    queue = draining(10.0, waiting=1)
    take(queue, 10.1)
    assert queue.offer("x", asked("crowd", longest_wait_s=0.01), 10.1).ticket is not None


@given(st.lists(st.integers(1, 5), min_size=66, max_size=80))
def test_of_many_tenants_the_wait_is_never_thought_shorter_than_of_each_summed_up(many: list[int]) -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 1000)
    for number in range(30):
        enter(queue, "x", asked("crowd"), 0.0)
        if number < 10:
            take(queue, number / 10)
    for number, count in enumerate(many):
        for _ in range(count):
            enter(queue, "x", asked(str(number)), 1.0)
    newcomer = asked("0")
    own = many[0]
    ahead = own + sum(min(count, own + 1) for count in [*many[1:], 20])
    rate = 10 / 1.0
    assert queue.predicted_wait_s(newcomer, 1.0) >= (ahead + 1) / rate * 0.75


def test_a_tenant_whose_pod_has_no_room_has_its_turn_when_it_has_and_no_more_than_that() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    for number in range(3):
        enter(queue, f"k{number}", asked("keyed", lane="pod"))
    for number in range(9):
        enter(queue, f"v{number}", asked("others"))
    for number in range(4):  # meanwhile others go, and nothing is saved up
        ticket = queue.first({"pod"})
        assert ticket is not None
        assert ticket.waiter == f"v{number}"
        queue.take(ticket, 0.0)
    # The others have spent their last turn, which is over only now.
    assert [take(queue) for _ in range(5)] == ["k0", "k1", "v4", "k2", "v5"]
    assert queue.first({""}) is None


# --- nobody is lost, nobody comes twice, whatever happens


LANES = ("", "pod-a", "pod-b")


class Queue(RuleBasedStateMachine):
    """A queue beside the plainest account of who must be in it."""

    PLACES, MOST = 12, 5

    def __init__(self) -> None:
        super().__init__()
        self.queue: FairQueue[int] = FairQueue("digits/1", self.PLACES)
        self.waiting: dict[int, Ticket[int]] = {}
        self.gone: set[int] = set()
        self.moved: set[int] = set()  # behind others of its lane, also of the one that it began in
        self.now_s = 0.0
        self.number = 0

    def went(self, number: int) -> None:
        assert number not in self.gone
        self.gone.add(number)
        del self.waiting[number]

    @rule(
        tenant=st.sampled_from("abcd"),
        priority=st.sampled_from([-1, 0, 0, 7]),
        weight=st.integers(1, 9),
        cost=st.floats(0.1, 1e6),
        wait_s=st.sampled_from([0.0, 0.5, 3.0]),
        left_s=st.sampled_from([0.2, 2.0, 100.0]),
        lane=st.sampled_from(LANES),
    )
    def arrive(
        self, tenant: str, priority: int, weight: int, cost: float, wait_s: float, left_s: float, lane: str
    ) -> None:
        self.number += 1
        of = Asked(tenant, priority, weight, cost, 0.0, self.MOST, wait_s, self.now_s + left_s, lane)
        before = len(self.queue)
        offered = self.queue.offer(self.number, of, self.now_s)
        assert (offered.ticket is None) == (offered.refusal is not None)
        if offered.displaced is not None:
            assert before == self.PLACES
            assert offered.displaced.asked.priority <= priority
            self.went(offered.displaced.waiter)
        if offered.ticket is not None:
            self.waiting[self.number] = offered.ticket

    @precondition(lambda self: self.waiting)
    @rule()
    def one_goes(self) -> None:
        ticket = self.queue.first()
        assert ticket is not None
        assert ticket.asked.priority == max(one.asked.priority for one in self.waiting.values())
        mates = [
            number
            for number, one in self.waiting.items()
            if (one.asked.tenant, one.asked.priority, one.lane)
            == (ticket.asked.tenant, ticket.asked.priority, ticket.lane)
            and number not in self.moved
        ]
        assert ticket.waiter in self.moved or ticket.waiter == min(mates)
        self.queue.take(ticket, self.now_s)
        self.went(ticket.waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.waiting)))
        ticket = self.waiting[number]
        self.queue.leave(ticket, self.now_s)
        self.queue.leave(ticket, self.now_s)
        self.went(number)

    @precondition(lambda self: self.waiting)
    @rule(blocked=st.sets(st.sampled_from(LANES)))
    def some_lanes_are_blocked(self, blocked: set[str]) -> None:
        may_go = [one for one in self.waiting.values() if one.lane not in blocked]
        ticket = self.queue.first(blocked)
        assert (ticket is None) == (not may_go)
        if ticket is not None:
            assert ticket.lane not in blocked
            assert ticket.asked.priority == max(one.asked.priority for one in may_go)
            self.queue.take(ticket, self.now_s)
            self.went(ticket.waiter)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), lane=st.sampled_from(LANES))
    def one_changes_its_lane(self, data: st.DataObject, lane: str) -> None:
        ticket = self.waiting[data.draw(st.sampled_from(sorted(self.waiting)))]
        self.queue.change_lane(ticket, lane)
        self.moved.add(ticket.waiter)
        assert ticket.lane == lane

    @rule(passed_s=st.sampled_from([0.01, 0.3, 2.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s
        for ticket, refusal in self.queue.expire(self.now_s):
            assert ticket.give_up_s <= self.now_s
            assert refusal.reason in ("waited_too_long", "deadline_exceeded")
            self.went(ticket.waiter)
        assert all(ticket.give_up_s > self.now_s for ticket in self.waiting.values())

    @invariant()
    def it_has_who_must_be_in_it_and_no_more_than_may(self) -> None:
        assert len(self.queue) == len(self.waiting) <= self.PLACES
        assert all(ticket.waits for ticket in self.waiting.values())
        by_row = Counter((one.asked.tenant, one.asked.priority) for one in self.waiting.values())
        assert all(count <= self.MOST for count in by_row.values())
        assert (self.queue.first() is None) == (not self.waiting)

    def teardown(self) -> None:
        while (ticket := self.queue.first()) is not None:
            self.queue.take(ticket, self.now_s)
            self.went(ticket.waiter)
        assert not self.waiting


TestQueue = Queue.TestCase


def test_who_comes_and_leaves_at_once_leaves_nothing_behind() -> None:
    queue: FairQueue[str] = FairQueue("digits/1", 100)
    enter(queue, "stays", asked())
    for _ in range(5000):
        queue.leave(enter(queue, "leaves", asked()), 0.0)
    assert len(queue._moments) < 200
