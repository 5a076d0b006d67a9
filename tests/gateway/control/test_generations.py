"""The switch to a new generation, as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.generations import (
    ANSWER_WITHIN_S,
    NOBODY_PREPARED,
    Action,
    Kill,
    Phase,
    Switch,
    TellCommit,
    TellPrepare,
    begin,
    committed,
    gone,
    joined,
    prepared,
    time_passed,
)


def preparing(*workers: int) -> Switch:
    return begin(2, frozenset(workers), frozenset(), now_s=0.0)[0]


def test_every_worker_is_told_to_prepare_and_nobody_to_commit() -> None:
    switch, actions = begin(2, frozenset({1, 2}), frozenset(), now_s=0.0)
    assert actions == [TellPrepare(1), TellPrepare(2)]
    assert switch.phase is Phase.PREPARING
    assert switch.answer_by_s == ANSWER_WITHIN_S


def test_nobody_commits_before_everybody_has_prepared() -> None:
    switch, actions = prepared(preparing(1, 2), 1, 2, "", 0.1)
    assert actions == []
    switch, actions = prepared(switch, 2, 2, "", 0.2)
    assert actions == [TellCommit(1), TellCommit(2)]
    assert switch.phase is Phase.COMMITTING


def test_the_switch_is_over_when_everybody_has_committed() -> None:
    switch, _ = prepared(preparing(1), 1, 2, "", 0.1)
    assert not switch.is_over
    switch, actions = committed(switch, 1, 2, 0.2)
    assert (switch.phase, actions) == (Phase.IN_FORCE, [])


def test_one_error_vetoes_for_all() -> None:
    switch, _ = prepared(preparing(1, 2), 1, 2, "", 0.1)
    switch, actions = prepared(switch, 2, 2, "no such tier", 0.2)
    assert (switch.phase, switch.veto, actions) == (Phase.VETOED, "no such tier", [])


def test_a_worker_that_dies_does_not_veto() -> None:
    switch, _ = prepared(preparing(1, 2), 1, 2, "", 0.1)
    switch, actions = gone(switch, 2, 0.2)
    assert (switch.phase, actions) == (Phase.COMMITTING, [TellCommit(1)])


def test_when_every_worker_dies_of_a_generation_it_is_vetoed() -> None:
    switch, _ = gone(preparing(1, 2), 1, 0.1)
    switch, actions = gone(switch, 2, 0.2)
    assert (switch.phase, switch.veto, actions) == (Phase.VETOED, NOBODY_PREPARED, [])


def test_a_silent_worker_is_killed_and_the_others_commit() -> None:
    switch, _ = prepared(preparing(1, 2), 1, 2, "", 0.1)
    assert time_passed(switch, ANSWER_WITHIN_S - 0.01) == (switch, [])
    switch, actions = time_passed(switch, ANSWER_WITHIN_S)
    assert (switch.phase, actions) == (Phase.COMMITTING, [Kill(2), TellCommit(1)])


def test_when_nobody_answers_in_time_the_generation_is_vetoed() -> None:
    switch, actions = time_passed(preparing(1, 2), ANSWER_WITHIN_S)
    assert (switch.phase, actions) == (Phase.VETOED, [Kill(1), Kill(2)])


def test_a_worker_silent_after_its_commit_is_killed_and_the_generation_stays() -> None:
    switch, _ = prepared(preparing(1), 1, 2, "", 0.1)
    switch, actions = time_passed(switch, 0.1 + ANSWER_WITHIN_S)
    assert (switch.phase, actions) == (Phase.IN_FORCE, [Kill(1)])


def test_a_worker_that_starts_meanwhile_gets_both_steps_after_the_others() -> None:
    switch = joined(preparing(1), 9)
    switch, actions = prepared(switch, 1, 2, "", 0.1)
    assert actions == [TellCommit(1), TellPrepare(9), TellCommit(9)]
    assert switch.silent == {1}


def test_without_workers_the_generation_is_in_force_at_once() -> None:
    switch, actions = begin(2, frozenset(), frozenset(), now_s=0.0)
    assert (switch.phase, actions) == (Phase.IN_FORCE, [])


def test_without_workers_that_accept_those_that_start_get_both_steps_at_once() -> None:
    switch, actions = begin(2, frozenset(), frozenset({8, 9}), now_s=0.0)
    assert switch.phase is Phase.IN_FORCE
    assert actions == [TellPrepare(8), TellCommit(8), TellPrepare(9), TellCommit(9)]


def test_an_answer_to_an_earlier_generation_counts_for_nothing() -> None:
    switch = preparing(1)
    assert prepared(switch, 1, 1, "", 0.1) == (switch, [])
    assert prepared(switch, 1, 1, "late and wrong", 0.1) == (switch, [])


Event = tuple[str, int]


def follow(workers: int, events: list[Event]) -> tuple[Switch, list[Action]]:
    """Play events in any order, then let time pass until the switch must be over."""
    switch, told = begin(2, frozenset(range(workers)), frozenset({50}), now_s=0.0)
    for kind, worker in events:
        match kind:
            case "prepared":
                step = prepared(switch, worker, 2, "", 0.1)
            case "refused":
                step = prepared(switch, worker, 2, "no", 0.1)
            case "committed":
                step = committed(switch, worker, 2, 0.1)
            case "gone":
                step = gone(switch, worker, 0.1)
            case _:
                step = joined(switch, 100 + worker), []  # a serial is never used twice
        switch = step[0]
        told += step[1]
    for now_s in (10.0, 20.0):
        switch, actions = time_passed(switch, now_s)
        told += actions
    return switch, told


KINDS = st.sampled_from(["prepared", "refused", "committed", "gone", "joined"])


@given(st.integers(0, 4), st.lists(st.tuples(KINDS, st.integers(0, 6)), max_size=20))
def test_whatever_happens_the_switch_ends_and_a_vetoed_one_was_committed_by_nobody(
    workers: int, events: list[Event]
) -> None:
    switch, told = follow(workers, events)
    assert switch.is_over
    commits = [action.worker for action in told if isinstance(action, TellCommit)]
    assert len(commits) == len(set(commits))
    if switch.phase is Phase.VETOED:
        assert commits == []
    else:
        assert 50 in commits, "a worker that was starting keeps the old generation for good"
    first_commit = next((place for place, action in enumerate(told) if isinstance(action, TellCommit)), len(told))
    for place, action in enumerate(told):
        if isinstance(action, TellCommit):
            assert TellPrepare(action.worker) in told[:place]
        if isinstance(action, TellPrepare) and action.worker < workers and place > first_commit:
            pytest.fail("a worker that took part from the start was asked again")
