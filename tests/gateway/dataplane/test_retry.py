"""A request is sent again where it cannot have run, or may run twice; in time, whole, and within the budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.dataplane.retry import (
    REPLAY_BYTES,
    Attempts,
    Failure,
    Retries,
    RetryBudget,
    Ruling,
    failure_of_answer,
    failure_of_attempt,
    may_retry,
)
from gateway.errors import PodBroke, PodFailed, PodUnreachable
from policies.snapshot.route import Retry, Route

ONCE = Attempts(tried=1, resets=0, answer_begun=False, body_in_hand=True, deadline_s=10.0)
ANYTHING = Retry(("connect", "refused", "reset-before-response"), attempts=3, budget=0.2)


def route(retry: Retry) -> Route:
    return Route("digits", "us", {}, "1", retry=retry)


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (PodUnreachable("refused", is_pods_fault=True), Failure.CONNECT),
        (PodUnreachable("not taken", is_pods_fault=False, has_refused=True), Failure.REFUSED),
        (PodBroke("reset"), Failure.RESET),
        (PodBroke("nonsense", "pod_bad_answer"), Failure.FINAL),
    ],
)
def test_how_an_attempt_without_an_answer_failed(error: PodFailed, failure: Failure) -> None:
    assert failure_of_attempt(error) is failure


@pytest.mark.parametrize(
    ("reason", "failure"),
    [
        ("queue_full", Failure.REFUSED),
        ("pod_draining", Failure.REFUSED),
        ("model_not_ready", Failure.REFUSED),
        ("bad_input", Failure.FINAL),
        ("inference_lost", Failure.FINAL),
        ("handler_failed", Failure.FINAL),
        ("", Failure.FINAL),
    ],
)
def test_which_answers_are_worth_another_pod(reason: str, failure: Failure) -> None:
    assert failure_of_answer(reason) is failure


def test_without_a_policy_only_what_cannot_have_run_is_sent_again() -> None:
    assert may_retry(Retry(), Failure.CONNECT, ONCE, 0.0)
    assert may_retry(Retry(), Failure.REFUSED, ONCE, 0.0)
    assert not may_retry(Retry(), Failure.RESET, ONCE, 0.0)


def test_a_failure_that_is_final_is_not_sent_again_whatever_policy_says() -> None:
    assert not may_retry(ANYTHING, Failure.FINAL, ONCE, 0.0)


@given(st.sampled_from(Failure), st.integers(1, 9), st.integers(0, 3), st.floats(-20.0, 20.0))
def test_nothing_is_sent_again_once_an_answer_began_or_some_of_the_body_or_the_time_is_gone(
    failure: Failure, tried: int, resets: int, now_s: float
) -> None:
    so_far = replace(ONCE, tried=tried, resets=resets)
    assert not may_retry(ANYTHING, failure, replace(so_far, answer_begun=True), now_s)
    assert not may_retry(ANYTHING, failure, replace(so_far, body_in_hand=False), now_s)
    if may_retry(ANYTHING, failure, so_far, now_s):
        assert now_s < so_far.deadline_s
        assert tried <= ANYTHING.attempts


def test_so_many_times_more_is_so_many_times_more() -> None:
    assert [may_retry(Retry(), Failure.CONNECT, replace(ONCE, tried=n), 0.0) for n in (1, 2, 3)] == [True, True, False]


def test_what_may_have_run_runs_twice_at_most() -> None:
    assert may_retry(ANYTHING, Failure.RESET, replace(ONCE, resets=1), 0.0)
    assert not may_retry(ANYTHING, Failure.RESET, replace(ONCE, tried=2, resets=2), 0.0)
    assert may_retry(ANYTHING, Failure.CONNECT, replace(ONCE, tried=2, resets=1), 0.0)


def test_the_budget_is_a_share_of_the_requests_of_the_last_ten_seconds() -> None:
    budget = RetryBudget(0.2)
    for i in range(100):
        budget.note_request(i / 100)
    assert [budget.take(1.0) for _ in range(21)] == [True] * 20 + [False]
    assert not budget.take(9.9)
    # The requests are forgotten with the retries that they paid for.
    assert [budget.take(10.0) for _ in range(4)] == [False, False, False, False]
    assert [budget.take(11.0) for _ in range(4)] == [True, True, True, False]


def test_a_model_that_is_seldom_asked_may_be_asked_again() -> None:
    budget = RetryBudget(0.2)
    budget.note_request(0.0)
    assert [budget.take(0.0) for _ in range(4)] == [True, True, True, False]


def test_a_budget_of_nothing_allows_nothing() -> None:
    budget = RetryBudget(0.0)
    budget.note_request(0.0)
    assert not budget.take(0.0)


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(0, 3)), max_size=200), st.floats(0.01, 1.0))
def test_in_any_ten_seconds_retries_stay_within_the_share(arrivals: list[tuple[float, int]], share: float) -> None:
    budget, now_s = RetryBudget(share), 0.0
    requests: list[float] = []
    retries: list[float] = []
    for passed_s, failures in arrivals:
        now_s += passed_s
        budget.note_request(now_s)
        requests.append(now_s)
        taken = [now_s for _ in range(failures) if budget.take(now_s)]
        retries += taken
        lately = [at_s for at_s in retries if int(at_s) > int(now_s) - 10]
        asked = [at_s for at_s in requests if int(at_s) > int(now_s) - 10]
        assert not taken or len(lately) <= max(share * len(asked), 3)


def test_every_model_has_a_budget_of_its_own() -> None:
    retries = Retries()
    retries.use({"digits": route(Retry(budget=0.5)), "text": route(Retry())})
    for model in ("digits", "text"):
        for _ in range(20):
            retries.note_request(model, 0.0)
    rulings = [retries.rule("text", Failure.CONNECT, ONCE, 0.0) for _ in range(5)]
    assert rulings == [Ruling.RETRY] * 4 + [Ruling.NO_BUDGET]
    assert (retries.granted, retries.refused) == (4, 1)
    assert retries.rule("digits", Failure.CONNECT, ONCE, 0.0) is Ruling.RETRY
    assert retries.rule("digits", Failure.FINAL, ONCE, 0.0) is Ruling.GIVE_UP
    assert retries.rule("unknown", Failure.CONNECT, ONCE, 0.0) is Ruling.GIVE_UP


def test_a_new_generation_keeps_what_was_spent() -> None:
    retries = Retries()
    retries.use({"digits": route(Retry())})
    retries.note_request("digits", 0.0)
    assert [retries.rule("digits", Failure.CONNECT, ONCE, 0.0) for _ in range(3)] == [Ruling.RETRY] * 3
    retries.use({"digits": route(Retry(attempts=5))})
    assert retries.rule("digits", Failure.CONNECT, ONCE, 0.0) is Ruling.NO_BUDGET
    retries.use({})
    assert retries.rule("digits", Failure.CONNECT, ONCE, 0.0) is Ruling.GIVE_UP


def test_a_body_is_kept_only_where_it_may_be_sent_again() -> None:
    retries = Retries()
    retries.use({"digits": route(Retry()), "text": route(Retry(budget=0.0))})
    assert (retries.replays("digits"), retries.replays("text"), retries.replays("none")) == (REPLAY_BYTES, 0, 0)
