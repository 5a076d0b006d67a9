"""Pages of models: all of them at a glance, and one with what is new of it."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from telemetry.hub.dashboards.on_call import model_lines
from telemetry.hub.measured.answers import Measured
from telemetry.hub.pages.drawing import LIVE_S, Page, draw_page, sorry
from telemetry.hub.pages.source import read, source_of
from telemetry.hub.shown.answers import Overview, TraceList
from telemetry.hub.shown.objectives import firing_rows, model_cards
from telemetry.hub.shown.plots import sparkline
from telemetry.hub.shown.release_answers import Rollouts, Shadows
from telemetry.hub.shown.rollouts import rollout_of, rollout_row
from telemetry.hub.shown.shadows import shadow_rows
from telemetry.hub.shown.trace_list import trace_row

_TRACES_OF_A_MODEL = "10"
_OVERVIEW_SPAN = "15m"


async def _overview(request: Request) -> Response:
    source = source_of(request)
    told, counted = await asyncio.gather(source.overview(), source.measured(_OVERVIEW_SPAN))
    overview, measured = read(told, Overview), read(counted, Measured)
    return draw_page(
        "overview.html",
        error=overview.error,
        refresh_s=LIVE_S,
        mesh=overview.mesh,
        firing=firing_rows(overview.firing),
        cards=model_cards(overview),
        whole=measured.whole.summed if measured.whole is not None else None,
        lines={line.model: line for line in model_lines(overview, measured)},
        sparks={one.model: sparkline(one.rates) for one in measured.models},
        span=measured.span,
    )


async def _model(request: Request) -> Response:
    model, source = request.path_params["model"], source_of(request)
    overview = read(await source.overview(), Overview)
    card = next((card for card in model_cards(overview) if card.model == model), None)
    if card is None:
        return sorry(404, "No such model", overview.error or "The policy in force has no route for it.", LIVE_S)
    traces, rollouts, shadows = await asyncio.gather(
        source.traces({"model": model, "limit": _TRACES_OF_A_MODEL}), source.rollouts(), source.shadows()
    )
    found, told = read(traces, TraceList), read(rollouts, Rollouts)
    rollout = rollout_of(told, model)
    return draw_page(
        "model.html",
        error=overview.error,
        refresh_s=LIVE_S,
        card=card,
        rows=tuple(trace_row(summary) for summary in found.traces),
        firing=firing_rows([alert for alert in overview.firing if alert.model == model]),
        rollout=rollout_row(rollout, told.at_s) if rollout else None,
        shadows=shadow_rows(read(shadows, Shadows), model),
    )


PAGES: dict[str, Page] = {
    "/": _overview,
    "/models/{model:path}": _model,
}
