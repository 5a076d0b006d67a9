from __future__ import annotations

import pytest
from ts.metrics.dimension import Dimension
from ts.metrics.metric_type_enum import MetricTypes
from ts.metrics.metrics_store import MAX_METRICS, MAX_SERIES_PER_METRIC, MetricsStore


def test_counters_add_up_and_gauges_are_replaced() -> None:
    store = MetricsStore()
    for value in (1, 2):
        store.add_counter("rows", value, dimensions=[Dimension("kind", "a")])
        store.add_time("work", value)
    assert store.get_metric("rows").values == {("a",): 3.0}
    assert store.get_metric("work", MetricTypes.GAUGE).values == {(): 2.0}


def test_a_handler_cannot_fill_the_memory_with_metrics() -> None:
    store = MetricsStore()
    for index in range(MAX_METRICS + 5):
        store.add_counter(f"m{index}", 1)
    for index in range(MAX_SERIES_PER_METRIC + 7):
        store.add_counter("m0", 1, dimensions=[Dimension("id", str(index))])
    assert (len(store.cache), store.dropped) == (MAX_METRICS, 5)
    assert len(store.get_metric("m0").values) == MAX_SERIES_PER_METRIC
    assert store.get_metric("m0").dropped == 8


def test_an_unknown_unit_is_an_error() -> None:
    with pytest.raises(ValueError, match="ms, s"):
        MetricsStore().add_time("work", 1, unit="min")


def test_a_metric_that_was_never_added_is_an_error() -> None:
    with pytest.raises(KeyError):
        MetricsStore().get_metric("rows")
