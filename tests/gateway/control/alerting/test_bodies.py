"""What receivers are told, in the forms that they know."""

from __future__ import annotations

import json

from msgspec.structs import replace

from gateway.control.alerting.alertmanager import alerts_body
from gateway.control.alerting.receivers import Receiver, receivers_of
from gateway.control.alerting.webhook import message_id, webhook_body
from policies.snapshot.mesh import Alerting, Webhook
from tests.gateway.control.alerting.notices import START_S, notice

FIRES, OVER = notice(), notice(ended_s=START_S + 600)


def test_an_alertmanager_is_told_when_an_alert_ends_by_itself_or_when_it_ended() -> None:
    fires, over = json.loads(alerts_body([FIRES, OVER], START_S + 60))
    assert fires == {
        "labels": FIRES.labels,
        "annotations": FIRES.annotations,
        "startsAt": "2027-01-15T08:00:00.000Z",
        "endsAt": "2027-01-15T08:05:00.000Z",
        "generatorURL": "",
    }
    assert over["endsAt"] == "2027-01-15T08:10:00.000Z"


def test_an_alert_comes_from_the_page_of_its_objective() -> None:
    shown = replace(FIRES, annotations=FIRES.annotations | {"hub_url": "https://mesh.example/slos/a?model=m"})
    (to_alertmanager,) = json.loads(alerts_body([shown], START_S))
    (to_webhook,) = json.loads(webhook_body(shown, "webhook/hooks.example"))["alerts"]
    assert to_alertmanager["generatorURL"] == to_webhook["generatorURL"] == "https://mesh.example/slos/a?model=m"


def test_a_webhook_is_told_as_alertmanager_tells_its_own() -> None:
    told = json.loads(webhook_body(FIRES, "webhook/hooks.example"))
    assert (told["version"], told["status"], told["receiver"]) == ("4", "firing", "webhook/hooks.example")
    (alert,) = told["alerts"]
    assert (alert["labels"], alert["annotations"]) == (FIRES.labels, FIRES.annotations)
    assert (alert["startsAt"], alert["endsAt"]) == ("2027-01-15T08:00:00.000Z", "0001-01-01T00:00:00Z")
    assert told["text"] == (
        "[firing] page: digits: digits-availability, page fast - 1h burns 20x, 5m burns 20x, limit 14.4x - "
        "docs/runbooks/slo-page-fast.md"
    )


def test_an_end_has_the_same_name_as_its_beginning() -> None:
    fires, over = (json.loads(webhook_body(one, "a")) for one in (FIRES, OVER))
    assert over["status"] == "resolved"
    assert over["alerts"][0]["endsAt"] == "2027-01-15T08:10:00.000Z"
    assert over["alerts"][0]["fingerprint"] == fires["alerts"][0]["fingerprint"]
    assert len(over["alerts"][0]["fingerprint"]) == 16


def test_an_end_has_that_name_though_the_objective_has_another_owner_by_then_or_is_gone() -> None:
    (fires,) = json.loads(webhook_body(FIRES, "a"))["alerts"]
    for owner in ("another", ""):
        (over,) = json.loads(webhook_body(replace(OVER, labels=OVER.labels | {"owner": owner}), "a"))["alerts"]
        assert over["fingerprint"] == fires["fingerprint"]


def test_a_beginning_and_an_end_are_two_messages_and_each_is_one_however_often_it_is_told() -> None:
    began, ended = message_id(FIRES), message_id(OVER)
    assert began == message_id(notice()) != ended == message_id(notice(ended_s=START_S + 600))
    assert began != message_id(notice(began_s=START_S + 1))
    assert "." not in began + ended


def test_receivers_have_names_of_their_own_that_tell_no_secret() -> None:
    hooks = (
        Webhook("https://h.example/T0/secret"),
        Webhook("https://h.example/other"),
        Webhook("env:HOOK", "file:/a", "env:KEY"),
    )
    assert receivers_of(Alerting(hooks, "http://127.0.0.1:9093/am", alertmanager_authorization="env:AM")) == (
        Receiver("webhook/h.example", "https://h.example/T0/secret"),
        Receiver("webhook/h.example 2", "https://h.example/other"),
        Receiver("webhook/env:HOOK", "env:HOOK", "file:/a", signature="env:KEY"),
        Receiver(
            "alertmanager/127.0.0.1:9093", "http://127.0.0.1:9093/am/api/v2/alerts", "env:AM", is_alertmanager=True
        ),
    )
    assert receivers_of(Alerting()) == ()
