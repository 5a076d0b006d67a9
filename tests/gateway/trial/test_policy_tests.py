"""Tests of policy: what they expect is compared with what is decided, and a failure names its place."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.trial.policy_tests import failures, trials
from policies.errors import PolicyError
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Judge, LeftOut, Shadow, When
from policies.snapshot.tenant import Quota
from policies.snapshot.tests import PolicyTest
from tests.gateway.policy import policy

DAY = Quota("day", "requests", 100, "calendar-day")
TEST = PolicyTest("ads may call digits", "tests/a.yaml:3:5", "digits", "ads", expect_status=200)
HOLDING = {
    "a version": replace(TEST, expect_version="1"),
    "a version by the path": replace(TEST, version="2", expect_version="2"),
    "a version by the header, in any case": replace(TEST, headers={"Penstock-Version": "2"}, expect_version="2"),
    "nobody": replace(TEST, tenant="", expect_status=401, expect_reason="key_missing"),
    "scopes of its own": replace(TEST, api="explain", scopes=("infer",), expect_status=403),
    "explanations": replace(TEST, api="explain"),
    "the open protocol": replace(TEST, api="infer", version="2", expect_version="2"),
    "another's model": replace(TEST, model="secret", expect_status=403, expect_reason="model_not_allowed"),
    "a model that is not there": replace(TEST, model="none", expect_status=404),
    "a quota that is used up": replace(TEST, used={"day": 1.0}, expect_status=429, expect_reason="quota_exhausted"),
    "the version that a used up quota keeps it from": replace(
        TEST, used={"day": 1.0}, expect_status=429, expect_version="1"
    ),
    "a quota with a little left": replace(TEST, used={"day": 0.99}),
    "a body that is too large": replace(TEST, headers={"content-length": str(2**40)}, expect_status=413),
    "nothing": replace(TEST, expect_status=None),
}


def failed(test: PolicyTest) -> list[PolicyError]:
    return failures(replace(policy(quotas=(DAY,)), tests=(test,)))


@pytest.mark.parametrize("test", HOLDING.values(), ids=HOLDING)
def test_what_is_decided_as_expected_does_not_fail(test: PolicyTest) -> None:
    assert failed(test) == []


def test_a_wrong_status_says_what_was_decided() -> None:
    (error,) = failed(replace(TEST, model="secret"))
    assert str(error) == (
        'tests/a.yaml:3:5: the test "ads may call digits" expects status 200, but decided is 403 '
        "(model_not_allowed: tenant ads may not call secret; GET /me says what it may, "
        "the platform team lets it call more). Mend the policy, or the test if this is what is meant."
    )


def test_a_wrong_version_says_which_one_answers() -> None:
    (error,) = failed(replace(TEST, expect_version="2"))
    assert error.problem.endswith("expects version 2, but decided is 200 (version 1 answers)")


def test_a_wrong_reason_says_the_right_one() -> None:
    (error,) = failed(replace(TEST, tenant="", expect_status=None, expect_reason="rate_limited"))
    assert "expects the refusal rate_limited, but decided is 401 (key_missing:" in error.problem


def test_a_reason_that_no_refusal_has_is_told_with_the_nearest_one() -> None:
    (error,) = failed(replace(TEST, expect_status=None, expect_reason="quota_exausted"))
    assert error.problem.endswith("expects the reason quota_exausted, and no refusal has that name")
    assert error.fix == "Write quota_exhausted."
    (error,) = failed(replace(TEST, expect_status=None, expect_reason="xyz"))
    assert error.fix == "Write a name from docs/reference/reasons.md."


def test_every_test_is_tried_and_every_failure_is_told() -> None:
    snapshot = replace(policy(), tests=(TEST, replace(TEST, expect_status=503, expect_version="2")))
    assert [bool(trial.wrong) for trial in trials(snapshot)] == [False, True]
    assert len(failures(snapshot)) == 2


def test_tests_do_not_use_up_each_others_limits() -> None:
    snapshot = replace(policy(rate_per_s=1.0, burst=1), tests=(TEST, TEST, TEST))
    assert failures(snapshot) == []


CANARY = Canary("first", "2", (CanaryStep(1.0),), Judge("1"), sticky_by=("tenant",), never=LeftOut(("law",)))
SHADOWS = (Shadow("dark", "2", 0.001, never=LeftOut(("labs",))), Shadow("deep", "2", 0.0))
RELEASED = {
    "before the first step": replace(TEST, expect_version="1"),
    "a share of everything": replace(TEST, canary_share=1.0, expect_version="2"),
    "a share of nothing": replace(TEST, canary_share=0.0, expect_version="1"),
    "a tenant that is left out": replace(TEST, tenant="law", canary_share=1.0, expect_version="1"),
    "a rule before the canary": replace(TEST, headers={"X-Try": "yes"}, canary_share=1.0, expect_version="1"),
    "a rule by a header with another value": replace(
        TEST, headers={"x-try": "no"}, canary_share=1.0, expect_version="2"
    ),
    "shadows, each of which samples for sure": replace(TEST, expect_shadows=("deep", "dark")),
    "a shadow that leaves a tenant out": replace(TEST, tenant="labs", expect_shadows=("deep",)),
    "a tenant that denies shadows": replace(TEST, tenant="law", expect_shadows=()),
    "shadows of the version that answers": replace(TEST, canary_share=1.0, expect_shadows=()),
    "no copy of what is refused": replace(TEST, model="secret", expect_status=403, expect_shadows=()),
}


def released(test: PolicyTest) -> list[PolicyError]:
    snapshot = policy()
    ads = replace(snapshot.tenants["ads"], is_copied=True)
    tenants = {
        "ads": ads,
        "labs": replace(ads, name="labs", keys=()),
        "law": replace(ads, name="law", keys=(), is_copied=False),
    }
    rule = ChooseRule("try", When(headers=(("x-try", "yes"),)), "1")
    digits = replace(snapshot.routes["digits"], canary=CANARY, shadows=SHADOWS, choose=(rule,))
    return failures(replace(snapshot, tenants=tenants, routes={**snapshot.routes, "digits": digits}, tests=(test,)))


@pytest.mark.parametrize("test", RELEASED.values(), ids=RELEASED)
def test_releases_are_decided_as_expected(test: PolicyTest) -> None:
    assert released(test) == []


def test_a_copy_that_is_not_expected_or_not_made_is_told() -> None:
    (error,) = released(replace(TEST, expect_shadows=()))
    assert error.problem.endswith("expects copies to no shadow, but it is copied to dark, deep")
    (error,) = released(replace(TEST, tenant="law", expect_shadows=("dark",)))
    assert error.problem.endswith("expects copies to dark, but it is copied to no shadow")
