"""The past: a record and the policy of its time give the decision of that time again."""

from __future__ import annotations

import pytest
from hypothesis import given
from msgspec.structs import replace

from gateway.dataplane.usage import Usage
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.stage import Stage
from gateway.decisions.gathering import Gathering
from gateway.decisions.records import Record, record_at
from gateway.errors import status_of
from gateway.trial.past import explained_then, past_report
from gateway.trial.stages import stage_at
from gateway.trial.stated_counters import StatedCounters, standing_of
from gateway.trial.tried_policy import tried_tables
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit
from policies.snapshot.release import Canary, CanaryStep, ChooseRule, Judge, When
from tests.gateway.policy import policy
from tests.gateway.trial.test_explanation import ACCOUNT, FACTS, NOW_S, TABLES, counters, facts, limited
from tests.gateway.trial.traffic_made import START_S, Call, recorded, request_id


def record_of(request_facts: RequestFacts, state: StatedCounters) -> Record | None:
    """What a worker keeps of a request; None when its caller is not known."""
    decision = decide(TABLES, request_facts, state, NOW_S)
    kept = Gathering()
    kept.add(request_facts, decision, request_id(0), 0.0, 200, "", Usage())
    taken = kept.take(START_S)
    assert taken is not None
    return record_at(taken[0], 0) if taken[0].left else None


@given(facts, counters)
def test_a_record_and_the_policy_of_its_time_give_its_decision_again(
    request_facts: RequestFacts, state: StatedCounters
) -> None:
    record = record_of(request_facts, state)
    if record is None:
        return
    then = decide(TABLES, request_facts, state, NOW_S)
    again = explained_then(TABLES, record).decision
    assert (again.version, again.arm, again.model, again.api) == (then.version, then.arm, then.model, then.api)
    assert (again.refusal is None) == (then.refusal is None)
    assert set(again.observed) == set(then.observed)
    if again.refusal is not None and then.refusal is not None:
        assert (again.refusal.reason, again.refusal.limits) == (then.refusal.reason, then.refusal.limits)


def test_a_report_says_what_was_kept_what_was_decided_and_what_would_be_now() -> None:
    snapshot = policy(limit=Limit("tier/gold", 1.0, 1))
    block, _ = recorded(snapshot, [Call(), Call(at_s=0.1, body_bytes=640)])
    now = replace(policy(limit=Limit("tier/gold", 100.0, 100)), generation=7)
    report = past_report(request_id(1), record_at(block, 1), snapshot, now)
    assert report.recorded.refused_by == ["tier/gold"]
    assert report.recorded.left == {"tier/gold": 0}
    assert report.recorded.content_length == 640
    assert report.then is not None
    assert (report.then.generation, report.then.status, report.then.reason) == (1, 429, "rate_limited")
    assert (report.now.generation, report.now.status, report.now.version) == (7, 200, "1")


def test_a_refused_request_is_told_what_was_left_of_its_other_limits() -> None:
    state = StatedCounters({ACCOUNT: standing_of(100, 40)}, {"tenant/ads/tier/rate": round((NOW_S + 2.0) * 1e9)})
    record = record_of(FACTS, state)
    assert record is not None
    told = {one.about: one.says for one in explained_then(TABLES, record).steps}
    assert "rate_limited" in told["limit tier/gold"]
    assert told["limit tier/gold/in_flight"] == "5 in flight at most, 0 now; 5 left"
    assert told["quota day"].startswith("40 of 100 requests (calendar-day) used")


def test_a_request_that_a_quota_refused_is_told_how_much_of_it_was_used() -> None:
    record = record_of(FACTS, StatedCounters({ACCOUNT: standing_of(100, 100)}))
    assert record is not None
    told = {one.about: one.says for one in explained_then(TABLES, record).steps}
    assert told["limit tier/gold"] == "10/s, 20 at once; 20 left"
    assert told["quota day"].startswith("100 of 100 requests (calendar-day) used, 100.0%")
    assert told["quota day"].endswith("quota_exhausted: the quota day (calendar-day) is used up to 100.0%")


def test_without_the_policy_of_its_time_the_rest_is_said() -> None:
    block, _ = recorded(policy(), [Call()])
    report = past_report(request_id(0), record_at(block, 0), None, limited())
    assert report.then is None
    assert report.now.version == "1"


def test_a_request_of_the_key_that_is_in_no_file_is_explained_too() -> None:
    tables = tried_tables(policy())
    block, _ = recorded(policy(), [Call()])
    record = record_at(block, 0)
    local = replace(record, asked=replace(record.asked, credential_id="local"))
    assert explained_then(tables, local).decision.refusal is None


