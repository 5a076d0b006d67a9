"""What is shown of a pod that is ready, that is not, that falls silent, and that was never heard."""

from __future__ import annotations

import pytest

from telemetry import conventions as names
from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.samples import PodView, Sample, after_answer, after_silence, samples

POD = ("digits", "1")


def account(state: State, load_s: float = 0.5) -> PodAccount:
    return PodAccount(
        "digits", "1", state, queued_rows=3, running_rows=2, restarts=1, load_s=load_s, outcomes_dropped=7
    )


def one_hot(of: State) -> tuple[Sample, ...]:
    return tuple(Sample(names.POD_STATE, (*POD, state.value), float(state is of)) for state in State)


@pytest.mark.parametrize("state", State)
def test_a_pod_that_answers_shows_its_numbers_and_is_up_when_it_is_ready(state: State) -> None:
    assert samples(after_answer(account(state), now_s=10.0), now_s=10.25) == (
        Sample(names.POD_UP, POD, 1.0 if state is State.READY else 0.0),
        *one_hot(state),
        Sample(names.QUEUE_ROWS, POD, 3.0),
        Sample(names.RUNNING_ROWS, POD, 2.0),
        Sample(names.INFERENCE_RESTARTS, POD, 1.0),
        Sample(names.OUTCOMES_DROPPED, POD, 7.0),
        Sample(names.MODEL_LOAD_SECONDS, (*POD, "whole"), 0.5),
        Sample(names.SCRAPE_AGE_SECONDS, (), 0.25),
    )


def test_a_pod_that_falls_silent_is_down_under_its_name_and_its_numbers_go() -> None:
    silent = after_silence(after_answer(account(State.READY), now_s=10.0))
    assert samples(silent, now_s=17.0) == (Sample(names.POD_UP, POD, 0.0), Sample(names.SCRAPE_AGE_SECONDS, (), 7.0))
    assert samples(after_silence(silent), now_s=18.0)[-1].value == 8.0


def test_a_pod_that_was_never_heard_is_down_without_a_name() -> None:
    assert samples(after_silence(PodView(answered_s=5.0)), now_s=8.0) == (
        Sample(names.POD_UP, ("", ""), 0.0),
        Sample(names.SCRAPE_AGE_SECONDS, (), 3.0),
    )


def test_a_model_that_is_not_loaded_has_no_load_time() -> None:
    shown = samples(after_answer(account(State.STARTING, load_s=0.0), now_s=0.0), now_s=0.0)
    assert names.MODEL_LOAD_SECONDS not in {sample.metric for sample in shown}


def test_every_sample_is_labelled_as_the_conventions_say() -> None:
    shown = samples(after_answer(account(State.READY), now_s=0.0), now_s=0.0)
    assert {sample.metric for sample in shown} <= set(names.SIDECAR_METRICS)
    assert [len(sample.labels) for sample in shown] == [len(sample.metric.labels) for sample in shown]
