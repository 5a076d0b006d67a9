"""Values are counted up to their edge, and a trace stands beside its own size."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.histogram import LATENCY_EDGES_S, Exemplar, Histogram
from telemetry.slo.classify import USUAL_EDGES_S


@given(st.lists(st.floats(0.0, 10.0)))
def test_each_edge_has_the_values_that_do_not_exceed_it(values: list[float]) -> None:
    histogram = Histogram((0.5, 1.0, 5.0))
    for value in values:
        histogram.add(value)
    counts = {edge: count for edge, count, _ in histogram.cumulative()}
    assert counts == {str(edge): sum(value <= edge for value in values) for edge in (0.5, 1.0, 5.0)} | {
        "+Inf": len(values)
    }
    assert histogram.sum == sum(values)


def test_a_trace_stands_beside_its_own_size_alone() -> None:
    histogram = Histogram((1.0, 2.0))
    shown = Exemplar("a" * 32, 2.0, 0.0)
    histogram.show(shown)
    assert [exemplar for _, _, exemplar in histogram.cumulative()] == [None, shown, None]


def test_the_edges_are_those_of_the_gateway_s_latencies() -> None:
    assert LATENCY_EDGES_S == USUAL_EDGES_S
