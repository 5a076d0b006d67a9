"""Asks a source for all that a dashboard needs, and puts it together; pages and the JSON API show the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from telemetry.hub.dashboards.debug import TRACES, Debug, debug, is_known
from telemetry.hub.dashboards.executive import Executive, executive
from telemetry.hub.dashboards.happenings import Changes
from telemetry.hub.dashboards.on_call import OnCall, on_call
from telemetry.hub.dashboards.red import RedList, red_list
from telemetry.hub.dashboards.service_map import ServiceMap, service_map
from telemetry.hub.measured.answers import Measured, ModelSeries
from telemetry.hub.measured.steps import SPANS_S
from telemetry.hub.query import chosen
from telemetry.hub.shown.answers import Overview, TraceList

Json = dict[str, Any]
_Answer = TypeVar("_Answer")

MAP_SPAN = "15m"
EXECUTIVE_SPANS = ("7d", "30d", "1d")
NO_TRACES: Json = {"traces": [], "next": None}
ON_CALL_SPANS = ("15m", "1h", "6h")


class Source(Protocol):
    """What is asked."""

    async def overview(self) -> Json:
        """Return what ``GET /api/overview`` answers."""
        ...

    async def changes(self) -> Json:
        """Return what ``GET /api/changes`` answers."""
        ...

    async def measured(self, span: str) -> Json:
        """Return what ``GET /api/red`` answers."""
        ...

    async def measured_model(self, model: str, version: str, span: str) -> Json:
        """Return what ``GET /api/red/{model}`` answers."""
        ...

    async def traces(self, query: Mapping[str, str]) -> Json:
        """Return what ``GET /api/traces`` answers."""
        ...


async def the_map(source: Source, page: str, model: str) -> ServiceMap:
    """Return the map of services."""
    overview, measured = await asyncio.gather(source.overview(), source.measured(MAP_SPAN))
    return service_map(_read(overview, Overview), _read(measured, Measured), number(page), model)


async def the_executive(source: Source, span: str) -> Executive:
    """Return the executive dashboard.

    Raises:
        BadQuery: it is not made of such a span.
    """
    span = chosen("span", span, EXECUTIVE_SPANS, EXECUTIVE_SPANS[0])
    overview, measured, changes = await asyncio.gather(source.overview(), source.measured(span), source.changes())
    return executive(_read(overview, Overview), _read(measured, Measured), _read(changes, Changes))


async def the_on_call(source: Source, span: str, page: str) -> OnCall:
    """Return the on-call dashboard.

    Raises:
        BadQuery: it is not made of such a span.
    """
    span = chosen("span", span, ON_CALL_SPANS, "1h")
    overview, measured, changes = await asyncio.gather(source.overview(), source.measured(span), source.changes())
    return on_call(_read(overview, Overview), _read(measured, Measured), _read(changes, Changes), number(page))


async def the_overview(source: Source) -> Overview:
    """Return what the supervisor said last."""
    return _read(await source.overview(), Overview)


async def the_red(source: Source, span: str, page: str) -> RedList:
    """Return the models with their requests, errors and durations."""
    overview, measured = await asyncio.gather(source.overview(), source.measured(span))
    return red_list(_read(overview, Overview), _read(measured, Measured), number(page))


async def the_series(source: Source, model: str, version: str, span: str) -> ModelSeries:
    """Return one model step by step."""
    return _read(await source.measured_model(model, version, span), ModelSeries)


async def the_debug(source: Source, model: str, version: str, pod: str, span: str) -> Debug | None:
    """Return the debug dashboard of a model; None where nobody knows it."""
    overview, measured, series = await asyncio.gather(
        source.overview(), source.measured(MAP_SPAN), the_series(source, model, version, span)
    )
    known = _read(overview, Overview)
    if not is_known(known, series):
        return None
    since_s = f"{series.at_s - SPANS_S[series.span]:.3f}"
    asked = {"model": model, "limit": str(TRACES), "since": since_s} | ({"version": version} if version else {})
    slow_s = series.summed.p95_s
    failed = await source.traces(asked | {"status": "error"})
    slow = NO_TRACES if slow_s is None else await source.traces(asked | {"min_ms": f"{slow_s * 1000:.3f}"})
    return debug(
        known,
        _read(measured, Measured),
        series,
        _read(failed, TraceList).traces,
        _read(slow, TraceList).traces,
        pod,
    )


def number(text: str) -> int:
    """Return the page that is asked for; the first where that is no number."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1


def _read(answer: Json, kind: type[_Answer]) -> _Answer:
    return msgspec.convert(answer, kind)
