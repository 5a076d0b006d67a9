"""Why a record is kept by itself: its share, its fault, its slowness; and what bounds faults and slowness."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from policies.snapshot.slos import Objective
from telemetry.records import Record
from telemetry.sidecar.judgement import AT_MOST, EXCEPTIONS_PER_S, MODELS, OWN_TRACES_PER_S, Judge, Kept
from telemetry.sidecar.recent import ENOUGH
from tests.telemetry.sidecar.recording import (
    OUT_OF_SHARE,
    batch_times,
    gateway_request,
    pod_batch,
    pod_load,
    pod_request,
    trace,
)

ATTEMPT = gateway_request(1).attempts[0]


def objective(within_s: float | None) -> Objective:
    return Objective(f"within-{within_s}", "team", 86_400.0, 0.99, 500, within_s)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (gateway_request(1), None),
        (gateway_request(1, sampled=True), Kept.SHARE),
        (gateway_request(1, status=503), Kept.ERROR),
        (gateway_request(1, status=429), None),
        (gateway_request(1, status=429, outcome="bad"), Kept.BAD),
        (gateway_request(1, lost="broke"), Kept.ERROR),
        (gateway_request(1, status=499), None),
        (replace(gateway_request(1), attempts=(replace(ATTEMPT, status=500),)), Kept.ERROR),
        (replace(gateway_request(1), attempts=(replace(ATTEMPT, status=429),)), None),
        (pod_request(1), None),
        (pod_request(1, sampled=True), Kept.SHARE),
        (pod_request(1, status=507), Kept.ERROR),
        (pod_batch(batch_times(1)), None),
        (pod_load(1), Kept.SHARE),
        (pod_load(1, "no weights"), Kept.ERROR),
    ],
)
def test_a_record_is_kept_for_its_share_or_its_fault(record: Record, why: Kept | None) -> None:
    assert Judge().judge(record, "digits", now_s=0.0) is why


def test_what_takes_longer_than_the_strictest_objective_is_slow() -> None:
    judge = Judge()
    judge.heed({"digits": [objective(0.5), objective(0.2), objective(None)], "other": [objective(0.001)]})
    assert judge.judge(gateway_request(1, took_s=0.19), "digits", 0.0) is None
    assert judge.judge(gateway_request(1, took_s=0.21, outcome="bad"), "digits", 0.0) is Kept.SLOW
    judge.heed({})
    assert judge.judge(gateway_request(1, took_s=0.21), "digits", 0.0) is None


def test_what_takes_longer_than_usual_is_slow_once_there_is_a_usual() -> None:
    judge = Judge()
    late = gateway_request(1, took_s=1.0)
    assert judge.judge(late, "digits", now_s=0.0) is None
    for number in range(2 * ENOUGH):
        assert judge.judge(gateway_request(number, took_s=0.01), "digits", now_s=1.0) is None
    assert judge.judge(late, "digits", now_s=10.0) is Kept.SLOW
    assert judge.judge(late, "other", now_s=10.0) is None


def test_refusals_do_not_make_answers_look_slow() -> None:
    judge = Judge()
    for number in range(2 * ENOUGH):
        judge.judge(gateway_request(number, status=429, took_s=0.0001), "digits", now_s=1.0)
    assert judge.judge(gateway_request(1, took_s=1.0), "digits", now_s=10.0) is None


def test_of_models_beyond_the_bound_nothing_is_remembered() -> None:
    judge = Judge()
    for number in range(MODELS):
        judge.judge(gateway_request(number), f"model-{number}", now_s=0.0)
    for number in range(2 * ENOUGH):
        judge.judge(gateway_request(number), "one-more", now_s=1.0)
    assert judge.judge(gateway_request(1, took_s=9.0), "one-more", now_s=10.0) is None


def test_of_a_crowd_of_faults_a_consistent_share_is_kept() -> None:
    judge = Judge()
    last = replace(gateway_request(1, status=500), trace_id=trace(1, OUT_OF_SHARE))
    few = [judge.judge(last, "digits", now_s=0.0) for _ in range(int(EXCEPTIONS_PER_S))]
    assert set(few) == {Kept.ERROR}
    assert judge.judge(last, "digits", now_s=0.0) is None
    assert judge.judge(gateway_request(2, status=500), "digits", now_s=0.0) is Kept.ERROR  # of every share
    assert judge.judge(last, "digits", now_s=5.0) is Kept.ERROR


@pytest.mark.parametrize("second", [0.0, 1.0, 2.0, 3.0])
def test_a_caller_that_chooses_its_trace_ids_has_no_more_of_them_kept(second: float) -> None:
    judge = Judge()
    kept = 0
    for number in range(2000):  # each of every share
        fault = replace(gateway_request(1, status=500), trace_id=f"{number:018x}{2**56 - 1 - number:014x}")
        kept += judge.judge(fault, "digits", now_s=second) is not None
    assert kept == AT_MOST * EXCEPTIONS_PER_S
    own = sum(judge.judge_trace(trace(number), now_s=second) is not None for number in range(2000))
    assert own == AT_MOST * OWN_TRACES_PER_S


def test_traces_that_begin_in_a_handler_are_kept_up_to_a_share_of_their_own() -> None:
    judge = Judge()
    last = trace(1, OUT_OF_SHARE)
    few = [judge.judge_trace(last, now_s=0.0) for _ in range(int(OWN_TRACES_PER_S))]
    assert set(few) == {Kept.SHARE}
    assert judge.judge_trace(last, now_s=0.0) is None
