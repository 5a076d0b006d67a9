"""A real Prometheus takes every expression of ours, and finds in the counters of an hour what the engine finds."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.grafana.provisioning import grafana_files
from deploy.prometheus.documents import written
from deploy.prometheus.rule import Alert, Group, Places, Record, rule_document
from deploy.prometheus.scenarios import Scenario, spans, totals
from deploy.prometheus.slo_rules import slo_group
from tests.conformance.prometheus.server import Prometheus, running
from tests.deploy.grafana.lint import asked
from tests.deploy.prometheus.table import S1, S5, S7, S8, STEP_S, objective, with_history

pytestmark = [pytest.mark.system, pytest.mark.needs_program("prometheus")]

ROOT = Path(__file__).parents[3]
NAME = "digits-availability"
# 2026-01-01; blocks begin at even hours.
START_S = 1_767_225_600
HISTORY = 120
# promtool tries all ten, in a simulated time; these go through a server and its files. All of them in `make soak`.
SCENARIOS = (S1, S5, S7, S8) if os.environ.get("PENSTOCK_RULES") == "full" else (S1,)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One without data."""
    with running(tmp_path_factory.mktemp("prometheus")) as one:
        yield one


def dashboard_expressions() -> Iterator[str]:
    """Every expression of our dashboards and their annotations, with values where Grafana puts them."""
    values = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*", "$model": "digits"}
    for name, text in grafana_files().items():
        if name.endswith(".json"):
            dashboard = json.loads(text)
            found = [expr for _, expr in asked(dashboard)]
            for expr in found + [one["expr"] for one in dashboard["annotations"]["list"]]:
                yield re.sub("|".join(map(re.escape, values)), lambda match: values[match.group()], expr)


def rule_expressions() -> Iterator[str]:
    """Every expression of the demo's rules."""
    rules = yaml.safe_load((ROOT / "deploy" / "prometheus" / "penstock-rules.yaml").read_text())
    return (rule["expr"] for group in rules["groups"] for rule in group["rules"])


def test_it_takes_every_expression(server: Prometheus) -> None:
    expressions = {*dashboard_expressions(), *rule_expressions()}
    assert len(expressions) > 150
    for expr in expressions:
        server.ask("/api/v1/format_query", query=expr)


def test_it_evaluates_every_expression_of_a_dashboard(server: Prometheus) -> None:
    """Beyond its grammar: types of arguments, and what may be joined."""
    for expr in set(dashboard_expressions()):
        server.ask("/api/v1/query", query=expr)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name[:2])
def test_it_finds_the_minutes_that_the_engine_finds(scenario: Scenario, tmp_path: Path) -> None:
    """Counters as they were scraped, recorded by our rules; then each alert asked for minute by minute."""
    own, scenario = objective(NAME), with_history(scenario, HISTORY)
    (data := tmp_path / "data").mkdir()
    _backfill(tmp_path, data, scenario)
    group = slo_group(own, STEP_S, Places())
    end_s = START_S + scenario.steps * STEP_S
    # Backfilling knows no rules upon rules, so each kind is recorded upon the ones before.
    for records in _in_order(group):
        _record(tmp_path, Group(group.name, group.interval, tuple(records)), end_s)
    with running(tmp_path) as server:
        found = {
            rule.labels["alert"]: _minutes(server, rule.expr, end_s)
            for rule in group.rules
            if isinstance(rule, Alert) and "alert" in rule.labels
        }
    expected = spans(own, scenario, STEP_S)
    assert found == {
        name: [at for span in own_spans for at in range(span.begins, span.ends or scenario.steps - HISTORY + 1)]
        for name, own_spans in expected.items()
    }


def _backfill(folder: Path, data: Path, scenario: Scenario) -> None:
    lines = ["# TYPE penstock_slo_events counter"]
    labels = f'job="penstock",instance="a",slo="{NAME}",model="digits",version="1"'
    for minute, counted in enumerate(totals(scenario)):
        for outcome, count in (("good", counted.good), ("bad", counted.bad)):
            at_s = START_S + minute * STEP_S
            lines.append(f'penstock_slo_events_total{{{labels},outcome="{outcome}"}} {count} {at_s}')
    samples = folder / "samples.txt"
    samples.write_text("\n".join([*lines, "# EOF", ""]))
    _promtool("tsdb", "create-blocks-from", "openmetrics", str(samples), str(data))


def _in_order(group: Group) -> Iterator[list[Record]]:
    records = [rule for rule in group.rules if isinstance(rule, Record)]
    for ending in (":delta", ":sum", "burn_rate:ratio"):
        yield [rule for rule in records if rule.record.endswith(ending)]


def _record(folder: Path, group: Group, end_s: int) -> None:
    file = folder / "rules.yaml"
    file.write_text(written(rule_document([group])))
    # A group's moment within the last minute comes after its beginning.
    with running(folder) as server:
        _promtool(
            *(
                "tsdb",
                "create-blocks-from",
                "rules",
                f"--start={START_S}",
                f"--end={end_s + STEP_S}",
                f"--url={server.url}",
            ),
            *(f"--output-dir={folder / 'data'}", "--eval-interval=1m", str(file)),
        )


def _promtool(*arguments: str) -> None:
    told = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 0, told.stdout + told.stderr


def _minutes(server: Prometheus, expr: str, end_s: int) -> list[int]:
    """Return the minutes after the history at which an alert's expression has a result.

    A group has its own moment in each minute at which it is evaluated; so alerts are asked for then.
    """
    any_of_ours = f'{{__name__="slo_model:penstock_slo_bad:sum", slo="{NAME}", window="5m"}}'
    recorded = server.ask("/api/v1/query", query=f"{any_of_ours}[10m]", time=str(end_s))["result"][0]["values"]
    late_s = (float(recorded[0][0]) - START_S) % STEP_S
    first, last = str(START_S + late_s), str(end_s + late_s)
    answer = server.ask("/api/v1/query_range", query=expr, start=first, end=last, step=str(STEP_S))
    at_s = {float(point[0]) for series in answer["result"] for point in series["values"]}
    return sorted(round((moment_s - late_s - START_S) / STEP_S) - HISTORY for moment_s in at_s)
