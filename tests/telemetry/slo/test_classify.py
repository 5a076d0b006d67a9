"""A request means good, bad or nothing to an objective, and a bucket of them means what each of them does."""

from __future__ import annotations

from bisect import bisect_left
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.slo.classify import USUAL_EDGES_S, classify, classify_load, edges_for, worst
from telemetry.slo.events import Meaning
from tests.telemetry.slo.objectives import about_labels, about_loads, objective

AVAILABILITY = objective()
LATENCY = objective(within_s=0.25)
FIRST_BYTE = objective(first_byte_within_s=0.5)
WARMTH = objective(pod="ready")


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


@pytest.mark.parametrize(
    ("ignore_status", "duration_s", "meaning"),
    [
        (None, 0.25, "ignored"),
        (None, 0.2501, "bad"),
        ((404,), 0.25, "ignored"),
        ((404,), 0.2501, "bad"),
        ((499,), 60.0, "ignored"),
    ],
)
def test_a_caller_that_left_is_ignored_unless_it_had_waited_longer_than_was_promised(
    ignore_status: tuple[int, ...] | None, duration_s: float, meaning: str
) -> None:
    assert classify(objective(within_s=0.25, ignore_status=ignore_status), 499, duration_s) == meaning


@pytest.mark.parametrize("ignore_status", [None, (404,)])
def test_where_no_time_is_promised_a_caller_that_left_is_ignored(ignore_status: tuple[int, ...] | None) -> None:
    assert classify(objective(ignore_status=ignore_status), 499, 60.0) is Meaning.IGNORED


@pytest.mark.parametrize(
    ("status", "duration_s", "first_byte_s", "meaning"),
    [
        (200, 60.0, 0.5, "good"),
        (200, 60.0, 0.51, "bad"),
        (200, 0.5, None, "good"),
        (200, 0.51, None, "bad"),
        (502, 60.0, 0.1, "bad"),
        (404, 60.0, 0.1, "ignored"),
        (499, 60.0, 0.1, "ignored"),
        (499, 60.0, 0.6, "bad"),
        (499, 60.0, None, "bad"),
        (499, 0.4, None, "ignored"),
    ],
)
def test_an_answer_that_comes_as_it_is_made_is_judged_by_its_first_byte_and_a_whole_one_by_its_only_moment(
    status: int, duration_s: float, first_byte_s: float | None, meaning: str
) -> None:
    assert classify(FIRST_BYTE, status, duration_s, first_byte_s) == meaning


def test_an_objective_on_the_whole_answer_does_not_look_at_the_first_byte() -> None:
    assert classify(LATENCY, 200, 60.0, 0.1) is Meaning.BAD


@pytest.mark.parametrize(
    ("status", "is_cold", "meaning"),
    [
        (200, False, "good"),
        (200, True, "bad"),
        (503, False, "good"),
        (503, True, "bad"),
        (429, False, "ignored"),
        (400, True, "bad"),
        (499, False, "ignored"),
        (499, True, "bad"),
    ],
)
def test_a_request_that_met_a_cold_start_is_bad_whatever_came_of_it_and_any_other_is_not(
    status: int, is_cold: bool, meaning: str
) -> None:
    assert classify(WARMTH, status, 0.1, is_cold=is_cold) == meaning


def test_a_cold_start_is_ignored_where_its_status_is_named() -> None:
    named = objective(pod="ready", ignore_status=(499,))
    assert [classify(named, status, 0.1, is_cold=True) for status in (499, 400)] == [Meaning.IGNORED, Meaning.BAD]
    assert classify(objective(pod="ready", ignore_status=(404,)), 499, 0.1) is Meaning.IGNORED


def test_a_cold_start_says_nothing_to_an_objective_about_answers() -> None:
    assert classify(AVAILABILITY, 200, 0.1, is_cold=True) is Meaning.GOOD


@pytest.mark.parametrize(
    ("took_s", "is_loaded", "meaning"), [(10.0, True, "good"), (10.1, True, "bad"), (0.1, False, "bad")]
)
def test_a_load_is_good_when_it_went_well_in_time(took_s: float, is_loaded: bool, meaning: str) -> None:
    assert classify_load(about_loads(10.0), took_s, is_loaded=is_loaded) == meaning


@pytest.mark.parametrize(
    ("meanings", "expected"),
    [("good bad ignored", "bad"), ("ignored good", "good"), ("ignored ignored", "ignored"), ("", "ignored")],
)
def test_a_request_is_as_bad_as_to_the_objective_it_is_worst_for(meanings: str, expected: str) -> None:
    assert worst(Meaning(meaning) for meaning in meanings.split()) == expected


def test_every_threshold_is_an_edge_once() -> None:
    others = (FIRST_BYTE, objective(first_byte_within_s=0.7), about_loads(0.9), about_labels(), WARMTH)
    edges_s = edges_for([LATENCY, objective(within_s=0.3), objective(within_s=0.3), AVAILABILITY, *others])
    assert edges_s == tuple(sorted((*USUAL_EDGES_S, 0.3, 0.7)))


def test_without_objectives_the_edges_are_the_usual_ones_in_order() -> None:
    assert edges_for(()) == USUAL_EDGES_S == tuple(sorted(set(USUAL_EDGES_S)))
    assert len(USUAL_EDGES_S) <= 24


@given(
    within_s=st.none() | st.floats(0.001, 100),
    requests=st.lists(st.tuples(st.sampled_from((200, 404, 499, 503)), st.floats(0, 200)), max_size=50),
)
def test_all_requests_of_a_bucket_mean_what_its_upper_edge_does(
    within_s: float | None, requests: list[tuple[int, float]]
) -> None:
    wanted = objective(within_s=within_s)
    edges_s = (*edges_for([wanted]), inf)
    for status, duration_s in requests:
        upper_s = edges_s[bisect_left(edges_s, duration_s)]
        assert classify(wanted, status, upper_s) is classify(wanted, status, duration_s)
