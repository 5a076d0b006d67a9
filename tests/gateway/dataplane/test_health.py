"""A pod that fails is left out for a while, then one request decides; what no row of the table says changes nothing."""

from __future__ import annotations

import math

import pytest

from gateway.dataplane.health import (
    PROBE_WITHIN_S,
    TRANSITIONS,
    Event,
    Health,
    Lately,
    Outcome,
    Standing,
    most_ejected,
    outcome_of,
)
from policies.snapshot.route import Eject

EJECT = Eject(after_failures=3, for_s=10.0, at_most_s=60.0)
_OUT_AND_BACK = (Event.TOO_MANY, Event.PICKED, Event.ANSWERED)


def broken(times: int, now_s: float = 0.0) -> Health:
    health = Health()
    for _ in range(times):
        health.broke(now_s)
    return health


def mixed(answers: int, failures: int, now_s: float = 0.0) -> Health:
    """A pod that never failed three times in a row."""
    health = Health()
    for _ in range(failures):
        health.row_failed(now_s)
    for _ in range(answers - failures):
        health.worked(now_s)
    return health


def test_a_pod_is_out_then_tried_then_back() -> None:
    health = broken(3)
    assert health.fails(EJECT, (), 0.0)
    assert health.step(Event.TOO_MANY, EJECT, 0.0)
    assert (health.standing, health.until_s) == (Standing.EJECTED, 10.0)
    assert health.step(Event.PICKED, EJECT, 10.0)
    assert (health.standing, health.until_s) == (Standing.PROBING, 10.0 + PROBE_WITHIN_S)
    assert health.step(Event.ANSWERED, EJECT, 11.0)
    assert (health.standing, health.until_s) == (Standing.HEALTHY, math.inf)
    assert not health.fails(EJECT, (), 11.0)


def test_every_further_term_is_twice_as_long_up_to_the_longest() -> None:
    health, terms_s, now_s = broken(3), [], 0.0
    health.step(Event.TOO_MANY, EJECT, now_s)
    for _ in range(5):
        terms_s.append(health.until_s - now_s)
        now_s = health.until_s
        health.step(Event.PICKED, EJECT, now_s)
        health.step(Event.FAILED, EJECT, now_s)
    assert terms_s == [10.0, 20.0, 40.0, 60.0, 60.0]


def test_terms_begin_anew_once_the_pod_was_well_for_as_long_as_it_was_out() -> None:
    health = Health()
    for event, now_s in zip(_OUT_AND_BACK, (0.0, 10.0, 10.0), strict=True):
        health.step(event, EJECT, now_s)
    health.step(Event.TOO_MANY, EJECT, 15.0)
    assert health.until_s == 15.0 + 20.0
    for event, now_s in zip(_OUT_AND_BACK[1:], (35.0, 35.0), strict=True):
        health.step(event, EJECT, now_s)
    health.step(Event.TOO_MANY, EJECT, 56.0)
    assert health.until_s == 56.0 + 10.0


@pytest.mark.parametrize("standing", Standing)
@pytest.mark.parametrize("event", Event)
def test_only_what_the_table_says_changes_a_standing(standing: Standing, event: Event) -> None:
    health = Health()
    health.standing, health.until_s = standing, 7.0
    after = TRANSITIONS.get((standing, event))
    assert health.step(event, EJECT, 5.0) == (after is not None)
    if after is None:
        assert (health.standing, health.until_s) == (standing, 7.0)
    else:
        assert health.standing is after[0]
        assert (health.until_s == math.inf) == (after[0] is Standing.HEALTHY)


def test_the_answers_that_an_ejected_pod_still_owes_change_nothing() -> None:
    assert not {(Standing.EJECTED, Event.ANSWERED), (Standing.EJECTED, Event.FAILED)} & TRANSITIONS.keys()


def test_failures_count_in_a_row_and_those_of_a_row_do_not() -> None:
    health = broken(2)
    health.worked(0.0)
    health.broke(0.0)
    assert not health.fails(EJECT, (), 0.0)
    health = broken(2)
    health.row_failed(0.0)  # it answered, so it is there
    health.broke(0.0)
    assert not health.fails(EJECT, (), 0.0)


def test_a_pod_that_fails_what_its_siblings_do_not_is_left_out() -> None:
    own = mixed(20, 10)
    assert own.fails(EJECT, [own, mixed(60, 3)], 0.0)
    assert not own.fails(EJECT, [own, mixed(60, 30)], 0.0)  # the requests are bad, or the model
    assert not own.fails(EJECT, [own, mixed(0, 0)], 0.0)  # nobody to compare with
    assert not mixed(19, 10).fails(EJECT, [mixed(60, 3)], 0.0)  # too few to tell
    assert not mixed(40, 10).fails(EJECT, [mixed(60, 3)], 0.0)


def test_what_is_older_than_ten_seconds_is_forgotten() -> None:
    lately = Lately()
    for second in range(20):
        lately.note(1 if second < 15 else 0, float(second))
    assert lately.counts(19.9) == (10, 5)
    assert lately.counts(28.0) == (1, 0)
    assert lately.counts(1000.0) == (0, 0)


def test_an_hour_of_silence_costs_no_more_than_a_second() -> None:
    lately = Lately()
    lately.note(1, 1e9)
    assert lately.counts(1e9 + 0.5) == (1, 1)


@pytest.mark.parametrize(
    ("status", "reason", "outcome"),
    [
        (200, "", Outcome.WORKED),
        (422, "row_refused", Outcome.WORKED),
        (504, "deadline_exceeded", Outcome.WORKED),
        (500, "handler_failed", Outcome.ROW_FAILED),
        (500, "", Outcome.ROW_FAILED),
        (507, "out_of_memory", Outcome.ROW_FAILED),
        (503, "queue_full", Outcome.NO_ROOM),
        (503, "pod_draining", Outcome.NO_ROOM),
        (503, "", Outcome.NO_ROOM),
        (502, "inference_lost", Outcome.BROKE),
        (504, "", Outcome.BROKE),
    ],
)
def test_what_an_answer_says_of_its_pod(status: int, reason: str, outcome: Outcome) -> None:
    assert outcome_of(status, reason) is outcome


@pytest.mark.parametrize(("ready", "share", "most"), [(0, 0.5, 0), (1, 0.5, 0), (2, 0.5, 1), (3, 0.5, 1), (9, 0.34, 3)])
def test_at_least_half_and_the_last_one_stay(ready: int, share: float, most: int) -> None:
    assert most_ejected(ready, share) == most
