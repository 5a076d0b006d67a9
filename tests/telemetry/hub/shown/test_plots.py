"""How steps are drawn: gaps break lines, columns add up, maps darken, and everything stays inside its frame."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.measured import answers
from telemetry.hub.measured.answers import ModelSeries
from telemetry.hub.shown import plots
from telemetry.hub.shown.formats import rate
from tests.fakes.counted import NOW_S, kept


def digits(span: str = "1h", trace_ids: tuple[str, ...] = ()) -> ModelSeries:
    return answers.series(kept(span, of="digits", trace_ids=trace_ids), "digits", "", span, "")


def test_a_line_is_broken_where_nothing_was_measured() -> None:
    assert plots.sparkline([1.0, 2.0, None, 1.0]) == ("125.0,500.0 375.0,0.0", "750.0,500.0 1000.0,500.0")
    assert plots.sparkline([None, None]) == ()
    assert plots.sparkline([0.0, 0.0]) == ("250.0,1000.0 750.0,1000.0",)


@given(st.lists(st.none() | st.floats(0.0, 1e9), max_size=30))
def test_a_line_stays_in_its_frame_and_has_every_value(values: list[float | None]) -> None:
    pieces = plots.sparkline(values)
    corners = [float(number) for piece in pieces for number in re.split("[ ,]", piece)]
    assert all(0.0 <= number <= plots.SIDE for number in corners)
    assert len(corners) / 2 >= sum(value is not None for value in values)


def test_requests_are_stacked_by_class_and_gaps_are_told() -> None:
    series = digits()
    plot = plots.requests(series.points, series.step_s)
    assert [layer.text for layer in plot.layers] == ["2xx", "4xx", "5xx"]
    assert len(plot.columns) == len(series.points)
    assert len(plot.gaps) == 1
    assert any("nobody read the counters" in column.title for column in plot.columns)
    lows = [float(number) for number in re.findall(r"M[\d.]+ ([\d.]+)h", plot.layers[-1].path)]
    assert min(lows) >= 0.0


def test_durations_have_thresholds_and_dots_that_open_traces() -> None:
    plot = plots.durations(digits(trace_ids=("a", "b")), {"fast": 0.2})
    assert [curve.kind for curve in plot.curves] == ["p50", "p95", "p99"]
    assert [mark.text for mark in plot.marks] == ["fast 200\u202fms"]
    assert [(dot.trace_id, dot.is_error) for dot in plot.dots] == [("b", False), ("a", False)]
    assert not plot.is_empty


def test_nothing_measured_is_an_empty_plot() -> None:
    nothing = answers.series(kept("1h", (), of="m"), "m", "", "1h", "")
    assert plots.durations(nothing, {}).is_empty
    assert plots.requests(nothing.points, nothing.step_s).is_empty
    assert plots.heat(nothing.points, nothing.step_s).is_empty
    assert plots.way([], 30).is_empty
    assert plots.errors([], 30).is_empty


def test_a_map_of_durations_has_a_row_for_each_edge_and_the_darkest_is_there() -> None:
    series = digits()
    plot = plots.heat(series.points, series.step_s)
    assert plot.layers[-1].kind == f"heat-{plots.HEAT_LEVELS}"
    assert len(plot.values) >= 2
    assert plots.batch_heat(series.points, series.step_s).values[0].text == "2"


def test_what_some_waited_is_shared_by_all() -> None:
    series = digits()
    first = plots.average_way(series.summed)[0]
    assert first.name == "gateway wait"
    assert first.mean_s == pytest.approx(first.total_s / series.summed.requests)
    bars = plots.fall(series.summed)
    assert [one.mean.name for one in bars][1:3] == ["pod queue", "preprocess"]
    assert sum(float(one.bar.width.rstrip("%")) for one in bars) == pytest.approx(100.0, abs=0.01)


@given(st.floats(1e-9, 1e12))
def test_ticks_are_round_and_few(top: float) -> None:
    step = plots.nice_step(top)
    assert 2 <= top / step <= 5.0000001


def test_long_stretches_have_days_and_short_ones_hours() -> None:
    long, short = (digits(span) for span in ("7d", "1h"))
    assert plots.errors(long.points, long.step_s).times[-1].text == "01-15"
    assert re.fullmatch(r"\d\d:\d\d", plots.errors(short.points, short.step_s).times[0].text)
    sums = plots.days(long.points, long.step_s, lambda one: one.requests, rate)
    assert len(sums.columns) == len(long.points)
    assert long.points[-1].start_s < NOW_S
