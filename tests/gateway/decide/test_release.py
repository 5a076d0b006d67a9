"""Which version a request gets: rules, sticky shares of a canary, stable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.decide.credentials import NoCredential, TokenShown
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.release import KEYS, Arm, StickyKeys, is_in, subject_of
from gateway.decide.stage import Stage
from gateway.decide.tables import Tables
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Judge, LeftOut, When
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.decide.test_decision import FACTS, shown
from tests.gateway.policy import KEY, PLAIN_KEY, policy

CANARY = Canary(
    "second", "2", (CanaryStep(0.05), CanaryStep(1.0)), Judge("1"), sticky_by=("header:x-user-id", "tenant")
)


def stage(share: float, **changes: Any) -> Stage:
    return replace(Stage("digits", "second", "2", 1, 0, share), **changes)


def tables(stand: Stage | None = None, **route: Any) -> Tables:
    snapshot: Snapshot = policy()
    changed = replace(snapshot.routes["digits"], **route)
    made = Tables(replace(snapshot, routes=snapshot.routes | {"digits": changed}))
    made.stages = {} if stand is None else {stand.model: stand}
    return made


def decided(made: Tables, facts: RequestFacts = FACTS, **changes: Any) -> Decision:
    return decide(made, replace(facts, **changes), FakeCounters(), now_s=50.0)


def of_user(user: str) -> dict[str, Any]:
    return {"headers": (("x-user-id", user),)}


@given(st.text(max_size=20), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_raising_a_share_only_adds_keys(key: str, one: float, other: float) -> None:
    low, high = sorted((one, other))
    subject = subject_of("second", key)
    assert is_in(subject, high) or not is_in(subject, low)


@given(st.integers(0, KEYS - 1))
def test_a_whole_share_has_every_key_and_none_has_nobody(subject: int) -> None:
    assert is_in(subject, 1.0)
    assert not is_in(subject, 0.0)


def test_the_share_of_keys_is_the_share_and_another_id_draws_anew() -> None:
    users = [f"user-{number}" for number in range(20_000)]
    first = {user for user in users if is_in(subject_of("first", user), 0.25)}
    second = {user for user in users if is_in(subject_of("second", user), 0.25)}
    for chosen, expected in ((first, 5000), (second, 5000), (first & second, 1250)):
        assert abs(len(chosen) - expected) < 4 * (expected**0.5)


def test_a_user_stays_where_it_is_while_the_share_rises() -> None:
    arms = {
        share: {
            user
            for user in range(300)
            if decided(tables(stage(share), canary=CANARY), **of_user(str(user))).version == "2"
        }
        for share in (0.05, 0.25, 1.0)
    }
    assert arms[0.05] < arms[0.25] < arms[1.0] == set(range(300))


def test_a_request_of_the_canary_says_so_and_is_part_of_its_trial() -> None:
    decision = decided(tables(stage(1.0), canary=CANARY), **of_user("u"))
    assert (decision.version, decision.arm) == ("2", Arm.CANARY)
    assert decision.trial is not None
    assert (decision.trial.stage, decision.trial.subject) == (stage(1.0), subject_of("second", "u"))


def test_a_request_of_stable_is_part_of_the_trial_too() -> None:
    decision = decided(tables(stage(0.0), canary=CANARY))
    assert (decision.version, decision.arm) == ("1", Arm.STABLE)
    assert decision.trial is not None
    assert decision.trial.subject == subject_of("second", "ads")


@pytest.mark.parametrize(
    "stand", [None, stage(1.0, canary="first"), stage(1.0, version="3"), stage(1.0, model="other")]
)
def test_a_canary_of_which_nothing_is_told_gets_nothing(stand: Stage | None) -> None:
    decision = decided(tables(stand, canary=CANARY))
    assert (decision.version, decision.trial) == ("1", None)


def test_a_promoted_canary_has_everybody_and_no_trial() -> None:
    decision = decided(tables(stage(1.0, is_over=True), canary=CANARY))
    assert (decision.version, decision.arm, decision.trial) == ("2", Arm.CANARY, None)


@pytest.mark.parametrize("never", [LeftOut(tenants=("ads",)), LeftOut(tiers=("gold",))])
def test_who_is_left_out_stays_with_stable_in_neither_arm(never: LeftOut) -> None:
    decision = decided(tables(stage(1.0), canary=replace(CANARY, never=never)))
    assert (decision.version, decision.arm, decision.trial) == ("1", Arm.STABLE, None)


@pytest.mark.parametrize("asked", ["1", "2"])
def test_who_asks_for_a_version_is_in_neither_arm(asked: str) -> None:
    decision = decided(tables(stage(0.5), canary=CANARY), pinned_version=asked)
    assert (decision.version, decision.trial) == (asked, None)


def test_without_a_key_chance_decides_and_each_request_is_its_own_subject() -> None:
    made = tables(stage(0.3), canary=replace(CANARY, sticky_by=("header:x-user-id",)))
    assert decided(made, draw=0.299).version == "2"
    assert decided(made, draw=0.301).version == "1"
    assert decided(made, draw=0.299).trial != decided(made, draw=0.298).trial


def test_an_empty_header_is_no_key() -> None:
    keys = StickyKeys("ads", (("x-user-id", ""),), NoCredential("key_missing", "none"))
    assert keys.first_of(("header:x-user-id", "tenant")) == ("tenant", "ads")


def test_a_claim_of_a_token_is_a_key() -> None:
    token = TokenShown("sso", "ads", "ann", ("infer",), 1e12, claims=(("sub", "ann"),))
    keys = StickyKeys("ads", (), token)
    assert keys.first_of(("jwt:sub", "tenant")) == ("jwt:sub", "ann")
    assert keys.first_of(("jwt:other",)) == ("", None)


RULES = (
    ChooseRule("wrong-tenant", When(tenants=("other",)), "2"),
    ChooseRule("by-header", When(headers=(("x-try", "2"),), scope="pin"), "2"),
    ChooseRule("gold-stays", When(tiers=("gold",)), "1"),
)


def test_the_first_rule_that_matches_wins_and_comes_before_the_canary() -> None:
    made = tables(stage(1.0), canary=CANARY, choose=RULES)
    decision = decided(made, headers=(("x-try", "2"),))
    assert (decision.version, decision.arm, decision.rule, decision.trial) == ("2", Arm.PINNED, "by-header", None)
    decision = decided(made)
    assert (decision.version, decision.arm, decision.rule, decision.trial) == ("1", Arm.PINNED, "gold-stays", None)


def test_a_rule_that_wants_a_scope_is_not_for_keys_without() -> None:
    made = tables(choose=RULES[:2])
    facts: dict[str, Any] = {"headers": (("x-try", "2"),)}
    assert decided(made, credential=shown(KEY), **facts).version == "2"
    assert decided(made, credential=shown(PLAIN_KEY), **facts).version == "1"


def test_a_header_rule_that_does_not_match_leaves_the_canary_to_decide() -> None:
    made = tables(stage(1.0), canary=CANARY, choose=RULES[:2])
    assert decided(made).arm is Arm.CANARY


def test_what_is_asked_about_a_model_is_answered_by_stable() -> None:
    made = tables(stage(1.0), canary=CANARY, choose=RULES)
    decision = decided(made, method="GET", path="/v2/models/digits")
    assert (decision.version, decision.trial) == ("1", None)


def test_the_place_of_a_caller_is_found_once_and_its_version_each_time() -> None:
    made = tables(stage(0.0), canary=CANARY)
    assert decided(made).version == "1"
    made.stages = {"digits": stage(1.0, revision=2)}
    assert decided(made).version == "2"
    assert len(made.placed) == 1


def test_only_headers_that_a_route_decides_by_are_gathered() -> None:
    assert tables(canary=CANARY, choose=RULES).deciding_headers == {"x-user-id", "x-try"}
    assert tables().deciding_headers == frozenset()
