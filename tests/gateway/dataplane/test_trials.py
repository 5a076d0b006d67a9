"""What is told of trials: counts of both arms, and each bad key once each time."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.messages import ArmEvents, BadKey
from gateway.dataplane import trials
from gateway.dataplane.trials import Trials
from gateway.decide.release import Trial
from gateway.decide.stage import Stage

STAGE = Stage("digits", "second", "2", 1, 0, 0.05)


def noted(*events: tuple[int, str, int, bool], stage: Stage = STAGE, told: Trials | None = None) -> Trials:
    told = told or Trials()
    for subject, outcome, status, in_canary in events:
        told.note(Trial(stage, subject), outcome, status, f"trace-{subject}", in_canary=in_canary)
    return told


def test_requests_of_both_arms_are_counted_and_slow_ones_are_told_apart() -> None:
    events = noted((1, "good", 200, False), (2, "bad", 500, False), (3, "bad", 200, True)).take()[0]
    assert (events.stable, events.canary) == (ArmEvents(2, 1, 0), ArmEvents(1, 1, 1))
    assert events.keys == (BadKey(2, False, "trace-2"), BadKey(3, True, "trace-3"))


def test_what_objectives_ignore_is_no_event() -> None:
    assert noted((1, "ignored", 429, True)).take() == []


def test_without_objectives_the_status_alone_says_it() -> None:
    events = noted((1, "", 200, True), (2, "", 503, True)).take()[0]
    assert events.canary == ArmEvents(2, 1, 0)


def test_a_key_is_told_once_each_time_however_many_of_its_requests_are_bad() -> None:
    told = noted((1, "bad", 500, True), (1, "bad", 500, True))
    events = told.take()[0]
    assert (len(events.keys), events.canary.bad) == (1, 2)
    assert len(noted((1, "bad", 500, True), told=told).take()[0].keys) == 1


def test_stages_are_told_apart() -> None:
    told = noted((1, "bad", 500, True))
    noted((1, "bad", 500, True), stage=replace(STAGE, step=1), told=told)
    assert [(events.stage.step, len(events.keys)) for events in told.take()] == [(0, 1), (1, 1)]


def test_while_everybody_is_on_stable_no_key_is_told() -> None:
    events = noted((1, "bad", 500, False), stage=replace(STAGE, share=0.0)).take()[0]
    assert (events.keys, events.stable.bad) == ((), 1)


def test_keys_beyond_the_bound_are_counted() -> None:
    told = noted(*((subject, "bad", 500, True) for subject in range(trials.MAX_TOLD + 5)))
    events = told.take()[0]
    assert (len(events.keys), events.untold, events.canary.bad) == (trials.MAX_TOLD, 5, trials.MAX_TOLD + 5)
