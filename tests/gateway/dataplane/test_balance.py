"""Of a few random choices the one with the least predicted work; and what is predicted of a pod."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.balance import (
    DECAY_S,
    FAILED_S,
    FIRST_GUESS_S,
    MOST_RETRY_AFTER_S,
    Load,
    Usual,
    asked_pause_s,
    choose,
)

draws = st.floats(0.0, 1.0, exclude_max=True)


def load(outstanding: int = 0, usual: Usual | None = None) -> Load:
    made = Load(usual or Usual())
    for _ in range(outstanding):
        made.sent(0.0)
    return made


def heard(latency_s: float, *, at_s: float = 0.0, usual: Usual | None = None) -> Load:
    made = load(usual=usual)
    made.sent(at_s)
    made.answered(at_s, latency_s)
    made.let_go()
    return made


@given(st.lists(st.integers(0, 12), max_size=8), st.integers(1, 16), draws)
def test_a_pod_with_room_is_always_found_and_none_is_overfilled(
    outstanding: list[int], choices: int, draw: float
) -> None:
    pods = [load(count) for count in outstanding]
    picked = choose(pods, choices, 10, draw, 0.0)
    assert (picked is not None) == any(count < 10 for count in outstanding)
    assert picked is None or picked.outstanding < 10


@given(draws)
def test_of_two_pods_the_idle_one_is_picked(draw: float) -> None:
    pods = [load(5), load(0)]
    assert choose(pods, 2, 10, draw, 0.0) is pods[1]


def test_every_pair_is_drawn_alike() -> None:
    pods = [load(i) for i in range(4)]
    picks = Counter(pods.index(picked) for i in range(1200) if (picked := choose(pods, 2, 10, i / 1200, 0.0)))
    # The least loaded is in half of the ordered pairs, the most loaded wins none.
    assert picks == {0: 600, 1: 400, 2: 200}


def test_one_choice_is_chance_alone() -> None:
    pods = [load(i) for i in range(4)]
    picks = Counter(pods.index(picked) for i in range(4000) if (picked := choose(pods, 1, 10, i / 4000, 0.0)))
    assert all(900 < picks[i] < 1100 for i in range(4))


def test_more_choices_find_the_least_loaded_more_often() -> None:
    pods = [load(i) for i in range(20)]
    shares = [
        sum(choose(pods, choices, 99, i / 2000, 0.0) is pods[0] for i in range(2000)) / 2000 for choices in (2, 4, 16)
    ]
    assert shares == [pytest.approx(expected, abs=0.03) for expected in (0.1, 1 - 0.95**4, 1 - 0.95**16)]
    assert choose(pods, 20, 99, 0.5, 0.0) is pods[0]


def test_the_slower_of_two_pods_is_passed_over_for_as_many_waiting_as_it_is_slower() -> None:
    usual = Usual()
    slow, fast = heard(0.1, usual=usual), heard(0.01, usual=usual)
    for _ in range(8):
        fast.sent(0.0)
    assert choose([slow, fast], 2, 99, 0.0, 0.0) is fast
    fast.sent(0.0)
    fast.sent(0.0)
    assert choose([slow, fast], 2, 99, 0.0, 0.0) is slow


def test_what_is_slower_counts_at_once_and_what_is_faster_little_by_little() -> None:
    pod = heard(0.010)
    pod.answered(0.0, 2.0)
    assert pod.latency_s == 2.0
    pod.answered(DECAY_S, 0.010)
    assert pod.latency_s == pytest.approx(0.010 + (2.0 - 0.010) / math.e)


def test_a_new_pod_is_as_its_siblings_usually_are() -> None:
    usual = Usual()
    assert load(usual=usual).score(0.0) == FIRST_GUESS_S
    for _ in range(100):
        heard(0.02, usual=usual)
    newcomer = load(usual=usual)
    assert newcomer.score(0.0) == pytest.approx(0.02)
    newcomer.answered(0.0, 0.004)
    assert newcomer.latency_s == 0.004  # the guess is gone with the first answer


def test_a_pod_that_was_slow_is_as_usual_after_a_while_without_requests() -> None:
    usual = Usual()
    for _ in range(100):
        heard(0.01, usual=usual)
    pod = heard(1.0, usual=usual)
    assert pod.score(0.0) == pytest.approx(1.0)
    assert pod.score(10 * DECAY_S) == pytest.approx(usual.latency_s, rel=0.01)


def test_a_pod_that_hangs_looks_worse_with_every_second() -> None:
    pod = heard(0.01)
    pod.sent(100.0)
    assert pod.score(100.0) == pytest.approx(0.02, rel=0.1)
    assert pod.score(130.0) == pytest.approx(60.0)


def test_a_failure_counts_as_slow_for_as_long_as_the_pod_asks_for() -> None:
    pod = heard(0.01)
    pod.failed(0.0)
    assert pod.score(0.0) == FAILED_S
    assert pod.score(4.0) == pytest.approx(1.0)
    assert pod.score(FAILED_S) == pytest.approx(0.01)
    pod.failed(10.0, 40.0)
    pod.failed(11.0)  # which ends sooner
    assert pod.score(20.0) == pytest.approx(30.0)
    pod.failed(0.0, 1e9)
    assert pod.score(0.0) == MOST_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("fields", "pause_s"),
    [
        (b"content-type: a\r\nRetry-After: 7\r\nx: y\r\n", 7.0),
        (b"retry-after:0\r\n", 0.0),
        (b"retry-after: Fri, 31 Dec 1999 23:59:59 GMT\r\n", FAILED_S),
        (b"x-retry-after: 7\r\n", FAILED_S),
        (b"", FAILED_S),
    ],
)
def test_how_long_a_pod_asks_to_be_left_alone(fields: bytes, pause_s: float) -> None:
    assert asked_pause_s(fields) == pause_s


def test_what_others_have_in_the_pod_counts_until_it_is_old_news() -> None:
    pod = load(2)
    pod.answered(0.0, 0.01, queued_rows=9)
    pod.let_go()
    # One more is ours, eight are of others; the next request would be the tenth.
    assert pod.score(0.0) == pytest.approx(0.01 * 10)
    pod.let_go()
    assert pod.score(0.5) == pytest.approx(0.01 * 5)
    assert pod.score(1.0) == pytest.approx(0.01)


def test_the_wait_is_what_the_pod_said_less_what_it_did_since_then_and_what_it_got() -> None:
    pod = load(1)
    assert pod.predicted_wait_s(0.0) == 0.0
    pod.answered(0.0, 0.01, queued_rows=10, ahead_us=500_000)
    assert pod.predicted_wait_s(0.2) == pytest.approx(0.3)
    pod.sent(0.2)
    pod.sent(0.2)
    assert pod.predicted_wait_s(0.2) == pytest.approx(0.3 + 2 * 0.05)
    assert pod.predicted_wait_s(9.0) == pytest.approx(2 * 0.05)


def test_a_request_that_nobody_waits_for_says_how_slow_the_pod_is_at_least() -> None:
    pod = heard(0.01)
    pod.abandoned(1.0, 3.0)
    assert pod.latency_s == 3.0
    pod.abandoned(1.0, 0.5)
    assert pod.latency_s == 3.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sent", "answered", "failed", "abandoned", "let_go"]),
            st.floats(0.0, 1e4),
            st.floats(0.0, 1e6),
            st.integers(0, 10_000),
        ),
        max_size=30,
    )
)
def test_a_score_is_always_a_number_above_zero(events: list[tuple[str, float, float, int]]) -> None:
    pod, now_s = load(), 0.0
    for what, passed_s, length_s, rows in events:
        now_s += passed_s
        match what:
            case "sent":
                pod.sent(now_s)
            case "answered":
                pod.answered(now_s, length_s, rows, rows * 1000)
            case "failed":
                pod.failed(now_s, length_s)
            case "abandoned":
                pod.abandoned(now_s, length_s)
            case _ if pod.outstanding:
                pod.let_go()
        for later_s in (0.0, 0.01, 1.0, 1e5):
            assert 0.0 < pod.score(now_s + later_s) < math.inf
            assert 0.0 <= pod.predicted_wait_s(now_s + later_s) < math.inf
