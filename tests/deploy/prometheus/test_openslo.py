"""Objectives as OpenSLO: one policy for each pair of windows, every reference to something that is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from deploy.prometheus.openslo import SHORT_WINDOW, openslo
from policies.load import load_directory

DEMO = Path(__file__).parents[3] / "policies" / "demo"
DOCUMENTS: list[dict[str, Any]] = list(yaml.safe_load_all(openslo(load_directory(DEMO))))


def of(kind: str) -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one for one in DOCUMENTS if one["kind"] == kind}


def test_every_pair_of_windows_is_a_policy_of_its_own() -> None:
    policies, conditions = of("AlertPolicy"), of("AlertCondition")
    assert len(policies) == len(conditions) == 4 * 4
    page = conditions["digits-availability-page-fast"]
    assert page["spec"]["condition"] == {
        "kind": "burnrate",
        "op": "gt",
        "threshold": 14.4,
        "lookbackWindow": "1h",
        "alertAfter": "0m",
    }
    assert page["metadata"]["annotations"] == {SHORT_WINDOW: "5m"}


def test_every_reference_leads_to_a_document() -> None:
    assert len(of("SLO")) == 4
    for slo in of("SLO").values():
        assert slo["spec"]["service"] in of("Service")
        assert set(slo["spec"]["alertPolicies"]) <= set(of("AlertPolicy"))
        for counted in ("bad", "total"):
            source = slo["spec"]["indicator"]["spec"]["ratioMetric"][counted]["metricSource"]
            assert source["metricSourceRef"] in of("DataSource")
    for policy in of("AlertPolicy").values():
        assert [one["conditionRef"] in of("AlertCondition") for one in policy["spec"]["conditions"]] == [True]


def test_every_name_is_one_that_openslo_takes() -> None:
    names = [one["metadata"]["name"] for one in DOCUMENTS]
    assert all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name) for name in names)
    assert {one["apiVersion"] for one in DOCUMENTS} == {"openslo/v1"}


def test_targets_are_shares_and_windows_roll() -> None:
    slo = of("SLO")["digits-digits-latency"]["spec"]
    assert slo["objectives"] == [{"displayName": "digits-latency", "target": 0.99}]
    assert slo["timeWindow"] == [{"duration": "30d", "isRolling": True}]
    assert slo["description"].startswith(
        "A request is good when its status is below 500 and it was answered within 250ms."
    )