@pytest.mark.parametrize(
    ("reason", "about"),
    [
        ("pods_busy", "queue"),
        ("shed", "queue"),
        ("waited_too_long", "queue"),
        ("would_be_late", "queue"),
        ("quota_demoted", "queue"),
        ("no_pod_ready", "pods"),
        ("handler_failed", "answer"),
    ],
)
def test_what_was_refused_after_the_decision_is_explained_by_what_its_caller_was_told(reason: str, about: str) -> None:
    snapshot = policy()
    block, _ = recorded(snapshot, [Call(reason=reason)])
    report = past_report(request_id(0), record_at(block, 0), snapshot, snapshot)
    assert report.then is not None
    assert (report.then.status, report.then.reason, report.then.version) == (status_of(reason), reason, "1")
    last = report.then.steps[-1]
    assert (last.about, last.verdict) == (about, "refused")
    assert last.says.startswith(f"{reason}: ")
    assert [step.about for step in report.then.steps].count(about) == 1


def test_of_a_caller_that_left_the_decision_alone_is_explained() -> None:
    snapshot = policy()
    block, _ = recorded(snapshot, [Call()])
    gone = record_at(block, 0)
    gone = replace(gone, ended=replace(gone.ended, status=499, reason="client_gone"))
    report = past_report(request_id(0), gone, snapshot, snapshot)
    assert report.then is not None
    assert (report.then.status, report.recorded.reason) == (200, "client_gone")


CANARY = Canary("first", "2", (CanaryStep(0.1), CanaryStep(1.0)), Judge("1"), sticky_by=("header:x-user-id",))
RULE = ChooseRule("try", When(headers=(("x-try", "yes"),)), "2")


def released(**parts: object) -> Snapshot:
    snapshot = policy()
    return replace(snapshot, routes={**snapshot.routes, "digits": replace(snapshot.routes["digits"], **parts)})


def record_at_stage(snapshot: Snapshot, share: float, **facts_: object) -> Record:
    """What is kept of a request of a user, while the canary has a share."""
    tables = tried_tables(snapshot)
    tables.stages = stage_at(snapshot.routes["digits"], share)
    request_facts = replace(Call().facts(), **facts_)
    kept = Gathering()
    decision = decide(tables, request_facts, StatedCounters({}), NOW_S)
    kept.add(request_facts, decision, request_id(0), 0.0, 200, "", Usage())
    taken = kept.take(START_S)
    assert taken is not None
    return record_at(taken[0], 0)


def test_a_past_request_of_a_canary_is_explained_as_one() -> None:
    snapshot = released(canary=CANARY)
    inside, outside = (record_at_stage(snapshot, share) for share in (1.0, 0.0))
    now = {"digits": Stage("digits", "first", "2", 5, 1, 0.5)}
    report = past_report(request_id(0), inside, snapshot, snapshot, now)
    assert report.then is not None
    assert (report.recorded.arm, report.then.version, report.now.version) == ("canary", "2", "2")
    (step,) = [step for step in report.then.steps if step.about == "version"]
    assert step.says == "2: in the canary first; by what key it was drawn for the canary first is not recorded"
    report = past_report(request_id(0), outside, snapshot, snapshot, now)
    assert report.then is not None
    assert (report.then.version, report.now.version) == ("1", "1")


def test_a_canary_that_is_over_now_decides_otherwise_now() -> None:
    snapshot = released(canary=CANARY)
    inside, outside = (record_at_stage(snapshot, share) for share in (1.0, 0.0))
    back = {"digits": Stage("digits", "first", "2", 9, 1, 0.0, is_over=True)}
    promoted = {"digits": Stage("digits", "first", "2", 9, 1, 1.0, is_over=True)}
    assert past_report(request_id(0), inside, snapshot, snapshot, back).now.version == "1"
    assert past_report(request_id(0), outside, snapshot, snapshot, promoted).now.version == "2"


def test_a_past_request_that_a_rule_sent_by_a_header_is_explained_by_that_rule() -> None:
    snapshot = released(choose=(RULE,))
    record = record_at_stage(snapshot, 0.0, headers=(("x-try", "yes"),))
    report = past_report(request_id(0), record, snapshot, snapshot)
    assert report.then is not None
    assert (report.recorded.arm, report.then.version, report.now.version) == ("pinned", "2", "2")
    assert "2: the rule try sends it there, which is for header x-try: yes" in [s.says for s in report.then.steps]
    usual = past_report(request_id(0), record_at_stage(snapshot, 0.0), snapshot, snapshot)
    assert usual.then is not None
    assert usual.then.version == "1"
