"""A pod's life, event by event."""

from __future__ import annotations

import math

import pytest

from model_pod.server.lifecycle import TRANSITIONS, Happened, Life, after, back_off_s, failed_load
from model_pod.wire.status import PodState


def _loaded(now_s: float = 0.0) -> Life:
    return after(Life(), Happened.LOADED, now_s)


def test_a_pod_that_loads_is_ready() -> None:
    life = _loaded(7.0)
    assert (life.state, life.was_ready, life.message, life.start_at_s) == (PodState.READY, True, "", math.inf)


def test_the_first_death_is_mended_at_once() -> None:
    life = after(_loaded(0.0), Happened.LOST, 5.0, "SIGKILL")
    assert (life.state, life.start_at_s, life.restarts, life.message) == (PodState.RESTARTING, 5.0, 1, "SIGKILL")


def test_deaths_in_a_row_are_mended_later_and_later() -> None:
    life, now_s, waits = _loaded(), 0.0, []
    for _ in range(9):
        life = after(life, Happened.LOST, now_s)
        waits.append(life.start_at_s - now_s)
        life = after(life, Happened.LOADED, now_s)
        now_s += 59.0
    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_minute_of_health_forgets_the_past() -> None:
    life = after(after(after(_loaded(), Happened.LOST, 1.0), Happened.LOADED, 2.0), Happened.LOST, 62.0)
    assert life.start_at_s == 62.0


def test_the_back_off_has_a_limit_for_any_number_of_faults() -> None:
    assert back_off_s(10**6) == 60.0


def test_one_failed_load_is_tried_again_and_a_second_fails_the_pod() -> None:
    life = Life()
    life = after(life, failed_load(life, is_archive=False), 0.0, "no module")
    assert (life.state, life.start_at_s) == (PodState.STARTING, 0.0)
    life = after(life, failed_load(life, is_archive=False), 1.0, "no module")
    assert (life.state, life.message, life.start_at_s) == (PodState.FAILED, "no module", 2.0)


def test_a_bad_archive_fails_the_pod_at_once_and_a_good_one_mends_it() -> None:
    life = after(Life(), failed_load(Life(), is_archive=True), 0.0, "not a zip")
    assert life.state is PodState.FAILED
    assert after(life, Happened.LOADED, 1.0).state is PodState.READY


def test_failed_loads_are_counted_in_a_row_only() -> None:
    life = after(Life(), Happened.LOAD_FAILED, 0.0, "unlucky")
    life = after(after(life, Happened.LOADED, 1.0), Happened.LOST, 2.0)
    assert failed_load(life, is_archive=False) is Happened.LOAD_FAILED


@pytest.mark.parametrize("happened", list(Happened))
def test_a_draining_pod_drains_whatever_happens(happened: Happened) -> None:
    life = after(_loaded(), Happened.DRAIN, 1.0)
    assert after(life, happened, 2.0).state is PodState.DRAINING


@pytest.mark.parametrize("state", list(PodState))
def test_any_pod_can_be_drained(state: PodState) -> None:
    assert TRANSITIONS[state, Happened.DRAIN] is PodState.DRAINING


def test_ready_is_reached_by_loading_alone() -> None:
    assert {happened for (_, happened), state in TRANSITIONS.items() if state is PodState.READY} == {Happened.LOADED}
