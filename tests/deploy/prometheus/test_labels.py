"""Alerts of the rules have the labels and the words of those that the mesh tells by itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from deploy.prometheus.rule import Alert as AlertRule
from deploy.prometheus.rule import Places
from deploy.prometheus.slo_rules import slo_group
from gateway.control.slo_blame import Blame
from gateway.control.slo_kept import AlertKey, Notice
from gateway.control.slo_notices import blamed, labels_of, notice
from policies.snapshot.mesh import Alerting, Mesh
from telemetry.slo.alerts import Alert, alerts_of
from telemetry.slo.evaluate import evaluate
from telemetry.slo.events import EventCount
from telemetry.slo.windows import Slots
from tests.deploy.prometheus.table import STEP_S, objective

OBJECTIVE = replace(objective("digits-availability"), likely_within_s=86_400.0, tells_exhausted=True)
MESH = Mesh("prod", alerts=Alerting(runbooks="https://wiki.example", dashboards="https://mesh.example"))
PLACES = Places("prod", "https://wiki.example", "https://mesh.example")
NOW_S = 1_800_000_000.0
ALERTS = alerts_of(OBJECTIVE)
RULES = [rule for rule in slo_group(OBJECTIVE, STEP_S, PLACES).rules if isinstance(rule, AlertRule)]

each = pytest.mark.parametrize(("alert", "rule"), [*zip(ALERTS, RULES, strict=True)], ids=[one.name for one in ALERTS])


def told(alert: Alert) -> Notice:
    slots = Slots()
    slots.add(NOW_S - 20, EventCount(good=100_000, bad=90), NOW_S)
    found = evaluate(OBJECTIVE, slots, NOW_S)
    verdict = found.verdicts[ALERTS.index(alert)]
    key = AlertKey(OBJECTIVE.name, "digits", alert.severity, alert.name)
    own = notice(MESH, OBJECTIVE, key, alert, verdict, found, NOW_S)
    return blamed(own, MESH, Blame(300.0, "2", 80, 90, "abc"))


@each
def test_labels_are_the_same(alert: Alert, rule: AlertRule) -> None:
    key = AlertKey(OBJECTIVE.name, "digits", alert.severity, alert.name)
    of_series = {"job": "penstock", "model": "digits"}
    assert {"alertname": rule.alert} | of_series | rule.labels == labels_of("prod", key, alert.tier, OBJECTIVE.owner)


@each
def test_annotations_have_the_same_names_and_links(alert: Alert, rule: AlertRule) -> None:
    own = told(alert).annotations
    # No rule knows a trace by its id.
    assert own.keys() - {"trace_url"} == rule.annotations.keys()
    for link in ("runbook_url", "hub_url", "traces_url", "objective", "windows"):
        filled = rule.annotations[link].replace("{{ $labels.model }}", "digits")
        assert filled.replace("{{ $labels.slo }}", OBJECTIVE.name) == own[link]
    assert own["trace_url"] == "https://mesh.example/traces/abc"
