"""The pods of one version: who may get a request, who gets the next, and when one that failed is tried again."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.dataplane.health import PROBE_WITHIN_S, Standing, most_ejected
from gateway.dataplane.siblings import KEYS_WAIT_S, Member, NoneFree, Siblings
from model_pod.wire.status import PodState
from policies.snapshot.route import Balance, Eject

READY = PodState.READY


def family(*states: PodState, eject: Eject | None = None, choices: int = 2) -> Siblings[Member]:
    """Pods that were all ready once."""
    siblings: Siblings[Member] = Siblings()
    siblings.use(Balance(choices), eject or Eject())
    members = [Member(f"digits/1/{index}", siblings) for index in range(len(states))]
    for member, state in zip(members, states, strict=True):
        member.describe(state, was_ready=True, now_s=0.0)
    siblings.replace(members, 0.0)
    return siblings


def fail(pod: Member, now_s: float, times: int = 5) -> None:
    for _ in range(times):
        pod.sent(now_s)
        pod.failed(now_s)
        pod.let_go()


def standing(pod: Member) -> Standing:
    return pod.health.standing


def picks(siblings: Siblings[Member], now_s: float = 0.0) -> set[Member | None]:
    return {siblings.pick(99, draw / 100, now_s) for draw in range(100)}


def test_ready_pods_come_first_and_those_that_will_answer_next() -> None:
    siblings = family(PodState.RESTARTING, READY, PodState.FAILED)
    assert picks(siblings) == {siblings.members[1]}
    siblings = family(PodState.RESTARTING, PodState.FAILED)
    assert picks(siblings) == {siblings.members[0]}


def test_a_pod_that_never_was_ready_gets_nothing() -> None:
    siblings = family(PodState.STARTING)
    siblings.members[0].describe(PodState.STARTING, was_ready=False, now_s=0.0)
    siblings.replace(siblings.members, 0.0)
    assert siblings.pick(99, 0.5, 0.0) is None
    assert siblings.why_none() is NoneFree.NO_POD_READY


def test_full_pods_and_no_pods_are_told_apart() -> None:
    siblings = family(READY, READY)
    for pod in siblings.members:
        pod.sent(0.0)
    assert siblings.pick(1, 0.5, 0.0) is None
    assert siblings.why_none() is NoneFree.PODS_BUSY
    assert siblings.why_none(siblings.members) is NoneFree.NO_POD_READY


def test_a_pod_that_was_tried_is_not_tried_again() -> None:
    siblings = family(READY, READY)
    assert {siblings.pick(99, draw / 10, 0.0, siblings.members[:1]) for draw in range(10)} == {siblings.members[1]}
    assert siblings.pick(99, 0.5, 0.0, siblings.members) is None


def test_a_pod_that_cannot_be_reached_gets_nothing_while_another_is_there() -> None:
    siblings = family(READY, READY)
    assert siblings.ejected == 0
    fail(siblings.members[0], 0.0, times=1)
    assert picks(siblings, 1.0) == {siblings.members[1]}


def test_a_pod_that_fails_is_left_out_then_tried_by_one_request() -> None:
    siblings = family(READY, READY, READY)
    bad = siblings.members[0]
    fail(bad, 0.0)
    assert standing(bad) is Standing.EJECTED
    assert siblings.ejected == 1
    assert bad not in picks(siblings, 9.9)
    assert siblings.pick(99, 0.0, 10.0) is bad
    assert standing(bad) is Standing.PROBING
    assert bad not in picks(siblings, 10.0)
    bad.answered(10.1, 0.01)
    assert bad in siblings.usable


def test_a_probe_that_fails_makes_the_pod_wait_twice_as_long() -> None:
    siblings = family(READY, READY)
    bad = siblings.members[0]
    fail(bad, 0.0)
    assert siblings.pick(99, 0.0, 10.0) is bad
    bad.failed(10.0)
    assert bad not in picks(siblings, 29.9)
    assert siblings.pick(99, 0.0, 30.0) is bad


def test_a_probe_that_tells_nothing_is_followed_by_another() -> None:
    siblings = family(READY, READY)
    bad = siblings.members[0]
    fail(bad, 0.0)
    assert siblings.pick(99, 0.0, 10.0) is bad
    assert bad not in picks(siblings, 10.0 + PROBE_WITHIN_S - 0.1)
    assert siblings.pick(99, 0.0, 10.0 + PROBE_WITHIN_S) is bad


def test_a_request_that_should_not_try_a_pod_leaves_it_to_another_for_a_second() -> None:
    siblings = family(READY, READY)
    bad, good = siblings.members
    fail(bad, 0.0)
    assert siblings.pick(99, 0.0, 10.5, may_probe=False) is good
    assert siblings.pick(99, 0.0, 11.0, may_probe=False) is bad


def test_the_last_pod_is_never_left_out() -> None:
    siblings = family(READY)
    fail(siblings.members[0], 0.0, times=50)
    assert siblings.pick(99, 0.0, 0.0) is siblings.members[0]


def test_no_more_pods_are_left_out_than_policy_says() -> None:
    siblings = family(*[READY] * 4, eject=Eject(max_share=0.25))
    for pod in siblings.members:
        fail(pod, 0.0)
    assert [pod.health.standing for pod in siblings.members].count(Standing.EJECTED) == 1


def test_pods_that_are_left_out_are_needed_when_others_go() -> None:
    siblings = family(READY, READY, READY, READY)
    fail(siblings.members[0], 0.0)
    fail(siblings.members[1], 1.0)
    siblings.members[3].describe(PodState.STARTING, was_ready=True, now_s=2.0)
    siblings.replace(siblings.members, 2.0)
    # Of three that are ready, one may be out; the one that would be back first is back.
    assert siblings.usable == (siblings.members[0], siblings.members[2])


def test_a_pod_that_went_and_came_back_is_tried_at_once() -> None:
    siblings = family(READY, READY)
    bad = siblings.members[0]
    fail(bad, 0.0)
    for state in (PodState.STARTING, READY):
        bad.describe(state, was_ready=True, now_s=1.0)
        siblings.replace(siblings.members, 1.0)
    assert siblings.pick(99, 0.0, 1.0) is bad
    bad.answered(1.1, 0.01)
    assert bad in siblings.usable
    assert bad.slow_until_s < 1.0


def test_a_full_queue_makes_a_pod_slow_and_not_ill() -> None:
    siblings = family(READY, READY)
    full, other = siblings.members
    for _ in range(20):
        full.refused(0.0, 0.001, 503, "queue_full", b"retry-after: 2\r\n")
    assert full.health.standing is Standing.HEALTHY
    assert picks(siblings, 0.5) == {other}
    assert picks(siblings, 2.5) == {full, other}


def test_a_handler_that_always_fails_costs_its_pod_the_requests_that_others_can_answer() -> None:
    siblings = family(READY, READY, READY)
    bad, *good = siblings.members
    for _ in range(20):
        bad.refused(0.0, 0.001, 500, "handler_failed")
        for pod in good:
            pod.answered(0.0, 0.01)
    assert bad.health.standing is Standing.EJECTED


def test_a_handler_that_fails_everywhere_costs_no_pod_anything() -> None:
    siblings = family(READY, READY)
    for _ in range(100):
        for pod in siblings.members:
            pod.refused(0.0, 0.001, 500, "handler_failed")
    assert len(siblings.usable) == 2


@pytest.mark.parametrize(("status", "reason"), [(502, "inference_lost"), (504, "")])
def test_answers_that_say_the_pod_is_broken_count_in_a_row(status: int, reason: str) -> None:
    siblings = family(READY, READY)
    for _ in range(5):
        siblings.members[0].refused(0.0, 0.001, status, reason)
    assert siblings.members[0].health.standing is Standing.EJECTED


def test_a_deadline_that_passed_in_the_pod_is_no_failure_of_its() -> None:
    siblings = family(READY, READY)
    for _ in range(20):
        siblings.members[0].refused(0.0, 1.0, 504, "deadline_exceeded")
    assert siblings.members[0].health.standing is Standing.HEALTHY
    assert siblings.members[0].latency_s == 1.0


# --- idempotency keys


def test_every_worker_finds_the_same_pod_for_a_key_whatever_it_thinks_of_it() -> None:
    one, other = family(*[READY] * 5), family(*[READY] * 5)
    for pod in one.members[:2]:
        fail(pod, 0.0)
    for i in range(200):
        key = b"order-%d" % i
        mine, theirs = one.pick_keyed(key, 99, 0.0), other.pick_keyed(key, 99, 0.0)
        assert mine is not None
        assert theirs is not None
        assert mine.seed == theirs.seed


def test_keys_are_spread_evenly_and_few_move_when_a_pod_goes() -> None:
    siblings = family(*[READY] * 5)
    keys = [b"order-%d" % i for i in range(5000)]
    before = {key: siblings.pick_keyed(key, 99, 0.0) for key in keys}
    counts = Counter(before.values())
    assert len(counts) == 5
    assert all(800 < count < 1200 for count in counts.values())
    gone = siblings.members[2]
    siblings.replace([pod for pod in siblings.members if pod is not gone], 0.0)
    moved = [key for key in keys if siblings.pick_keyed(key, 99, 0.0) is not before[key]]
    assert moved == [key for key in keys if before[key] is gone]


def test_a_key_does_not_evade_its_pod_because_that_is_busy() -> None:
    siblings = family(READY, READY)
    owner = siblings.pick_keyed(b"order-1", 1, 0.0)
    assert owner is not None
    owner.sent(0.0)
    assert siblings.pick_keyed(b"order-1", 1, 0.0) is None
    assert siblings.why_none() is NoneFree.PODS_BUSY


def test_a_key_stays_with_a_pod_whose_server_keeps_its_outcome_while_its_model_restarts() -> None:
    siblings = family(READY, READY)
    owner = siblings.pick_keyed(b"order-1", 99, 0.0)
    assert owner is not None
    for state, stays in ((PodState.RESTARTING, True), (PodState.DRAINING, False), (PodState.FAILED, False)):
        owner.describe(state, was_ready=True, now_s=0.0)
        siblings.replace(siblings.members, 0.0)
        assert (siblings.pick_keyed(b"order-1", 99, 0.0) is owner) == stays


def test_a_key_waits_for_its_pod_that_is_away_and_goes_elsewhere_when_that_takes_too_long() -> None:
    siblings = family(READY, READY, READY)
    owner = siblings.pick_keyed(b"order-1", 99, 0.0)
    assert owner is not None
    owner.describe(PodState.STARTING, was_ready=True, now_s=5.0)
    siblings.replace(siblings.members, 5.0)
    assert siblings.pick_keyed(b"order-1", 99, 5.0 + KEYS_WAIT_S - 0.1) is owner
    elsewhere = siblings.pick_keyed(b"order-1", 99, 5.0 + KEYS_WAIT_S)
    assert elsewhere not in (None, owner)
    assert siblings.pick_keyed(b"order-1", 99, 50.0) is elsewhere
    owner.describe(READY, was_ready=True, now_s=50.0)
    siblings.replace(siblings.members, 50.0)
    assert siblings.pick_keyed(b"order-1", 99, 50.0) is owner


def test_a_pod_that_was_never_ready_is_waited_for_by_no_key() -> None:
    siblings = family(READY, PodState.STARTING)
    siblings.members[1].describe(PodState.STARTING, was_ready=False, now_s=0.0)
    siblings.replace(siblings.members, 0.0)
    assert all(siblings.pick_keyed(b"order-%d" % i, 99, 0.0) is siblings.members[0] for i in range(50))


def test_a_pod_that_says_that_it_leaves_gets_nothing_more() -> None:
    siblings = family(READY, READY)
    leaving, stays = siblings.members
    leaving.leaves(0.0)
    assert all(siblings.pick_keyed(b"order-%d" % i, 99, 0.0) is stays for i in range(50))
    assert all(siblings.pick(99, draw / 50, 0.0) is stays for draw in range(50))


def test_a_pod_that_said_that_it_leaves_is_asked_again_when_the_supervisor_saw_nothing_of_it() -> None:
    siblings = family(READY, READY)
    leaving, stays = siblings.members
    mine = next(b"order-%d" % i for i in range(50) if siblings.pick_keyed(b"order-%d" % i, 99, 0.0) is leaving)
    leaving.leaves(1.0)
    assert siblings.pick_keyed(mine, 99, 10.9) is stays
    assert all(siblings.pick(99, draw / 50, 10.9) is stays for draw in range(50))
    assert {siblings.pick(99, draw / 50, 11.0) for draw in range(50)} == {leaving, stays}
    leaving.leaves(20.0)
    assert siblings.pick_keyed(mine, 99, 29.9) is stays
    assert siblings.pick_keyed(mine, 99, 30.0) is leaving  # before any other request looked


def test_a_pod_that_left_and_came_back_before_the_supervisors_eyes_is_asked_at_once() -> None:
    siblings = family(READY, READY)
    leaving = siblings.members[0]
    leaving.leaves(0.0)
    for state in (PodState.DRAINING, READY):
        leaving.describe(state, was_ready=True, now_s=1.0)
        siblings.replace(siblings.members, 1.0)
    assert leaving in siblings.usable


def test_a_pod_that_was_lost_is_left_alone_but_for_its_keys() -> None:
    siblings = family(READY, READY)
    lost, stays = siblings.members
    before = [siblings.pick_keyed(b"order-%d" % i, 99, 0.0) for i in range(50)]
    lost.was_lost(0.0)
    assert [siblings.pick_keyed(b"order-%d" % i, 99, 0.0) for i in range(50)] == before
    assert all(siblings.pick(99, draw / 50, 9.9) is stays for draw in range(50))
    lost.leaves(5.0)
    assert all(siblings.pick_keyed(b"order-%d" % i, 99, 5.0) is stays for i in range(50))


def test_the_only_pod_is_asked_even_if_it_said_that_it_leaves() -> None:
    siblings = family(READY)
    siblings.members[0].leaves(0.0)
    assert siblings.pick(99, 0.0, 0.0) is siblings.members[0]


@pytest.mark.parametrize(
    ("status", "reason", "is_left_out"),
    [
        (504, "deadline_exceeded_running", False),
        (408, "reader_too_slow", False),
        (502, "inference_lost", True),
    ],
)
def test_only_what_is_its_own_doing_counts_against_a_pod_that_ends_exchanges_early(
    status: int, reason: str, is_left_out: bool
) -> None:
    siblings = family(READY, READY)
    for _ in range(30):
        siblings.members[0].broke_off(0.0, status, reason)
    assert (siblings.members[0] not in siblings.usable) == is_left_out
    assert (siblings.members[0].slow_until_s > 0.0) == is_left_out


def test_an_exchange_that_its_caller_ended_shows_that_a_pod_which_is_tried_works() -> None:
    siblings = family(READY, READY)
    bad = siblings.members[0]
    for _ in range(5):
        bad.failed(0.0)
    assert siblings.pick(99, 0.0, bad.health.until_s) is bad
    bad.broke_off(bad.health.until_s, 408, "reader_too_slow")
    assert bad in siblings.usable


# --- whatever happens

states = st.sampled_from(list(PodState))


class Anything(RuleBasedStateMachine):
    """Pods come, go, answer, fail and fall silent in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.siblings = family()
        self.outstanding: list[tuple[Member, float]] = []

    @initialize(count=st.integers(1, 9), share=st.sampled_from([0.0, 0.2, 0.34, 0.5]), choices=st.integers(1, 4))
    def begin(self, count: int, share: float, choices: int) -> None:
        self.siblings = family(*[READY] * count, eject=Eject(2, 1.0, 8.0, share), choices=choices)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.3, 1.0, 10.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        was_s, self.now_s = self.now_s, self.now_s + seconds
        if any(was_s < pod.leaving_until_s <= self.now_s for pod in self.siblings.members):
            self.siblings.pick(0, 0.0, self.now_s)  # a request, for which nobody has room, sees that one may be back

    @rule(draw=st.floats(0.0, 1.0, exclude_max=True), may_probe=st.booleans(), tries=st.integers(1, 3))
    def a_request_comes(self, draw: float, may_probe: bool, tries: int) -> None:
        tried: list[Member] = []
        for _ in range(tries):
            pod = self.siblings.pick(4, draw, self.now_s, tried, may_probe)
            free = [one for one in self.siblings.usable if one.outstanding < 4 and one not in tried]
            if pod is None:
                assert not free
                assert (self.siblings.why_none(tried) is NoneFree.PODS_BUSY) == bool(
                    [one for one in self.siblings.usable if one not in tried]
                )
                return
            assert pod.outstanding < 4
            assert pod not in tried
            assert pod in self.siblings.usable or pod.health.standing is Standing.PROBING
            pod.sent(self.now_s)
            self.outstanding.append((pod, self.now_s))
            tried.append(pod)

    @precondition(lambda self: self.outstanding)
    @rule(
        which=st.integers(0, 99),
        how=st.sampled_from(["answers", "fails", "is full", "errs", "breaks off", "leaves", "is lost", "is left"]),
    )
    def a_request_ends(self, which: int, how: str) -> None:
        pod, sent_s = self.outstanding.pop(which % len(self.outstanding))
        took_s = self.now_s - sent_s
        match how:
            case "answers":
                pod.answered(self.now_s, took_s, queued_rows=which, ahead_us=which * 1000)
            case "fails":
                pod.failed(self.now_s)
            case "is full":
                pod.refused(self.now_s, took_s, 503, "queue_full", b"retry-after: %d\r\n" % which)
            case "errs":
                pod.refused(self.now_s, took_s, 500, "handler_failed")
            case "breaks off":
                pod.broke_off(self.now_s, 507, "out_of_memory")
            case "leaves":
                pod.leaves(self.now_s)
            case "is lost":
                pod.was_lost(self.now_s)
            case _:
                pod.abandoned(self.now_s, took_s)
        pod.let_go()

    @rule(described=st.lists(states, min_size=9, max_size=9))
    def the_supervisor_looks(self, described: list[PodState]) -> None:
        for pod, state in zip(self.siblings.members, described, strict=False):
            pod.describe(state, was_ready=True, now_s=self.now_s)
        self.siblings.replace(self.siblings.members, self.now_s)

    @invariant()
    def enough_pods_stay(self) -> None:
        ready = [pod for pod in self.siblings.members if pod.is_ready(self.now_s)]
        out = [pod for pod in ready if pod.health.standing is not Standing.HEALTHY]
        assert len(out) <= most_ejected(len(ready), 0.5)
        if ready:
            assert set(self.siblings.usable) == set(ready) - set(out) != set()

    @invariant()
    def scores_are_numbers(self) -> None:
        assert all(0.0 < pod.score(self.now_s) < 1e9 for pod in self.siblings.members)

    @invariant()
    def who_is_left_out_is_tried_in_time(self) -> None:
        """Were nothing to happen but requests: each pod that is out gets one within the longest term and a probe's."""
        ready = [pod for pod in self.siblings.members if pod.is_ready(self.now_s)]
        out = [pod for pod in ready if pod not in self.siblings.usable]
        for pod in out:
            assert pod.health.until_s <= self.now_s + max(8.0, PROBE_WITHIN_S)

    def teardown(self) -> None:
        """In the end all goes well: every pod that is ready gets requests again, and none is left without."""
        while self.outstanding:
            pod, _ = self.outstanding.pop()
            pod.let_go()
        ready = [pod for pod in self.siblings.members if pod.state is READY]
        served: set[Member] = set()
        chance = random.Random(1)
        for _ in range(2000):
            self.now_s += 1.0
            has: list[Member] = []
            for _ in range(4):
                picked = self.siblings.pick(4, chance.random(), self.now_s)
                if picked is not None:
                    picked.sent(self.now_s)
                    has.append(picked)
            for pod in has:
                pod.answered(self.now_s, 0.01)
                pod.let_go()
            served.update(has)
            if served.issuperset(ready):
                return
        raise AssertionError(f"{len(set(ready) - served)} pods get nothing")


TestAnything = Anything.TestCase
TestAnything.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.binary(max_size=80))
def test_any_key_has_a_pod(key: bytes) -> None:
    assert family(READY, READY).pick_keyed(key, 99, 0.0) is not None
