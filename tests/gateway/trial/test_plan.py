"""Plans: what a new policy would have done to what was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from msgspec.structs import replace

from deploy.commands.plan_text import describe
from gateway.decide.stage import Stage
from gateway.decisions.folder import Read
from gateway.trial.plan import CanaryTaken, LimitImpact, Move, Plan, ReasonCount, doubt, plan_of, plan_without_traffic
from gateway.trial.replay import Replay
from gateway.trial.traffic import ordered
from gateway.trial.tried_policy import tried
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit, Tier
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Judge, When
from policies.snapshot.tenant import LadderStep, Quota, TenantJwt
from tests.gateway.policy import KEY, policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded

HOUR = Quota("hour", "requests", 100, "calendar-hour")
EACH_SECOND = [Call(at_s=float(number)) for number in range(60)]


def planned(
    before: Snapshot,
    after: Snapshot,
    calls: Sequence[Call],
    recorded_by: Snapshot | None = None,
    told: Mapping[str, Stage] | None = None,
) -> Plan:
    replay = Replay(before, after, told or {})
    replay.run(ordered([recorded(recorded_by or before, calls)[0]]), lambda _: None)
    return plan_of(replay, Read())


def with_rate(per_s: float, burst: int, *, observe: bool = False) -> Snapshot:
    return policy(limit=Limit("tier/gold", per_s, burst, observe=observe))


def test_the_same_policy_changes_nothing_and_decides_as_was_recorded() -> None:
    snapshot = replace(with_rate(0.5, 2), tests=())
    plan = planned(snapshot, snapshot, EACH_SECOND)
    assert (plan.changes, plan.tenants, plan.new_refusals, plan.new_admissions, plan.moved) == ((), (), 0, 0, 0)
    assert plan.traffic is not None
    assert (plan.traffic.requests, plan.traffic.as_recorded, plan.traffic.late) == (60, 1.0, 0)
    assert (plan.traffic.first_s, plan.traffic.last_s) == (START_S, START_S + 59.0)


def test_a_lower_rate_refuses_exactly_what_it_would_have_refused() -> None:
    plan = planned(with_rate(1.0, 1), with_rate(0.5, 1), EACH_SECOND)
    (impact,) = plan.tenants
    assert impact.newly_refused == (ReasonCount("rate_limited", "tier/gold", 30),)
    assert (plan.new_refusals, plan.new_refusal_share) == (30, 0.5)
    assert plan.limits == (LimitImpact("tier/gold", 0, 30, 0),)


def test_a_higher_rate_admits_what_was_refused() -> None:
    plan = planned(with_rate(0.5, 1), with_rate(1.0, 1), EACH_SECOND)
    (impact,) = plan.tenants
    assert (impact.newly_refused, impact.newly_admitted) == ((), (ReasonCount("rate_limited", "", 30),))
    assert plan.new_admissions == 30


def test_an_observed_limit_is_told_and_refuses_nobody() -> None:
    plan = planned(policy(), with_rate(0.5, 1, observe=True), EACH_SECOND)
    assert plan.new_refusals == 0
    assert plan.limits == (LimitImpact("tier/gold", 0, 0, 30),)


def test_requests_in_flight_are_replayed_by_their_duration() -> None:
    calls = [Call(at_s=number / 10, duration_s=1.0) for number in range(100)]
    plan = planned(policy(), policy(limit=Limit("tier/gold", in_flight=5)), calls)
    assert plan.tenants[0].newly_refused == (ReasonCount("in_flight_limited", "tier/gold/in_flight", 50),)


def test_another_stable_version_moves_requests() -> None:
    before = policy()
    after = replace(before, routes={**before.routes, "digits": replace(before.routes["digits"], stable="2")})
    plan = planned(before, after, [*EACH_SECOND, Call(at_s=60.0, pinned_version="2", key_id=f"id-{KEY}")])
    assert plan.tenants[0].moved == (Move("digits", "1", "2", 60),)
    assert plan.moved == 60
    assert any("stable" in change for change in plan.changes)


def test_a_tenant_that_loses_a_model_or_a_key_is_told_of() -> None:
    before = policy()
    tenant = before.tenants["ads"]
    calls = [Call(key_id=f"id-{KEY}"), Call(at_s=1.0)]
    without_key = replace(before, tenants={"ads": replace(tenant, keys=tenant.keys[1:])})
    assert planned(before, without_key, calls).tenants[0].newly_refused == (ReasonCount("key_unknown", "", 1),)
    without_model = replace(before, tenants={"ads": replace(tenant, may_call=("secret",))})
    assert planned(before, without_model, calls).tenants[0].newly_refused == (ReasonCount("model_not_allowed", "", 2),)
    gone = replace(before, tenants={})
    assert planned(before, gone, calls).new_refusals == 2


def test_a_policy_that_locks_out_tokens_and_certificates_is_told_of() -> None:
    plain = policy()
    ads = replace(plain.tenants["ads"], jwt=TenantJwt("corp", "a-1"), certificates=("spiffe://corp/ads",))
    before = replace(plain, tenants={"ads": ads})
    callers = ("jwt:corp:job", "san:spiffe://corp/ads")
    calls = [Call(at_s=number, key_id=caller, scopes=("infer",)) for number, caller in enumerate(callers)]
    (impact,) = planned(before, plain, calls).tenants
    assert impact.newly_refused == (ReasonCount("token_refused", "", 1), ReasonCount("key_unknown", "", 1))
    assert planned(before, before, calls).new_refusals == 0


def test_the_key_of_whoever_started_the_mesh_is_in_no_file_and_still_known() -> None:
    snapshot = policy()
    plan = planned(snapshot, snapshot, [Call(key_id="local")], recorded_by=tried(snapshot))
    assert plan.traffic is not None
    assert (plan.traffic.requests, plan.traffic.as_recorded) == (1, 1.0)


def test_a_request_that_stays_refused_for_another_reason_is_no_new_refusal() -> None:
    before = with_rate(0.5, 1)
    after = replace(before, tenants={})
    plan = planned(before, after, EACH_SECOND)
    assert (plan.tenants[0].refused_otherwise, plan.new_refusals) == (30, 30)


def test_a_quota_that_is_used_up_is_told_with_its_moment() -> None:
    after = policy(quotas=(replace(HOUR, limit=40),))
    plan = planned(policy(), after, EACH_SECOND)
    assert plan.tenants[0].newly_refused == (ReasonCount("quota_exhausted", "hour", 20),)
    (quota,) = plan.quotas
    assert (quota.tenant, quota.quota, quota.used, quota.limit) == ("ads", "hour", 40, 40)
    assert quota.ran_out_s == START_S + 40.0
    assert plan.limits == (LimitImpact("ads/hour", 0, 20, 0),)


def test_a_quota_that_would_be_used_up_at_this_pace_is_told() -> None:
    plan = planned(policy(), policy(quotas=(HOUR,)), EACH_SECOND)
    (quota,) = plan.quotas
    assert quota.ran_out_s is None
    assert quota.runs_out_s is not None
    assert START_S + 90.0 < quota.runs_out_s < START_S + 105.0
    assert planned(policy(), policy(quotas=(replace(HOUR, limit=10**6),)), EACH_SECOND).quotas == ()


def test_a_quota_that_refuses_nothing_never_runs_out_for_anybody() -> None:
    warning = replace(HOUR, limit=40, ladder=(LadderStep(0.5, "warn"),))
    assert planned(policy(), policy(quotas=(warning,)), EACH_SECOND).new_refusals == 0


def test_a_quota_begins_with_the_use_that_was_recorded() -> None:
    snapshot = policy(quotas=(HOUR,))
    calls = [Call(at_s=number / 10) for number in range(95)]
    block, _ = recorded(snapshot, calls)
    # Only what came after the first ninety is replayed: five of a hundred are left.
    replay = Replay(snapshot, policy(quotas=(replace(HOUR, limit=92),)))
    replay.run(ordered([block], START_S + 9.0), lambda _: None)
    plan = plan_of(replay, Read())
    assert plan.traffic is not None
    assert (plan.traffic.requests, plan.traffic.as_recorded) == (5, 1.0)
    assert plan.new_refusals == 3


@pytest.mark.parametrize(
    ("reason", "device_us", "refused"),
    [
        ("pods_busy", -1, 0),
        ("would_be_late", -1, 0),
        ("queue_full", -1, 0),
        ("handler_failed", 1000, 10),
        ("pod_lost", -1, 10),
    ],
)
def test_a_request_costs_one_when_a_pod_had_it(reason: str, device_us: int, refused: int) -> None:
    calls = [Call(at_s=float(number), reason=reason, device_us=device_us) for number in range(20)]
    after = policy(quotas=(replace(HOUR, limit=10),))
    assert planned(policy(), after, calls).new_refusals == refused


def test_the_length_that_a_request_announced_which_no_pod_had_is_no_cost() -> None:
    full = [Call(at_s=float(number), reason="pods_busy", body_bytes=1000, device_us=-1) for number in range(20)]
    after = policy(quotas=(Quota("hour", "bytes", 10_000, "calendar-hour"),))
    assert planned(policy(), after, full).new_refusals == 0


def test_a_request_that_was_refused_is_taken_to_use_and_last_what_answered_ones_did() -> None:
    calls = [Call(duration_s=5.0, response_bytes=990)]
    calls += [Call(at_s=1.0 + number / 10, duration_s=0.0001) for number in range(10)]
    one_in_flight = policy(limit=Limit("tier/gold", in_flight=1))
    more = planned(one_in_flight, policy(limit=Limit("tier/gold", in_flight=3)), calls)
    # The first one goes on, and each of the two that find a place has it as long as the first had its own.
    assert (more.new_admissions, more.traffic.assumed if more.traffic else 0) == (2, 2)
    metered = policy(quotas=(Quota("hour", "bytes", 3500, "calendar-hour"),))
    used = planned(one_in_flight, metered, calls)
    assert used.quotas[0].used == 4000
    assert (used.new_admissions, used.traffic.assumed if used.traffic else 0) == (3, 3)


def test_a_refused_request_before_any_answer_has_no_usual_cost() -> None:
    calls = [Call(at_s=float(number)) for number in range(3)]
    none = policy(quotas=(replace(HOUR, limit=0),))
    plan = planned(none, policy(quotas=(HOUR,)), calls)
    assert plan.traffic is not None
    assert (plan.traffic.assumed, plan.traffic.unknown) == (0, 3)
    assert any("before any other of their version" in line for line in describe(plan))


def test_what_no_request_concerns_is_listed() -> None:
    before = policy()
    unused = SharedLimit(Limit("shared/unused", 1.0, 1), models=("secret",))
    others = replace(before.tenants["ads"], name="others", limit=Limit("tenant/others", 1.0, 1), keys=())
    after = replace(
        with_rate(100.0, 100),
        shared=(unused,),
        tenants={**before.tenants, "others": others},
    )
    after = replace(after, tiers={**after.tiers, "free": Tier("free", Limit("tier/free", in_flight=1))})
    plan = planned(before, after, EACH_SECOND)
    assert plan.unused_limits == ("shared/unused", "tenant/others", "tier/free")
    assert plan.unused_models == ("secret",)
    assert plan.unused_tenants == ("others",)


def test_what_a_replay_cannot_know_is_said() -> None:
    assert planned(policy(), policy(), EACH_SECOND).not_modelled


def test_without_traffic_only_the_files_are_compared() -> None:
    plan = plan_without_traffic(policy(), with_rate(1.0, 1))
    assert plan.changes
    assert (plan.traffic, plan.new_refusal_share) == (None, 0.0)


def test_no_traffic_at_all_is_no_mistake() -> None:
    replay = Replay(policy(), policy())
    replay.run(ordered([]), lambda _: None)
    plan = plan_of(replay, Read(3, 1, 0, 50, {"key_missing": 2}))
    assert plan.traffic is not None
    assert (plan.traffic.requests, plan.traffic.lost, plan.traffic.skipped, plan.traffic.unreadable) == (0, 3, 1, 1.0)
    assert plan.new_refusal_share == 0.0
    assert doubt(plan).startswith("no request was replayed")


def test_traffic_shows_something_while_most_of_it_can_be_read() -> None:
    replay = Replay(policy(), policy())
    replay.run(ordered([recorded(policy(), EACH_SECOND)[0]]), lambda _: None)
    assert doubt(plan_of(replay, Read(read_bytes=100, skipped=9, skipped_bytes=100))) == ""
    assert doubt(plan_of(replay, Read(read_bytes=100, skipped=1, skipped_bytes=101))).startswith("most of the")
    assert doubt(plan_without_traffic(policy(), policy()))


CANARY = Canary("first", "2", (CanaryStep(0.1), CanaryStep(0.5)), Judge("1"), sticky_by=("header:x-user-id", "tenant"))
MANY = [Call(at_s=float(number)) for number in range(1000)]
TOLD = Stage("digits", "first", "2", 3, 1, 0.5)


def with_route(**parts: object) -> Snapshot:
    snapshot = policy()
    return replace(snapshot, routes={**snapshot.routes, "digits": replace(snapshot.routes["digits"], **parts)})


def test_a_new_canary_gets_its_first_step_of_the_traffic() -> None:
    plan = planned(policy(), with_route(canary=CANARY), MANY)
    assert plan.canaries == (CanaryTaken("digits", "first", "2", None, 0.1, is_known=False),)
    assert 70 < plan.moved < 130
    assert [(move.before, move.after) for move in plan.tenants[0].moved] == [("1", "2")]
    assert "  first of digits, version 2: begins at its first step, 10%" in describe(plan)


def test_the_same_canary_moves_nobody_and_more_of_it_moves_the_rest() -> None:
    before = with_route(canary=CANARY)
    same = planned(before, before, MANY, told={"digits": TOLD})
    assert (same.moved, same.canaries) == (0, (CanaryTaken("digits", "first", "2", 0.5, 0.5, is_known=True),))
    gone = planned(before, with_route(stable="2"), MANY, told={"digits": TOLD})
    assert 430 < gone.moved < 570
    assert gone.canaries == (CanaryTaken("digits", "first", "2", 0.5, None, is_known=True),)
    assert "  first of digits, version 2: 50%; after the change gone" in describe(gone)


def test_where_nobody_says_how_far_a_canary_is_the_plan_says_so() -> None:
    before = with_route(canary=CANARY)
    plan = planned(before, before, EACH_SECOND)
    (line,) = [line for line in describe(plan) if "first of digits" in line]
    assert line == (
        "  first of digits, version 2: 10%, its first step, since no running mesh said where it stands; "
        "after the change 10%"
    )


def test_another_canary_of_the_model_begins_anew() -> None:
    after = with_route(canary=replace(CANARY, id="second"))
    plan = planned(with_route(canary=CANARY), after, EACH_SECOND, told={"digits": TOLD})
    assert [(one.canary, one.before, one.after, one.is_known) for one in plan.canaries] == [
        ("first", 0.5, None, True),
        ("second", None, 0.1, False),
    ]


def test_a_rule_of_a_tenant_moves_its_requests_and_one_of_a_header_none_that_is_recorded() -> None:
    ads = ChooseRule("ads", When(tenants=("ads",)), "2")
    assert planned(policy(), with_route(choose=(ads,)), EACH_SECOND).moved == 60
    by_header = ChooseRule("try", When(headers=(("x-try", "yes"),)), "2")
    plan = planned(policy(), with_route(choose=(by_header,)), EACH_SECOND)
    assert plan.moved == 0
    assert any("headers, which are not recorded" in line for line in describe(plan))
