"""What a request is copied for: consent first, then each share by its own salt."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from gateway.decide.copying import Copies, is_compared
from gateway.decide.decision import decide
from gateway.decide.release import Arm
from gateway.decide.stage import Stage
from gateway.decide.tables import Tables
from policies.snapshot.release import Feedback, LeftOut, Recording, Shadow
from policies.snapshot.samples import Sampling
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.decide.test_decision import FACTS
from tests.gateway.policy import policy

SHADOW = Shadow("dark", "2", 1.0, ("header:x-user-id",), repeat_stable=0.0)


def copies(
    *, consents: bool = True, draw: float = 0.0, facts: dict[str, Any] | None = None, **route: Any
) -> Copies | None:
    snapshot = policy()
    changed = replace(snapshot.routes["digits"], **route)
    tenant = replace(snapshot.tenants["ads"], is_copied=consents)
    made = Tables(replace(snapshot, routes={"digits": changed}, tenants={"ads": tenant}))
    return decide(made, replace(FACTS, draw=draw, **(facts or {})), FakeCounters(), now_s=50.0).copies


def test_a_tenant_that_does_not_consent_is_copied_nowhere() -> None:
    assert copies(consents=False, shadows=(SHADOW,), record=Recording(1.0)) is None


def test_labels_are_kept_of_every_tenant_for_they_are_its_own() -> None:
    assert copies(consents=False, shadows=(SHADOW,), feedback=Feedback("/label")) == Copies(is_labelled=True)


def test_a_tenant_that_consents_is_copied_as_far_as_the_shares_go() -> None:
    assert copies(shadows=(SHADOW,), record=Recording(1.0)) == Copies(("dark",), is_recorded=True)
    assert copies(shadows=(replace(SHADOW, sample=0.0),), record=Recording(0.0)) is None


def test_who_is_left_out_of_a_shadow_is_not_copied_to_it() -> None:
    assert copies(shadows=(replace(SHADOW, never=LeftOut(("ads",))),)) is None
    assert copies(record=Recording(1.0, never=LeftOut(tiers=("gold",)))) is None


def test_a_shadow_of_the_version_that_answers_has_nothing_to_compare() -> None:
    assert copies(shadows=(replace(SHADOW, version="1"),)) is None
    assert copies(shadows=(SHADOW,), facts={"pinned_version": "2"}) is None


def test_a_caller_stays_in_a_sample_or_out_of_it() -> None:
    half = replace(SHADOW, sample=0.5)
    for user in range(40):
        facts = {"headers": (("x-user-id", str(user)),)}
        assert len({copies(shadows=(half,), facts=facts, draw=draw / 10) for draw in range(10)}) == 1


def test_shares_that_fall_by_chance_fall_apart_from_each_other() -> None:
    shadows = tuple(Shadow(name, "2", 0.5, repeat_stable=0.5) for name in ("one", "two"))
    seen = [copies(shadows=shadows, record=Recording(0.5), draw=number / 1000) or Copies() for number in range(1000)]
    for count in (
        sum("one" in one.shadows and "two" in one.shadows for one in seen),
        sum("two" in one.shadows and one.is_recorded for one in seen),
        sum(one.is_recorded and "one" in one.shadows for one in seen),
    ):
        assert 180 < count < 320


def test_what_is_asked_about_a_model_is_not_copied() -> None:
    assert copies(shadows=(SHADOW,), facts={"method": "GET", "path": "/v2/models/digits"}) is None


def test_shadows_are_compared_with_stable_and_with_a_canary_that_has_all_callers() -> None:
    on_its_way, whole = (Stage("digits", "first", "2", 3, 0, share, is_over=False) for share in (0.5, 1.0))
    assert is_compared(Arm.STABLE, None)
    assert is_compared(Arm.STABLE, on_its_way)
    assert not is_compared(Arm.CANARY, on_its_way)
    assert is_compared(Arm.CANARY, whole)
    assert not is_compared(Arm.PINNED, whole)


def test_a_request_that_names_its_version_is_copied_to_no_shadow_and_may_be_recorded() -> None:
    other = replace(SHADOW, version="1")
    facts = {"pinned_version": "2"}
    assert copies(shadows=(other,), record=Recording(1.0), facts=facts) == Copies((), is_recorded=True)


def test_a_tenant_that_does_not_consent_or_is_left_out_is_no_sample() -> None:
    sampling = Sampling(("/a",), rate=1.0, triggers=("error",))
    assert copies(consents=False, samples=sampling) is None
    assert copies(samples=replace(sampling, never=LeftOut(tenants=("ads",)))) is None
    assert copies(samples=sampling) == Copies(sampling=sampling, is_drawn=True)


def test_samples_by_chance_alone_cost_the_others_nothing() -> None:
    sampling = Sampling(("/a",), rate=0.3)
    seen = [copies(samples=sampling, draw=number / 1000) for number in range(1000)]
    assert 250 < sum(one is not None for one in seen) < 350
    assert {one for one in seen if one is not None} == {Copies(sampling=sampling, is_drawn=True)}
    assert copies(samples=Sampling(("/a",), triggers=("shadow_difference",))) is None  # the copies process says so


def test_why_a_request_is_a_sample_is_the_worst_that_happened_to_it() -> None:
    sampling = Sampling(("/a",), triggers=("drift", "error", "slow"), slower_than_s=0.5)
    drawn, other = Copies(sampling=sampling, is_drawn=True), Copies(sampling=sampling)
    assert drawn.sampled(500, 1.0, is_drifting=True) == "error"
    assert drawn.sampled(200, 0.51, is_drifting=True) == "slow"
    assert drawn.sampled(200, 0.5, is_drifting=True) == "drift"
    assert drawn.sampled(499, 0.5, is_drifting=False) == "rate"
    assert other.sampled(200, 0.5, is_drifting=False) == ""
    assert Copies(is_labelled=True).sampled(500, 9.0, is_drifting=True) == ""
    rate_alone = Copies(sampling=Sampling(("/a",), rate=0.5))
    assert rate_alone.sampled(500, 9.0, is_drifting=True) == ""


def test_what_is_no_sample_is_handed_over_for_other_uses_alone() -> None:
    sampling = Sampling(("/a",), triggers=("error",))
    labelled = Copies(is_labelled=True, sampling=sampling)
    assert labelled.is_of_use("")
    assert labelled.may_need_request
    assert (labelled.needs_request(""), labelled.needs_request("error")) == (False, True)
    assert not Copies(sampling=sampling).is_of_use("")
