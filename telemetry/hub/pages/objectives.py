"""Pages of objectives: their error budgets, their alerts, and what would have fired."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from telemetry.hub import simulations
from telemetry.hub.pages.drawing import LIST_LIVE_S, LIVE_S, Page, draw_page, sorry
from telemetry.hub.pages.source import Json, read, source_of
from telemetry.hub.query import BadQuery, chosen
from telemetry.hub.shown.answers import Alerts, Changes, Objective, Overview, Simulation
from telemetry.hub.shown.objectives import EXHAUSTED, SPANS_S, objective_row
from telemetry.hub.shown.past_alerts import CHOICES, alert_list, episodes_of, spans_over
from telemetry.hub.shown.simulated import simulation_view
from telemetry.hub.shown.slo_list import STATES, slo_list


async def _slos(request: Request) -> Response:
    overview = read(await source_of(request).overview(), Overview)
    view = slo_list(overview.slos, request.query_params)
    return draw_page("slos.html", error=overview.error, refresh_s=LIVE_S, view=view, states=STATES)


async def _slo(request: Request) -> Response:
    source = source_of(request)
    overview = read(await source.overview(), Overview)
    found = _find_objective(overview, request.path_params["slo"], request.query_params.get("model", ""))
    if found is None:
        return sorry(404, "No such objective", overview.error or "No model of the policy in force names it.", LIVE_S)
    span = chosen("span", request.query_params.get("span", ""), SPANS_S, "1h")
    told, changes = await asyncio.gather(source.alerts(), source.changes_of(found.model))
    alerts = read(told, Alerts)
    return draw_page(
        "slo.html",
        error=overview.error or alerts.error,
        refresh_s=LIVE_S,
        row=objective_row(found),
        spans=tuple(SPANS_S),
        span=span,
        span_s=SPANS_S[span],
        plots=[alert for alert in found.alerts if alert.tier != EXHAUSTED],
        over=_json_text(spans_over(alerts, found.name, found.model)),
        marks=_json_text(read(changes, Changes).changes),
        episodes=episodes_of(alerts, found.name, found.model),
        receivers=alerts.receivers,
        is_known=alerts.is_known,
    )


def _json_text(told: object) -> str:
    """Return what a script reads of an attribute."""
    return msgspec.json.encode(told).decode()


async def _alerts(request: Request) -> Response:
    source = source_of(request)
    overview, alerts = read(await source.overview(), Overview), read(await source.alerts(), Alerts)
    return draw_page(
        "alerts.html",
        error=alerts.error or overview.error,
        refresh_s=LIST_LIVE_S,
        view=alert_list(alerts, request.query_params),
        choices=CHOICES,
        receivers=alerts.receivers,
        is_known=alerts.is_known,
        models=sorted({one.model for one in overview.slos}),
        names=sorted({one.name for one in overview.slos}),
    )


async def _simulate(request: Request) -> Response:
    source, query = source_of(request), request.query_params
    overview = read(await source.overview(), Overview)
    found = _find_objective(overview, query.get("slo", ""), query.get("model", ""))
    told, problem, status = None, "", 200
    if simulations.is_asked(query):
        try:
            told = read(await source.simulation(query), Simulation)
        except BadQuery as wrong:
            problem, status = str(wrong), 400
        except simulations.NoObjective as wrong:
            problem, status = overview.error or str(wrong), 404
    return draw_page(
        "simulate.html",
        status,
        error=overview.error,
        problem=problem or (told.error if told else ""),
        view=simulation_view(told) if told and not told.error else None,
        given={key: query.get(key, "") for key in simulations.KEYS},
        usual=_usual(overview, found),
        found=found,
        models=sorted({one.model for one in overview.slos}),
        names=sorted({one.name for one in overview.slos}),
    )


def _usual(overview: Overview, found: Objective | None) -> Json:
    """Return what a form begins with: the model's own rate of requests, where it has any."""
    per_s = sum(one.requests_per_s for one in overview.models if found and one.model == found.model)
    return {
        "bad_share": simulations.DEFAULT_SHARE,
        "for": simulations.DEFAULT_LENGTH,
        "rate": f"{per_s:.3g}/s" if 0.01 <= per_s < 1000 else simulations.DEFAULT_RATE,
        "last": simulations.DEFAULT_LAST,
        "alerts": [one.name for one in found.alerts if one.tier in ("fast", "slow")] if found else [],
    }


def _find_objective(overview: Overview, name: str, model: str) -> Objective | None:
    """Return the objective for the model, or for the first that has it when none is named."""
    named = (slo for slo in overview.slos if slo.name == name and model in ("", slo.model))
    return next(named, None)


PAGES: dict[str, Page] = {
    "/slos": _slos,
    "/slos/{slo:path}": _slo,
    "/alerts": _alerts,
    "/simulate": _simulate,
}
