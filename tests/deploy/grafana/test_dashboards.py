"""Our dashboards: the linter's checks, names that are really exposed, and a place for every panel."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml

from deploy.grafana.provisioning import grafana_files
from deploy.prometheus.rule import Places, Record
from deploy.prometheus.rule_file import groups
from telemetry.conventions import MESH_METRICS, SIDECAR_METRICS
from telemetry.machine_conventions import MACHINE_METRICS
from tests.deploy.grafana.lint import LINTS, Lint, asked, panels
from tests.deploy.prometheus.table import objective

DASHBOARDS: dict[str, dict[str, Any]] = {
    name: json.loads(text) for name, text in grafana_files().items() if name.endswith(".json")
}
EXPOSED = {metric.name for metric in (*MESH_METRICS, *SIDECAR_METRICS, *MACHINE_METRICS)}
RECORDED = {
    rule.record for group in groups([objective("any")], Places()) for rule in group.rules if isinstance(rule, Record)
}

each = pytest.mark.parametrize("name", sorted(DASHBOARDS))


@each
@pytest.mark.parametrize("lint", LINTS, ids=lambda lint: lint.__name__)
def test_the_linters_check_finds_nothing(lint: Lint, name: str) -> None:
    assert lint(DASHBOARDS[name]) == []


@pytest.mark.parametrize("lint", LINTS, ids=lambda lint: lint.__name__)
def test_the_linters_check_finds_what_is_broken(lint: Lint) -> None:
    assert lint(broken(DASHBOARDS["penstock-on-call.json"])) != []


def broken(dashboard: dict[str, Any]) -> dict[str, Any]:
    """Return a dashboard with every mistake that the checks know."""
    wrong = deepcopy(dashboard)
    wrong["editable"] = True
    for variable in wrong["templating"]["list"]:
        variable |= {"label": "", "refresh": 0, "definition": "count(up)"}
    panel = next(panels(wrong))
    panel |= {"title": "", "datasource": {"uid": "mine"}}
    panel["fieldConfig"]["defaults"]["unit"] = "parsecs"
    panel["targets"][0]["expr"] = 'rate(penstock_requests_total{a="b"}[5m]) + (penstock_requests_total{a="b"}'
    next(one for one in panels(wrong) if one is not panel)["targets"] = []
    return wrong


@each
def test_every_metric_is_one_that_we_expose_or_record(name: str) -> None:
    used = {
        re.sub(r"_(bucket|sum|count)$", "", metric) if metric not in RECORDED else metric
        for _, expr in asked(DASHBOARDS[name])
        for metric in re.findall(r"([a-zA-Z_:]+)\{", expr)
    }
    assert used - EXPOSED - RECORDED - {"ALERTS"} == set()


@each
def test_no_panel_lies_upon_another(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[name]["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARDS[name]["panels"]]
    assert len(ids) == len(set(ids))


@each
def test_a_dashboard_can_be_linked_to_and_provisioned(name: str) -> None:
    dashboard = DASHBOARDS[name]
    assert f"{dashboard['uid']}.json" == name
    assert len(dashboard["uid"]) <= 40
    assert dashboard["id"] is None
    assert "__inputs" not in dashboard
    assert dashboard["schemaVersion"] == 39


def test_the_provider_leaves_dashboards_as_they_are_written() -> None:
    provider = yaml.safe_load(grafana_files()["provisioning.yaml"])
    assert provider["apiVersion"] == 1
    assert [one["allowUiUpdates"] for one in provider["providers"]] == [False]
