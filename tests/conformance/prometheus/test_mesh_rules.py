"""Alerts that no objective knows of, in Debian's promtool: each fires when it should, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.prometheus.documents import Data, written
from deploy.prometheus.promtool import unit_tests
from deploy.prometheus.rule import Places
from deploy.prometheus.rule_file import rules
from tests.conformance.prometheus.rule_check import judged

pytestmark = pytest.mark.needs_program("prometheus")

UP = ('up{job="penstock", instance="a"}', "1x60")
OF_POD = 'job="penstock-sidecars", instance="p", model="digits", version="1"'

CASES: dict[str, tuple[str, str, int]] = {
    "PenstockGatewayDown": ('up{job="penstock", instance="a"}', "1x10 0x20", 13),
    "PenstockWorkersRestart": ('penstock_worker_restarts_total{job="penstock", instance="a"}', "0x10 1+1x20", 16),
    "PenstockModelWithoutPod": ('penstock_pods{job="penstock", model="digits", state="ready"}', "1x10 0x20", 14),
    "PenstockPodDown": ('penstock_pods{job="penstock", model="text", version="1", state="failed"}', "0x10 1x20", 17),
    "PenstockPodRestarts": (f"penstock_inference_restarts_total{{{OF_POD}}}", "0x10 1+1x20", 17),
    "PenstockPolicyRefused": ('penstock_policy_refused{job="penstock", instance="a"}', "0x10 1x20", 17),
    "PenstockCanaryRolledBack": (
        'penstock_rollout_state{job="penstock", model="m", state="rolled back"}',
        "0x10 1x20",
        12,
    ),
    "PenstockQuotaLedger": ('penstock_requests_total{job="penstock", reason="ledger_unavailable"}', "0x10 1+1x20", 14),
    "PenstockTelemetryDown": ('up{job="penstock-sidecars", instance="p"}', "1x10 0x20", 17),
    "PenstockTelemetryDrops": ('penstock_telemetry_dropped_total{job="penstock", what="spans"}', "0x10 1+1x20", 18),
}
MORE = {
    "PenstockModelWithoutPod": [('penstock_pods{job="penstock", model="digits", state="restarting"}', "0x10 1x20")],
    "PenstockPodDown": [('penstock_pods{job="penstock", model="text", version="1", state="ready"}', "1x60")],
}


def firing(minute: int, names: list[str]) -> Data:
    return {
        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
        "eval_time": f"{minute}m",
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names],
    }


@pytest.mark.parametrize("name", CASES)
def test_an_alert_fires_for_what_it_is_named_after(name: str, tmp_path: Path) -> None:
    series, values, fires_at = CASES[name]
    given = [(series, values)] if series.startswith('up{job="penstock",') else [UP, (series, values)]
    given += MORE.get(name, [])
    test: Data = {
        "interval": "1m",
        "input_series": [{"series": one, "values": its} for one, its in given],
        "promql_expr_test": [firing(10, []), firing(fires_at, [name])],
    }
    assert judged(tmp_path, written(unit_tests([test], 60)), rules([], Places())) == ""


def test_a_gateway_that_was_never_there_is_told_too(tmp_path: Path) -> None:
    test: Data = {"interval": "1m", "input_series": [], "promql_expr_test": [firing(5, ["PenstockGatewayDown"])]}
    assert judged(tmp_path, written(unit_tests([test], 60)), rules([], Places())) == ""


def test_a_rollback_is_told_for_an_hour(tmp_path: Path) -> None:
    series = 'penstock_rollout_state{job="penstock", model="m", state="rolled back"}'
    test: Data = {
        "interval": "1m",
        "input_series": [{"series": UP[0], "values": "1x100"}, {"series": series, "values": "0x10 1x90"}],
        "promql_expr_test": [firing(70, ["PenstockCanaryRolledBack"]), firing(72, [])],
    }
    assert judged(tmp_path, written(unit_tests([test], 60)), rules([], Places())) == ""
