"""Decides how a list of traces is drawn: a bar of stages for each, and all of them by when and how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from msgspec import Struct

from telemetry.conventions import SpanName
from telemetry.hub.query import chosen
from telemetry.hub.shown.answers import TraceList
from telemetry.hub.shown.axis import Bar, Tick, bar, log_scale
from telemetry.hub.shown.formats import date, duration, duration_ns, moment, percent
from telemetry.hub.shown.stages import in_order, stage_of_span
from telemetry.hub.summary import Summary

FILTERS = ("q", "model", "version", "tenant", "status", "reason", "min_ms", "max_ms", "last", "since", "until", "limit")
LAST_S = {"5m": 300, "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400}
LIMITS = ("50", "200", "1000")

_SHORTEST_NS = 1000
"""A trace that is shorter is drawn as if it took a microsecond: no clock here tells less apart."""

_TIMES = 5


class StageBar(Struct, frozen=True):
    """One stage within a trace."""

    stage: str
    bar: Bar
    title: str


class TraceRow(Struct, frozen=True):
    """One trace of the list."""

    summary: Summary
    what: str
    at: str
    date: str
    status: str
    duration: str
    stages: tuple[StageBar, ...]


class Point(Struct, frozen=True):
    """One trace by when (``x``) and how long (``y``, downwards), both in per cent."""

    trace_id: str
    x: str
    y: str
    is_error: bool
    title: str


class Scatter(Struct, frozen=True):
    """All traces of the page at once; what the axes span is for whoever selects a piece of it."""

    points: tuple[Point, ...]
    times: tuple[Tick, ...]
    durations: tuple[Tick, ...]
    from_s: float
    to_s: float
    low_ms: float
    high_ms: float


class ListView(Struct, frozen=True):
    """One page of the list; ``next_query`` is the URL's query of the page that follows, "" on the last."""

    rows: tuple[TraceRow, ...]
    scatter: Scatter | None
    stages: tuple[str, ...]
    next_query: str


def wanted(url_query: Mapping[str, str], now_s: float) -> dict[str, str]:
    """Return what to ask the store for: the URL's filters, ``last`` as the moment it means.

    Raises:
        BadQuery: ``last`` is no time of those that there are.
    """
    asked = {key: url_query[key] for key in (*FILTERS, "cursor") if url_query.get(key)}
    last = chosen("last", asked.pop("last", ""), LAST_S, "")
    if last and "since" not in asked:
        asked["since"] = f"{now_s - LAST_S[last]:.3f}"
    return asked


def list_view(found: TraceList, url_query: Mapping[str, str]) -> ListView:
    """Return one page of the list."""
    rows = tuple(trace_row(summary) for summary in found.traces)
    return ListView(
        rows,
        scatter(found.traces),
        in_order(stage.stage for row in rows for stage in row.stages),
        _with_cursor(url_query, found.next) if found.next else "",
    )


def trace_row(summary: Summary) -> TraceRow:
    """Return one line of the list."""
    at_s = summary.start_ns / 1e9
    status = "" if summary.http_status is None else str(summary.http_status)
    return TraceRow(
        summary,
        _what(summary),
        moment(at_s),
        date(at_s),
        status or summary.status,
        duration_ns(summary.duration_ns),
        tuple(
            StageBar(
                stage_of_span(stage.name),
                bar(stage.start_ns - summary.start_ns, stage.duration_ns, summary.duration_ns),
                f"{stage.name} {duration_ns(stage.duration_ns)}",
            )
            for stage in summary.stages
        ),
    )


def _what(summary: Summary) -> str:
    called = f"{summary.model}/{summary.version}" if summary.version else summary.model
    if summary.name == SpanName.POD_LOAD:
        return f"{called} model load".strip()
    return called or summary.name


def scatter(traces: Sequence[Summary]) -> Scatter | None:
    """Return the traces by when and how long, but for loads of models; None where too few are left to tell anything."""
    traces = [trace for trace in traces if trace.name != SpanName.POD_LOAD]  # one takes as long as a thousand requests
    if len(traces) < 2:
        return None
    first_ns, last_ns = (pick(trace.start_ns for trace in traces) for pick in (min, max))
    lengths_ns = [max(_SHORTEST_NS, trace.duration_ns) for trace in traces]
    scale = log_scale(min(lengths_ns) / 1e9, max(lengths_ns) / 1e9)
    span_ns = max(1, last_ns - first_ns)
    points = tuple(
        Point(
            trace.trace_id,
            percent((trace.start_ns - first_ns) / span_ns),
            percent(1 - scale.at(length_ns / 1e9)),
            trace.status == "error",
            f"{trace.model or trace.name} {duration_ns(trace.duration_ns)} {trace.reason}".strip(),
        )
        for trace, length_ns in zip(traces, lengths_ns, strict=True)
    )
    return Scatter(
        points,
        tuple(_time_tick(index / (_TIMES - 1), first_ns, span_ns) for index in range(_TIMES)),
        tuple(Tick(percent(1 - at), duration(seconds)) for seconds, at in scale.ticks()),
        first_ns / 1e9,
        (first_ns + span_ns) / 1e9,
        10.0**scale.low * 1e3,
        10.0**scale.high * 1e3,
    )


def _time_tick(ratio: float, first_ns: int, span_ns: int) -> Tick:
    return Tick(percent(ratio), moment((first_ns + ratio * span_ns) / 1e9))


def _with_cursor(url_query: Mapping[str, str], cursor: str) -> str:
    kept = {key: url_query[key] for key in FILTERS if url_query.get(key)}
    return urlencode(kept | {"cursor": cursor})
