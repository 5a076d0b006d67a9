"""A judge says harm, safe, undecided or no traffic, for reasons that a person can read at three in the morning."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.decide.rollouts.evidence import StepEvidence, begun, with_bad_key, with_events
from gateway.decide.rollouts.judge import LEANS_TO_HARM, harm_proved_at, judge, requires_safe
from gateway.decide.rollouts.verdict import BurnSeen, Moment, Says, Verdict
from policies.snapshot.release import Canary, CanaryStep, Judge
from tests.gateway.decide.rollouts.test_evidence import Events

STEPS = tuple(CanaryStep(share) for share in (0.01, 0.05, 0.25, 0.5, 1.0))
CANARY = Canary("digits-2-first", "2", STEPS, Judge("1", burn_above=6.0))
BUDGET = 0.005
NOW_S = 1000.0


HUNDRED = Events(100)


def seen(
    step: int = 1, canary_keys: int = 0, stable_keys: int = 0, wrong_labels: int = 0, canary: Events = HUNDRED
) -> StepEvidence:
    """Evidence whose keys are interleaved, the rarer ones spread over the others."""
    share = STEPS[step].share
    evidence = begun(CANARY.judge, "2", step, share, NOW_S - 60.0)
    evidence = with_events(evidence, Events(1900, 9, 3), canary, NOW_S)
    total = canary_keys + stable_keys
    for number in range(total):
        in_canary = number * canary_keys // total < (number + 1) * canary_keys // total
        evidence = with_bad_key(evidence, in_canary, share, f"t{number}", in_canary and number < wrong_labels, NOW_S)
    return evidence


def judged(evidence: StepEvidence, burn: BurnSeen | None = None, budget: float | None = BUDGET) -> Verdict:
    return judge(CANARY, "digits", 12, evidence, budget, burn, NOW_S)


def test_five_times_worse_is_harm_and_says_by_how_much() -> None:
    verdict = judged(seen(canary_keys=12, stable_keys=45, canary=Events(100, 14, 2)))
    assert verdict.says is Says.HARM
    assert verdict.needs == 0
    assert verdict.harm >= verdict.proved_at == 400.0
    assert verdict.because == (
        "Harm: version 2 has bad answers for more than 1.2 times as many keys as version 1: 12 of 57 bad keys, where"
        f" 2.8 would be its part, about 5.1 times as often (e-value {verdict.harm:,.0f}, proved at 400)."
        " Version 2: 14 bad of 100 requests (2 slow), 12 bad keys."
        " Version 1: 9 bad of 1,900 requests (3 slow), 45 bad keys."
    )


def test_a_version_as_good_as_the_other_is_safe_at_a_quarter() -> None:
    verdict = judged(seen(step=2, canary_keys=90, stable_keys=270), budget=None)
    assert (verdict.says, verdict.needs) == (Says.SAFE, 0)
    assert verdict.safe >= verdict.safe_at == pytest.approx(100.0)
    assert "90 of 360 bad keys, where 90.0 would be its part, about 1 times as often" in verdict.because


def test_few_bad_requests_are_safe_by_the_budget_and_it_says_so() -> None:
    verdict = judged(seen(canary_keys=0, stable_keys=2, canary=Events(1200)))
    assert verdict.says is Says.SAFE
    assert verdict.within_budget >= 100.0
    assert verdict.because.startswith(
        "Safe: too few answers are bad to compare versions by, but those of version 2 lie within the error budget of"
        " 0.5 % (e-value "
    )
    assert judged(seen(canary_keys=0, stable_keys=2, canary=Events(1200)), budget=None).says is Says.UNDECIDED


def test_within_the_budget_is_not_safe_while_it_leans_to_harm() -> None:
    evidence = seen(canary_keys=4, stable_keys=4, canary=Events(6000, 4))
    verdict = judged(evidence)
    assert verdict.within_budget >= verdict.safe_at
    assert LEANS_TO_HARM <= verdict.harm < verdict.proved_at
    assert verdict.says is Says.UNDECIDED
    assert "requests of version 2 as good" not in verdict.because


def test_wrong_labels_count_against_the_budget_although_their_status_is_good() -> None:
    right = judged(seen(canary_keys=9, stable_keys=171, canary=Events(1200)))
    wrong = judged(seen(canary_keys=9, stable_keys=171, wrong_labels=180, canary=Events(1200)))
    assert right.within_budget >= 100.0
    assert wrong.within_budget < 100.0
    assert wrong.candidate.wrong_labels == 9
    assert "9 bad keys (9 by late labels)" in wrong.because


def test_burning_the_budget_is_harm_when_there_are_enough_requests() -> None:
    burn = BurnSeen("digits-fast", 14.4, 900.0, 1200, is_enough=True)
    verdict = judged(seen(canary=Events(1200, 5)), burn)
    assert verdict.says is Says.HARM
    assert verdict.because.startswith(
        "Harm: version 2 burns the error budget of digits-fast 14.4 times as fast as allowed, over 15 min and 1,200"
        " requests; the limit is 6."
    )
    assert judged(seen(), replace(burn, is_enough=False)).says is Says.UNDECIDED
    assert judged(seen(), replace(burn, rate=6.0)).says is Says.UNDECIDED
    lenient = replace(CANARY, judge=Judge("1", burn_above=None))
    assert judge(lenient, "digits", 12, seen(), BUDGET, burn, NOW_S).says is Says.UNDECIDED


def test_undecided_says_how_much_is_missing_and_whether_the_step_waits_for_it() -> None:
    verdict = judged(seen(canary_keys=1, stable_keys=19, canary=Events(900, 1)))
    assert verdict.says is Says.UNDECIDED
    assert verdict.needs is not None
    assert re.match(
        r"Undecided: needs about [\d,]+ more bad keys of both versions, or about [\d,]+ more", verdict.because
    )
    assert "A step below 25 % goes on without: it is enough that no harm is proved." in verdict.because
    assert "goes on without" not in judged(seen(step=2, canary_keys=1, stable_keys=3)).because


def test_what_lies_between_harmful_and_safe_is_told_as_that() -> None:
    verdict = judged(seen(step=3, canary_keys=138, stable_keys=100), budget=None)
    assert (verdict.says, verdict.needs) == (Says.UNDECIDED, None)
    assert "lies between what is called harmful and what is called safe" in verdict.because


def test_with_every_key_on_one_version_there_is_nothing_to_compare() -> None:
    verdict = judged(seen(step=4, canary_keys=5))
    assert (verdict.says, verdict.needs, verdict.harm) == (Says.UNDECIDED, None, 1.0)
    assert "nothing to compare it with" in verdict.because


@pytest.mark.parametrize("silent_s", [7200.0, 90_000.0])
def test_no_traffic_is_neither_good_nor_bad(silent_s: float) -> None:
    verdict = judge(CANARY, "digits", 12, seen(canary=Events(1200)), BUDGET, None, NOW_S + silent_s)
    assert (verdict.says, verdict.needs) == (Says.NO_TRAFFIC, None)
    assert verdict.because.startswith(f"No traffic: version 2 had no request for {silent_s / 3600:.3g} h")
    assert judge(CANARY, "digits", 12, seen(), BUDGET, None, NOW_S + 7199.0).says is Says.UNDECIDED


def test_without_any_request_the_silence_began_with_the_step() -> None:
    evidence = seen(canary=Events())
    assert judge(CANARY, "digits", 12, evidence, BUDGET, None, NOW_S + 7139.0).says is Says.UNDECIDED
    verdict = judge(CANARY, "digits", 12, evidence, BUDGET, None, NOW_S + 7140.0)
    assert verdict.says is Says.NO_TRAFFIC
    assert "for 2 h, since this step began" in verdict.because


def test_harm_wins_over_silence_and_over_safety() -> None:
    harmful = seen(canary_keys=12, stable_keys=45, canary=Events(1_000_000))
    assert judged(harmful).within_budget >= 100.0
    assert judged(harmful).says is Says.HARM
    assert judge(CANARY, "digits", 12, harmful, BUDGET, None, NOW_S + 90_000.0).says is Says.HARM


def test_history_ends_with_how_it_is_now() -> None:
    verdict = judged(seen(canary_keys=2, stable_keys=3))
    assert [each.bad_keys for each in verdict.history] == [1, 2, 3, 4, 5, 5]
    assert verdict.history[-1] == Moment(NOW_S, 5, verdict.harm, verdict.safe)


def test_steps_that_leave_something_to_compare_share_the_accepted_chance_of_a_false_alarm() -> None:
    assert harm_proved_at(CANARY) == pytest.approx(400.0)
    assert harm_proved_at(replace(CANARY, steps=STEPS[3:])) == pytest.approx(100.0)
    assert harm_proved_at(replace(CANARY, steps=STEPS[4:])) == pytest.approx(100.0)


def test_safety_is_asked_of_steps_that_can_show_it() -> None:
    assert [requires_safe(step.share) for step in STEPS] == [False, False, True, True, False]


@given(st.integers(0, 4), st.lists(st.booleans(), max_size=60), st.integers(0, 3000), st.floats(0.0, 9000.0))
def test_another_bad_key_of_the_canary_never_takes_harm_back(
    step: int, arms: list[bool], requests: int, later_s: float
) -> None:
    evidence = seen(step, canary=Events(requests))
    for in_canary in arms:
        evidence = with_bad_key(evidence, in_canary, STEPS[step].share, "", False, NOW_S)
    before = judge(CANARY, "digits", 12, evidence, BUDGET, None, NOW_S + later_s)
    worse = with_bad_key(evidence, True, STEPS[step].share, "", False, NOW_S)
    after = judge(CANARY, "digits", 12, worse, BUDGET, None, NOW_S + later_s)
    assert after.harm >= before.harm
    assert after.says is Says.HARM or before.says is not Says.HARM
    assert after.needs is None or after.needs >= 0
    assert len(after.history) <= 240


def test_late_labels_that_are_told_all_at_once_count_as_what_they_are() -> None:
    evidence = seen(step=1)
    for _ in range(20):
        evidence = with_bad_key(evidence, True, STEPS[1].share, "", True, NOW_S)
    assert judged(evidence).says is Says.HARM


def test_wrong_labels_leave_the_budget_unproved() -> None:
    evidence = with_bad_key(seen(step=3, canary=Events(5000)), True, 0.5, "", True, NOW_S)
    assert judged(evidence).within_budget == 1.0


@pytest.mark.parametrize("step", [2, 3])
def test_wrong_labels_of_stable_do_not_speak_for_a_version_that_fails_and_so_has_none(step: int) -> None:
    evidence, share = seen(step), STEPS[step].share
    for number in range(60):
        evidence = with_bad_key(evidence, True, share, "", False, NOW_S, is_one_of_many=True)
        for _ in range(3):
            evidence = with_bad_key(evidence, False, share, "", True, NOW_S)
        assert judged(evidence).says is not Says.SAFE, number
    assert judged(evidence).says is Says.HARM


def test_bad_requests_and_wrong_labels_both_have_to_be_safe() -> None:
    evidence = seen(step=3, canary_keys=300, stable_keys=300)
    assert judged(evidence, budget=None).says is Says.SAFE
    for _ in range(5):
        evidence = with_bad_key(evidence, True, 0.5, "", True, NOW_S)
    assert judged(evidence, budget=None).says is not Says.SAFE
