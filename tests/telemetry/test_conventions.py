"""Metric names keep Prometheus' rules."""

from __future__ import annotations

import pytest

from telemetry.conventions import HUB_METRICS, MESH_METRICS, SIDECAR_METRICS, Metric
from telemetry.machine_conventions import MACHINE_METRICS

METRICS = (*MESH_METRICS, *SIDECAR_METRICS, *MACHINE_METRICS, *HUB_METRICS)


@pytest.mark.parametrize("metric", dict.fromkeys(METRICS), ids=lambda metric: metric.name)
def test_a_name_says_whose_it_is_its_unit_and_whether_it_only_grows(metric: Metric) -> None:
    assert metric.name.startswith("penstock_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.removesuffix("_total").endswith(metric.unit)


def test_no_name_is_used_twice() -> None:
    names = [metric.name for metric in dict.fromkeys(METRICS)]
    assert len(names) == len(set(names))
