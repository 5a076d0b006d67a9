"""The dashboards' pages: the whole mesh for who pays for it, for who is on call, and for who looks for a cause."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

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
from telemetry.hub.shown import formats, plots
from telemetry.hub.shown.answers import Objective
from telemetry.hub.shown.objectives import objective_row, objective_rows
from telemetry.hub.shown.trace_list import trace_row

LIVE_S = 10
SLOW_LIVE_S = 60
NO_MODEL = "The policy in force has no route for it, and nothing was asked of it in this time."

Page = Callable[[Request], Awaitable[Response]]


class MakePage(Protocol):
    """Makes a page of a template."""

    def __call__(
        self, template: str, status: int = 200, *, error: str = "", refresh_s: int = 0, **shown: object
    ) -> Response:
        """Return the page."""
        ...


class MakeSorry(Protocol):
    """Makes a page that says why there is none."""

    def __call__(self, status: int, title: str, sentence: str, refresh_s: int = 0) -> Response:
        """Return the page."""
        ...


def dashboard_pages(page: MakePage, sorry: MakeSorry) -> dict[str, Page]:
    """Return the pages by their paths."""
    made = _Pages(page, sorry)
    return {
        "/executive": made.executive,
        "/on-call": made.on_call,
        "/map": made.map,
        "/red": made.red,
        "/red/{model:path}": made.red_of,
        "/debug/{model:path}": made.debug,
    }


def _source(request: Request) -> ask.Source:
    return cast(ask.Source, request.app.state.source)


def _asked(request: Request, name: str, usual: str = "") -> str:
    return request.query_params.get(name, usual)


def _thresholds(objectives: tuple[Objective, ...]) -> dict[str, float]:
    """Return how long a good answer may take, by objective."""
    return {slo.name: slo.within_s for slo in objectives if slo.within_s is not None and slo.within_s > 0}


class _Pages:
    def __init__(self, page: MakePage, sorry: MakeSorry) -> None:
        self._page = page
        self._sorry = sorry

    async def executive(self, request: Request) -> Response:
        held = await ask.the_executive(_source(request), _asked(request, "span"))
        return await asyncio.to_thread(self._draw_executive, held)

    def _draw_executive(self, held: Executive) -> Response:
        from_s = held.points[0].start_s if held.points else held.at_s

        def device(seconds: float) -> str:
            return formats.duration(seconds)

        return self._page(
            "executive.html",
            error=held.error,
            refresh_s=SLOW_LIVE_S,
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

    async def on_call(self, request: Request) -> Response:
        source = _source(request)
        held = await ask.the_on_call(source, _asked(request, "span"), _asked(request, "page", "1"))
        charted = await asyncio.gather(*(ask.the_series(source, model, "", held.span) for model in held.charted))
        return await asyncio.to_thread(self._draw_on_call, held, charted)

    def _draw_on_call(self, held: OnCall, charted: list[ModelSeries]) -> Response:
        lines = {line.model: line for line in held.models}
        return self._page(
            "on_call.html",
            error=held.error,
            refresh_s=LIVE_S,
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

    async def map(self, request: Request) -> Response:
        held = await ask.the_map(_source(request), _asked(request, "page", "1"), _asked(request, "model"))
        return await asyncio.to_thread(self._draw_map, held)

    def _draw_map(self, held: ServiceMap) -> Response:
        return self._page(
            "map.html",
            error=held.error,
            refresh_s=LIVE_S,
            held=held,
            drawn=map_drawing.drawing(held),
            width=map_drawing.WIDTH,
            node_width=map_drawing.NODE_WIDTH,
            node_height=map_drawing.NODE_HEIGHT,
        )

    async def red(self, request: Request) -> Response:
        held = await ask.the_red(_source(request), _asked(request, "span", USUAL_SPAN), _asked(request, "page", "1"))
        return await asyncio.to_thread(self._draw_red, held)

    def _draw_red(self, held: RedList) -> Response:
        return self._page(
            "red.html",
            error=held.error,
            refresh_s=LIVE_S,
            held=held,
            spans=tuple(SPANS_S),
            sparks={line.model: plots.sparkline(line.rates) for line in held.models},
            requests=plots.requests(held.points, held.step_s),
            errors=plots.errors(held.points, held.step_s),
        )

    async def red_of(self, request: Request) -> Response:
        source, model = _source(request), request.path_params["model"]
        asked = (model, _asked(request, "version"), _asked(request, "span", USUAL_SPAN))
        overview, series = await asyncio.gather(ask.the_overview(source), ask.the_series(source, *asked))
        if not is_known(overview, series):
            return self._sorry(404, "No such model", overview.error or NO_MODEL, LIVE_S)
        objectives = tuple(slo for slo in overview.slos if slo.model == model)
        return await asyncio.to_thread(self._draw_red_of, series, objectives, overview.error or series.error)

    def _draw_red_of(self, series: ModelSeries, objectives: tuple[Objective, ...], error: str) -> Response:
        return self._page(
            "red_model.html",
            error=error,
            refresh_s=LIVE_S,
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

    async def debug(self, request: Request) -> Response:
        model = request.path_params["model"]
        asked = (_asked(request, "version"), _asked(request, "pod"), _asked(request, "span", USUAL_SPAN))
        held = await ask.the_debug(_source(request), model, *asked)
        if held is None:
            return self._sorry(404, "No such model", NO_MODEL, LIVE_S)
        return await asyncio.to_thread(self._draw_debug, held)

    def _draw_debug(self, held: Debug) -> Response:
        series = held.series
        return self._page(
            "debug.html",
            error=held.error,
            refresh_s=LIVE_S,
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
