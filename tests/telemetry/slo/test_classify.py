"""A request means good, bad or nothing to an objective, and a bucket of them means what each of them does."""

from __future__ import annotations

from bisect import bisect_left
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.slo.classify import USUAL_EDGES_S, classify, classify_buckets, edges_for, worst
from telemetry.slo.events import NO_EVENTS, EventCount, Meaning
from tests.telemetry.slo.objectives import objective

AVAILABILITY = objective()
LATENCY = objective(within_s=0.25)


@pytest.mark.parametrize(
    ("status", "meaning"),
    [(200, "good"), (302, "good"), (400, "ignored"), (429, "ignored"), (499, "ignored"), (500, "bad"), (504, "bad")],
)
def test_an_answer_below_500_is_good_and_a_mistake_of_the_caller_is_ignored(status: int, meaning: str) -> None:
    assert classify(AVAILABILITY, status, 0.1) == meaning


@pytest.mark.parametrize(("duration_s", "meaning"), [(0.1, "good"), (0.25, "good"), (0.2501, "bad"), (inf, "bad")])
def test_an_answer_is_good_up_to_the_threshold_and_bad_beyond(duration_s: float, meaning: str) -> None:
    assert classify(LATENCY, 200, duration_s) == meaning


def test_a_fast_failure_is_no_good_answer() -> None:
    assert classify(LATENCY, 500, 0.001) is Meaning.BAD


def test_statuses_that_are_written_are_ignored_and_no_others() -> None:
    shedding = objective(ignore_status=(404,))
    found = [classify(shedding, status, 0.1) for status in (404, 400, 503)]
    assert found == [Meaning.IGNORED, Meaning.GOOD, Meaning.BAD]


def test_a_status_of_500_is_ignored_where_that_is_written() -> None:
    assert classify(objective(ignore_status=(503,)), 503, 0.1) is Meaning.IGNORED


def test_a_caller_that_left_is_ignored_whatever_is_written() -> None:
    assert classify(objective(ignore_status=(404,)), 499, 0.1) is Meaning.IGNORED


@pytest.mark.parametrize(
    ("meanings", "expected"),
    [("good bad ignored", "bad"), ("ignored good", "good"), ("ignored ignored", "ignored"), ("", "ignored")],
)
def test_a_request_is_as_bad_as_to_the_objective_it_is_worst_for(meanings: str, expected: str) -> None:
    assert worst(Meaning(meaning) for meaning in meanings.split()) == expected


def test_every_threshold_is_an_edge_once() -> None:
    edges_s = edges_for([LATENCY, objective(within_s=0.3), objective(within_s=0.3), AVAILABILITY])
    assert edges_s == tuple(sorted((*USUAL_EDGES_S, 0.3)))


def test_without_objectives_the_edges_are_the_usual_ones_in_order() -> None:
    assert edges_for(()) == USUAL_EDGES_S == tuple(sorted(set(USUAL_EDGES_S)))
    assert len(USUAL_EDGES_S) <= 24


def test_a_bucket_that_the_threshold_parts_counts_as_too_slow() -> None:
    assert classify_buckets(objective(within_s=0.3), 200, (0.2, 0.5), (4, 2, 1)) == EventCount(good=4, bad=3)


@given(
    within_s=st.none() | st.floats(0.001, 100),
    requests=st.lists(st.tuples(st.sampled_from((200, 404, 499, 503)), st.floats(0, 200)), max_size=50),
)
def test_buckets_mean_what_their_requests_mean_one_by_one(
    within_s: float | None, requests: list[tuple[int, float]]
) -> None:
    wanted = objective(within_s=within_s)
    edges_s = edges_for([wanted])
    buckets: dict[int, list[int]] = {}
    for status, duration_s in requests:
        buckets.setdefault(status, [0] * (len(edges_s) + 1))[bisect_left(edges_s, duration_s)] += 1
    by_bucket = sum((classify_buckets(wanted, *of) for of in ((s, edges_s, b) for s, b in buckets.items())), NO_EVENTS)
    one_by_one = [classify(wanted, status, duration_s) for status, duration_s in requests]
    assert by_bucket == EventCount(*(one_by_one.count(meaning) for meaning in Meaning))
