"""The guide to Prometheus and Grafana names what there is: commands, series, alerts, dashboards."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from msgspec.structs import replace

from deploy.cli import main
from deploy.grafana.provisioning import DASHBOARDS
from deploy.prometheus.rule import Alert, Places, Record
from deploy.prometheus.rule_file import groups
from tests.deploy.prometheus.table import objective

PAGE = (Path(__file__).parents[3] / "docs" / "how-to" / "prometheus-and-grafana.md").read_text()
TOLD = replace(objective("any"), likely_within_s=86_400.0, tells_exhausted=True)
RULES = [rule for group in groups([TOLD], Places()) for rule in group.rules]


def test_every_command_runs_as_it_is_shown(tmp_path: Path) -> None:
    commands = re.findall(r"^penstock (slo export .*)$", PAGE, re.MULTILINE)
    assert len(commands) == 5
    demo = Path(__file__).parents[3] / "policies" / "demo"
    for place, command in enumerate(commands):
        arguments = shlex.split(command.replace("my-policies", str(demo)))
        arguments[arguments.index("--to") + 1] = str(tmp_path / str(place))
        assert main(arguments) == 0


def test_every_recorded_series_is_explained() -> None:
    # What guards need is recorded only where an objective has one.
    recorded = {rule.record for rule in RULES if isinstance(rule, Record)} | {"slo_model:penstock_slo_chance:ln"}
    assert set(re.findall(r"`(slo_model:[a-z_:]+)`", PAGE)) == recorded


def test_every_alert_is_explained_and_has_a_runbook() -> None:
    alerts = [rule for rule in RULES if isinstance(rule, Alert)]
    assert set(re.findall(r"`(Penstock[A-Za-z]+)`", PAGE)) == {alert.alert for alert in alerts}
    assert all(re.fullmatch(r"docs/runbooks/[a-z-]+\.md", alert.annotations["runbook_url"]) for alert in alerts)
    assert {alert.labels["severity"] for alert in alerts} == {"page", "ticket"}


def test_every_dashboard_is_named() -> None:
    assert {one.uid for one in DASHBOARDS} <= set(re.findall(r"`(penstock-[a-z-]+)`", PAGE))
