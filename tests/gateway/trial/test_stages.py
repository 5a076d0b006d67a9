"""Where a trial takes canaries to stand: as was told, carried over an edit, else at the first step."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.decide.stage import Stage
from gateway.trial.stages import stage_at, stages_after, stages_in
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Canary, CanaryStep, Judge
from tests.gateway.policy import policy

STEPS = (CanaryStep(0.05), CanaryStep(0.25), CanaryStep(1.0))
CANARY = Canary("first", "2", STEPS, Judge("1"))
TOLD = Stage("digits", "first", "2", 7, 1, 0.25)


def with_canary(canary: Canary | None) -> Snapshot:
    snapshot = policy()
    return replace(snapshot, routes={"digits": replace(snapshot.routes["digits"], canary=canary)})


BEFORE = with_canary(CANARY)


def after(canary: Canary | None, told: Stage = TOLD) -> dict[str, Stage]:
    return stages_after({"digits": told}, BEFORE, with_canary(canary))


def test_a_canary_stands_where_somebody_says_else_at_its_first_step() -> None:
    assert stages_in(BEFORE, {"digits": TOLD}) == {"digits": TOLD}
    assert stages_in(BEFORE, {}) == {"digits": Stage("digits", "first", "2", 0, 0, 0.05)}
    of_another = replace(TOLD, canary="zeroth")
    assert stages_in(BEFORE, {"digits": of_another})["digits"].share == 0.05
    assert stages_in(policy(), {"digits": TOLD}) == {}


def test_an_edit_elsewhere_keeps_what_it_has_got_to() -> None:
    later = replace(CANARY, steps=(*STEPS[:2], CanaryStep(0.5), CanaryStep(1.0)))
    assert after(later) == after(CANARY) == {"digits": TOLD}
    promoted = replace(TOLD, step=2, share=1.0, is_over=True)
    assert after(CANARY, promoted) == {"digits": promoted}


def test_of_an_edited_step_the_lower_share_holds() -> None:
    assert after(replace(CANARY, steps=(STEPS[0], CanaryStep(0.1), STEPS[2])))["digits"].share == 0.1
    assert after(replace(CANARY, steps=(STEPS[0], CanaryStep(0.5), STEPS[2])))["digits"].share == 0.25
    shorter = after(replace(CANARY, steps=STEPS[:1]))["digits"]
    assert (shorter.step, shorter.share) == (0, 0.05)


def test_another_canary_begins_at_its_first_step_and_none_has_no_stage() -> None:
    assert after(replace(CANARY, id="second"))["digits"] == Stage("digits", "second", "2", 0, 0, 0.05)
    assert after(replace(CANARY, version="1"))["digits"].share == 0.05
    assert after(None) == {}


def test_a_share_is_stated_of_a_canary_only() -> None:
    assert stage_at(BEFORE.routes["digits"], 0.3) == {"digits": Stage("digits", "first", "2", 0, 0, 0.3)}
    assert stage_at(policy().routes["digits"], 0.3) == {}
