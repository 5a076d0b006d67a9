"""The dashboards' pages: the whole mesh for who pays for it, for who is on call, and for who looks for a cause."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from telemetry.hub import dashboard_answers as ask
from telemetry.hub.dashboards import map_drawing, strips
from telemetry.hub.dashboards.debug import Debug, is_known
from telemetry.hub.dashboards.executive import Executive
from telemetry.hub.dashboards.on_call import OnCall
from telemetry.hub.dashboards.red import RedList
from telemetry.hub.dashboards.service_map import ServiceMap
from telemetry.hub.measured.answers import ModelSeries, Summed
from telemetry.hub.measured.steps import SPANS_S, USUAL_SPAN
from telemetry.hub.pages.drawing import Page, draw_page, sorry
from telemetry.hub.pages.source import source_of
from telemetry.hub.shown import formats, plots
from telemetry.hub.shown.answers import Objective
from telemetry.hub.shown.objectives import objective_row, objective_rows
from telemetry.hub.shown.trace_list import trace_row

_LIVE_S = 10
_SLOW_LIVE_S = 60
_NO_MODEL = "The policy in force has no route for it, and nothing was asked of it in this time."


def _asked(request: Request, name: str, usual: str = "") -> str:
    return request.query_params.get(name, usual)


def _thresholds(objectives: tuple[Objective, ...]) -> dict[str, float]:
    """Return how long a good answer may take, by objective."""
    return {slo.name: slo.within_s for slo in objectives if slo.within_s is not None and slo.within_s > 0}


async def _executive(request: Request) -> Response:
    held = await ask.the_executive(source_of(request), _asked(request, "span"))
    return await asyncio.to_thread(_draw_executive, held)


def _draw_executive(held: Executive) -> Response:
    from_s = held.points[0].start_s if held.points else held.at_s

    def device(seconds: float) -> str:
        return formats.duration(seconds)

    return draw_page(
        "executive.html",
        error=held.error,
        refresh_s=_SLOW_LIVE_S,
        held=held,
        spans=ask.EXECUTIVE_SPANS,
        rows=objective_rows(held.objectives),
        worst=[objective_row(slo) for slo in held.worst],
        requests=plots.days(held.points, held.step_s, lambda one: one.requests, lambda n: formats.count(round(n))),
        errors=plots.errors(held.points, held.step_s),
        device=plots.days(held.points, held.step_s, _device_s, device),
        idle=plots.days(held.points, held.step_s, _idle_s, device),
        strip=strips.strip(held.happenings, from_s, held.at_s),
    )


async def _on_call(request: Request) -> Response:
    source = source_of(request)
    held = await ask.the_on_call(source, _asked(request, "span"), _asked(request, "page", "1"))
    charted = await asyncio.gather(*(ask.the_series(source, model, "", held.span) for model in held.charted))
    return await asyncio.to_thread(_draw_on_call, held, charted)


def _draw_on_call(held: OnCall, charted: list[ModelSeries]) -> Response:
    lines = {line.model: line for line in held.models}
    return draw_page(
        "on_call.html",
        error=held.error,
        refresh_s=_LIVE_S,
        held=held,
        spans=ask.ON_CALL_SPANS,
        burning=[(objective_row(one.objective), one.exhaustion_s) for one in held.firing],
        burns={line.model: [objective_row(slo) for slo in line.objectives] for line in held.models},
        sparks={line.model: plots.sparkline(line.rates) for line in held.models},
        requests=plots.requests(held.points, held.step_s),
        errors=plots.errors(held.points, held.step_s),
        way=plots.way(held.points, held.step_s),
        charts=[
            (each.model, plots.durations(each, _thresholds(lines[each.model].objectives)))
            for each in charted
            if each.model in lines
        ],
        strip=strips.strip(held.happenings, held.points[0].start_s if held.points else held.at_s, held.at_s),
    )


async def _map(request: Request) -> Response:
    held = await ask.the_map(source_of(request), _asked(request, "page", "1"), _asked(request, "model"))
    return await asyncio.to_thread(_draw_map, held)


def _draw_map(held: ServiceMap) -> Response:
    return draw_page(
        "map.html",
        error=held.error,
        refresh_s=_LIVE_S,
        held=held,
        drawn=map_drawing.drawing(held),
        width=map_drawing.WIDTH,
        node_width=map_drawing.NODE_WIDTH,
        node_height=map_drawing.NODE_HEIGHT,
    )


async def _red(request: Request) -> Response:
    held = await ask.the_red(source_of(request), _asked(request, "span", USUAL_SPAN), _asked(request, "page", "1"))
    return await asyncio.to_thread(_draw_red, held)


def _draw_red(held: RedList) -> Response:
    return draw_page(
        "red.html",
        error=held.error,
        refresh_s=_LIVE_S,
        held=held,
        spans=tuple(SPANS_S),
        sparks={line.model: plots.sparkline(line.rates) for line in held.models},
        requests=plots.requests(held.points, held.step_s),
        errors=plots.errors(held.points, held.step_s),
    )


async def _red_of(request: Request) -> Response:
    source, model = source_of(request), request.path_params["model"]
    asked = (model, _asked(request, "version"), _asked(request, "span", USUAL_SPAN))
    overview, series = await asyncio.gather(ask.the_overview(source), ask.the_series(source, *asked))
    if not is_known(overview, series):
        return sorry(404, "No such model", overview.error or _NO_MODEL, _LIVE_S)
    objectives = tuple(slo for slo in overview.slos if slo.model == model)
    return await asyncio.to_thread(_draw_red_of, series, objectives, overview.error or series.error)


def _draw_red_of(series: ModelSeries, objectives: tuple[Objective, ...], error: str) -> Response:
    return draw_page(
        "red_model.html",
        error=error,
        refresh_s=_LIVE_S,
        series=series,
        spans=tuple(SPANS_S),
        requests=plots.requests(series.points, series.step_s),
        errors=plots.errors(series.points, series.step_s),
        durations=plots.durations(series, _thresholds(objectives)),
        heat=plots.heat(series.points, series.step_s),
        way=plots.way(series.points, series.step_s),
        exemplars=sorted(series.exemplars, key=lambda one: -one.duration_s)[:12],
        rows=objective_rows(objectives),
    )


async def _debug(request: Request) -> Response:
    model = request.path_params["model"]
    asked = (_asked(request, "version"), _asked(request, "pod"), _asked(request, "span", USUAL_SPAN))
    held = await ask.the_debug(source_of(request), model, *asked)
    if held is None:
        return sorry(404, "No such model", _NO_MODEL, _LIVE_S)
    return await asyncio.to_thread(_draw_debug, held)


def _draw_debug(held: Debug) -> Response:
    series = held.series
    return draw_page(
        "debug.html",
        error=held.error,
        refresh_s=_LIVE_S,
        held=held,
        series=series,
        spans=tuple(SPANS_S),
        fall=plots.fall(series.summed),
        way=plots.way(series.points, series.step_s),
        heat=plots.heat(series.points, series.step_s),
        batches=plots.batch_heat(series.points, series.step_s),
        failed=[trace_row(one) for one in held.failed],
        slow=[trace_row(one) for one in held.slow],
    )


def _device_s(one: Summed) -> float:
    return one.device_s


def _idle_s(one: Summed) -> float:
    return max(0.0, one.pod_s - one.busy_s)


PAGES: dict[str, Page] = {
    "/executive": _executive,
    "/on-call": _on_call,
    "/map": _map,
    "/red": _red,
    "/red/{model:path}": _red_of,
    "/debug/{model:path}": _debug,
}
