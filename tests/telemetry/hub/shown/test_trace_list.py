"""How a list of traces is drawn, and what the URL's filters ask the store for."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.query import BadQuery, parse
from telemetry.hub.shown.answers import TraceList
from telemetry.hub.shown.formats import duration
from telemetry.hub.shown.trace_list import FILTERS, LAST_S, list_view, scatter, trace_row, wanted
from telemetry.hub.summary import Stage, Summary
from tests.fakes.hub import ScriptedSource, mesh, requests
from tests.telemetry.hub.test_summary import summary_of
from tests.telemetry.hub.traces import MS, START_NS, request_spans

NOW_S = 1_800_000_000.0


def listed(count: int, **query: str) -> TraceList:
    source = ScriptedSource(mesh(), requests(count))
    return msgspec.convert(asyncio.run(source.traces(query)), TraceList)


def summary(**changed: object) -> Summary:
    return msgspec.structs.replace(summary_of(request_spans()), **changed)


def test_filters_go_to_the_store_as_they_are_and_empty_ones_do_not() -> None:
    assert wanted({"model": "digits", "tenant": "", "cursor": "1.a", "page": "2"}, NOW_S) == {
        "model": "digits",
        "cursor": "1.a",
    }


def test_the_last_minutes_become_a_moment_unless_a_moment_is_given() -> None:
    assert wanted({"last": "15m"}, NOW_S) == {"since": f"{NOW_S - 900:.3f}"}
    assert wanted({"last": "15m", "since": "5"}, NOW_S) == {"since": "5"}
    with pytest.raises(BadQuery, match="last is one of 5m, 15m, 1h, 6h, 24h"):
        wanted({"last": "fortnight"}, NOW_S)


def test_every_filter_of_the_form_is_one_that_the_store_understands() -> None:
    values = {"status": "ok", "min_ms": "1", "max_ms": "2", "since": "1", "until": "2", "limit": "5", "last": "5m"}
    for last in (*LAST_S, ""):
        parse(wanted({key: values.get(key, "x") for key in FILTERS} | {"last": last}, NOW_S))


def test_a_line_tells_what_where_and_how_long() -> None:
    row = trace_row(summary())
    assert (row.what, row.status, row.duration, row.at) == ("digits/1", "200", duration(0.1), "08:00:00")
    assert next(stage.stage for stage in row.stages) == "transport"


def test_a_trace_of_no_request_is_called_by_its_span() -> None:
    row = trace_row(summary(model="", version="", http_status=None, name="nightly job"))
    assert (row.what, row.status) == ("nightly job", "ok")
    assert trace_row(summary(version="")).what == "digits"


def test_a_stage_that_is_said_to_lie_outside_is_cut_off() -> None:
    stage = Stage("pod.queue", START_NS - MS, 1000 * MS)
    row = trace_row(summary(start_ns=START_NS, duration_ns=MS, stages=(stage,)))
    assert (row.stages[0].bar.x, row.stages[0].bar.width) == ("0.000%", "100.000%")


def test_the_next_page_keeps_the_filters() -> None:
    found = listed(10, limit="4")
    view = list_view(found, {"limit": "4", "tenant": "a&b", "cursor": "old", "page": "2"})
    assert parse_qs(view.next_query) == {"limit": ["4"], "tenant": ["a&b"], "cursor": [found.next]}


def test_the_last_page_has_no_next() -> None:
    assert list_view(listed(3), {}).next_query == ""


def test_the_plot_has_a_point_for_each_trace_and_marks_what_failed() -> None:
    plot = scatter(listed(9).traces)
    assert plot is not None
    assert len(plot.points) == 9
    assert sum(point.is_error for point in plot.points) == 1
    assert plot.points[-1].x == "0.000%"  # the newest comes first
    assert (plot.low_ms, plot.high_ms) == (10.0, 100.0)


def test_a_models_load_is_called_so_and_is_not_in_the_plot() -> None:
    load = summary(name="pod.load", http_status=None, duration_ns=9000 * MS)
    assert trace_row(load).what == "digits/1 model load"
    plot = scatter([load, summary(), summary()])
    assert plot is not None
    assert len(plot.points) == 2
    assert scatter([load, load, summary()]) is None


def test_too_few_traces_are_not_plotted() -> None:
    assert scatter(()) is None
    assert scatter(listed(1).traces) is None


@given(st.lists(st.tuples(st.integers(0, 2**62), st.integers(0, 2**62)), min_size=2, max_size=20))
def test_every_trace_has_its_place_in_the_plot(times: list[tuple[int, int]]) -> None:
    plot = scatter([summary(start_ns=start_ns, duration_ns=took_ns) for start_ns, took_ns in times])
    assert plot is not None
    assert plot.from_s < plot.to_s or max(times)[0] - min(times)[0] < 2**20
    assert 0 < plot.low_ms < plot.high_ms
    for point in plot.points:
        assert 0 <= float(point.x[:-1]) <= 100
        assert 0 <= float(point.y[:-1]) <= 100
