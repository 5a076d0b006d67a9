"""Metric names keep Prometheus' rules, and the page of metrics in the docs has each of them as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from telemetry.conventions import HUB_METRICS, MESH_METRICS, SIDECAR_METRICS, Metric

METRICS = (*MESH_METRICS, *SIDECAR_METRICS, *HUB_METRICS)
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


@pytest.mark.parametrize("metric", dict.fromkeys(METRICS), ids=lambda metric: metric.name)
def test_a_name_says_whose_it_is_its_unit_and_whether_it_only_grows(metric: Metric) -> None:
    assert metric.name.startswith("penstock_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    assert metric.name.removesuffix("_total").endswith(metric.unit)


def test_no_name_is_used_twice() -> None:
    names = [metric.name for metric in dict.fromkeys(METRICS)]
    assert len(names) == len(set(names))


def test_the_page_lists_every_metric_as_it_is_and_no_other() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(f"| `{m.name}` | {m.kind} | {', '.join(m.labels)} | {m.meaning} |" for m in METRICS)
