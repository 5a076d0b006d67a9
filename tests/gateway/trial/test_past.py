"""The past: a record and the policy of its time give the decision of that time again."""

from __future__ import annotations

from hypothesis import given
from msgspec.structs import replace

from gateway.dataplane.usage import Usage
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decisions.gathering import Gathering
from gateway.decisions.records import Record, record_at
from gateway.trial.past import explained_then, past_report
from gateway.trial.stated_counters import StatedCounters
from gateway.trial.tried_policy import tried_tables
from policies.snapshot import Limit
from tests.gateway.policy import policy
from tests.gateway.trial.test_explanation import NOW_S, TABLES, counters, facts, limited
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
