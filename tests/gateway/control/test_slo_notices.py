"""Notices are labelled as the Prometheus rules label their alerts, and lead to the page that says what to do."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.control.slo_blame import Blame
from gateway.control.slo_engine import SloEngine
from gateway.control.slo_kept import AlertKey, Notice
from gateway.control.slo_notices import blamed, labels_of
from policies.snapshot.mesh import DEFAULT_LISTEN, Alerting, Listen, Mesh
from telemetry.slo.alerts import LIKELY_NAME, Tier
from tests.gateway.control.objectives import AVAILABILITY, DAY_S, SNAPSHOT, START_S, engine, events, requests, tally

FORETELLING = replace(AVAILABILITY, likely_within_s=DAY_S, tells_exhausted=True)


def broken(runbooks: str = "", dashboards: str = "", listen: tuple[Listen, ...] = DEFAULT_LISTEN) -> SloEngine:
    mesh = replace(SNAPSHOT.mesh, listen=listen, alerts=Alerting(runbooks=runbooks, dashboards=dashboards))
    slos = engine(replace(SNAPSHOT, mesh=mesh, objectives={**SNAPSHOT.objectives, FORETELLING.name: FORETELLING}))
    slos.take(1, tally(START_S, events(99_000, 1000)), START_S)
    slos.judge_alerts(START_S + 10)
    return slos


def by_tier(notices: list[Notice]) -> dict[tuple[str, str], Notice]:
    return {(one.labels["severity"], one.labels["tier"]): one for one in notices}


def test_every_alert_says_what_it_is_of_and_whose() -> None:
    notices = by_tier(broken().take_news())
    same = {"job": "penstock", "mesh": "demo", "model": "digits", "owner": "vision", "slo": "digits-availability"}
    ticket = same | {"severity": "ticket"}
    assert notices["ticket", "fast"].labels == ticket | {
        "alertname": "PenstockBudgetBurns",
        "alert": "ticket 1d",
        "tier": "fast",
    }
    likely = AlertKey("digits-availability", "digits", "ticket", LIKELY_NAME)
    assert labels_of("demo", likely, Tier.LIKELY, "vision") == ticket | {
        "alertname": "PenstockBreachLikely",
        "tier": "likely",
    }
    assert notices["ticket", "exhausted"].labels == ticket | {
        "alertname": "PenstockBudgetExhausted",
        "tier": "exhausted",
    }


@pytest.mark.parametrize(
    ("base", "begins"), [("", "docs/runbooks"), ("https://wiki.example/r", "https://wiki.example/r")]
)
def test_every_alert_leads_to_its_page(base: str, begins: str) -> None:
    notices = by_tier(broken(base).take_news())
    assert {tier: notice.annotations["runbook_url"] for tier, notice in notices.items()} == {
        ("ticket", "fast"): f"{begins}/slo-ticket-fast.md",
        ("ticket", "exhausted"): f"{begins}/budget-exhausted.md",
    }


def test_what_is_said_is_what_the_line_says() -> None:
    told = by_tier(broken().take_news())["ticket", "fast"].annotations
    assert told["summary"] == "digits: digits-availability, ticket 1d"
    assert told["description"] == (
        "1d burns 10x, 2h burns 10x, limit 3x; the budget is spent 10 times over; "
        "version 1 has 1000 of 1000 bad events in 5m"
    )
    assert told["burn"] == "1d burns 10x, 2h burns 10x, limit 3x"
    assert told["worst"] == "version 1 has 1000 of 1000 bad events in 5m"
    assert (told["objective"], told["windows"]) == ("99.9% good in 30d", "1d and 2h")
    assert told["budget_left"] == "the budget is spent 10 times over"


def test_what_fires_leads_to_its_page_to_what_failed_and_to_one_request_that_did() -> None:
    slos = broken()
    told = by_tier(slos.take_news())["ticket", "fast"].annotations
    pages = "http://127.0.0.1:8090"
    assert told["hub_url"] == f"{pages}/slos/digits-availability?model=digits"
    assert told["traces_url"] == f"{pages}/traces?model=digits&status=error"
    assert "trace_url" not in told
    slos.take(1, tally(START_S + 20, requests(3, status=503, trace="abc")), START_S + 20)
    now = by_tier(slos.firing_notices(START_S + 40))["ticket", "fast"].annotations
    assert now["trace_url"] == f"{pages}/traces/abc"


@pytest.mark.parametrize(
    ("has_failed", "asks"), [(True, "status=error"), (False, "min_ms=250")], ids=["failed", "slow"]
)
def test_an_alert_on_time_leads_to_what_failed_when_failures_are_to_blame(has_failed: bool, asks: str) -> None:
    slow = "http://127.0.0.1:8090/traces?model=digits&min_ms=250"
    key = AlertKey("digits-latency", "digits", "page", "fast")
    before = Notice(key, {}, {"description": "", "traces_url": slow}, 0.0)
    told = blamed(before, Mesh("m"), Blame(300.0, "3", 1, 1, "ab", has_failed))
    assert told.annotations["traces_url"] == f"http://127.0.0.1:8090/traces?model=digits&{asks}"


def test_links_lead_where_policy_says_and_nowhere_without_pages() -> None:
    elsewhere = by_tier(broken(dashboards="https://mesh.example").take_news())["ticket", "fast"].annotations
    assert elsewhere["hub_url"] == "https://mesh.example/slos/digits-availability?model=digits"
    nowhere = by_tier(broken(listen=()).take_news())["ticket", "fast"].annotations
    assert not {"hub_url", "traces_url", "trace_url"} & nowhere.keys()


def test_what_fires_is_told_with_what_there_is_to_say_now() -> None:
    slos = broken()
    before = by_tier(slos.take_news())["ticket", "fast"]
    slos.take(1, tally(START_S + 20, events(0, 1000)), START_S + 20)
    now = by_tier(slos.firing_notices(START_S + 40))["ticket", "fast"]
    assert (now.labels, now.began_s) == (before.labels, before.began_s)
    assert "burns 19.8x" in now.annotations["description"]


def test_an_end_has_the_labels_of_its_beginning_though_policy_forgot_the_alert() -> None:
    slos = broken()
    began = by_tier(slos.take_news())["ticket", "fast"]
    slos.follow(replace(SNAPSHOT, objectives={}, routes={}), START_S + 20)
    slos.judge_alerts(START_S + 30)
    ended = by_tier(slos.take_news())["ticket", "fast"]
    assert (ended.labels, ended.began_s, ended.ended_s) == (began.labels, START_S + 10, START_S + 30)
