"""Evidence of a step is counts, a test and a short history; nothing of it is lost by a restart."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.rollouts.evidence import (
    EXAMPLES,
    MOMENTS,
    StepEvidence,
    bad_keys,
    begun,
    is_of,
    moment,
    with_bad_key,
    with_events,
)
from gateway.decide.rollouts.verdict import ArmSeen
from policies.snapshot.release import Judge

JUDGE = Judge("1")


class Events(msgspec.Struct, frozen=True):
    requests: int = 0
    bad: int = 0
    slow: int = 0


def step() -> StepEvidence:
    return begun(JUDGE, "2", step=1, share=0.05, now_s=100.0)


def with_keys(count: int, in_canary: bool = False) -> StepEvidence:
    evidence = step()
    for number in range(count):
        evidence = with_bad_key(evidence, in_canary, 0.05, f"trace-{number}", False, 100.0 + number)
    return evidence


def test_a_step_begins_with_nothing() -> None:
    evidence = step()
    assert (evidence.stable.seen, evidence.canary.seen) == (ArmSeen("1"), ArmSeen("2"))
    assert (bad_keys(evidence), evidence.ratio.harm, evidence.ratio.safe) == (0, 1.0, 1.0)


def test_requests_are_counted_by_arm_and_when_each_had_its_last() -> None:
    evidence = with_events(step(), Events(90, 3, 1), Events(10, 2, 2), 101.0)
    evidence = with_events(evidence, Events(90), Events(), 102.0)
    assert evidence.stable.seen == ArmSeen("1", 180, 3, 1)
    assert evidence.canary.seen == ArmSeen("2", 10, 2, 2)
    assert (evidence.stable.last_request_s, evidence.canary.last_request_s) == (102.0, 101.0)


def test_a_bad_key_is_evidence_at_the_share_of_its_moment() -> None:
    evidence = with_bad_key(step(), True, 0.04, "abc", False, 101.0)
    assert evidence.canary.seen == ArmSeen("2", bad_keys=1, examples=("abc",))
    assert evidence.stable.seen == ArmSeen("1")
    assert evidence.share == 0.04
    assert evidence.ratio == step().ratio.seen(True, 0.04)


def test_a_late_label_is_evidence_of_its_own() -> None:
    evidence = with_bad_key(step(), True, 0.04, "abc", True, 101.0)
    assert evidence.canary.seen == ArmSeen("2", bad_keys=1, wrong_labels=1, examples=("abc",))
    assert (evidence.ratio, evidence.labels) == (step().ratio, step().labels.seen(True, 0.04))
    assert evidence.harm == pytest.approx(evidence.labels.harm)
    assert evidence.counted.canary_events == 1


def test_the_latest_examples_are_kept_and_one_without_a_trace_is_none() -> None:
    evidence = with_bad_key(with_keys(9), False, 0.05, "", False, 200.0)
    assert evidence.stable.seen.examples == tuple(f"trace-{number}" for number in range(9 - EXAMPLES, 9))


@given(st.integers(0, 3000))
def test_history_spans_the_step_and_leaves_room_for_one_more_moment(count: int) -> None:
    evidence = with_keys(count)
    assert len(evidence.history) < MOMENTS
    counts = [each.bad_keys for each in evidence.history]
    assert counts == [evidence.every * number for number in range(1, len(counts) + 1)]
    assert count - sum(counts[-1:]) < evidence.every
    assert len(counts) >= min(count, MOMENTS // 2 - 1)


def test_a_moment_is_how_it_was_then() -> None:
    evidence = with_keys(1, in_canary=True)
    assert evidence.history == (moment(evidence, 100.0),)
    assert evidence.history[0].harm == evidence.ratio.harm


@given(st.lists(st.booleans(), max_size=300))
def test_a_restart_changes_nothing(arms: list[bool]) -> None:
    evidence = with_events(step(), Events(5, 1), Events(2), 100.5)
    for in_canary in arms:
        evidence = with_bad_key(evidence, in_canary, 0.05, "abc", in_canary, 101.0)
    for codec in (msgspec.msgpack, msgspec.json):
        assert codec.decode(codec.encode(evidence), type=StepEvidence) == evidence


def test_evidence_answers_the_question_it_was_gathered_for_alone() -> None:
    evidence = with_keys(3)
    assert is_of(evidence, JUDGE, "2", 1)
    assert not is_of(evidence, JUDGE, "2", 2)
    assert not is_of(evidence, JUDGE, "3", 1)
    assert not is_of(evidence, Judge("0"), "2", 1)
    assert not is_of(evidence, Judge("1", harmful_above=1.1), "2", 1)
    assert not is_of(evidence, Judge("1", safe_below=2.0), "2", 1)
    assert is_of(evidence, Judge("1", alpha=0.05, no_traffic_s=1.0), "2", 1)
