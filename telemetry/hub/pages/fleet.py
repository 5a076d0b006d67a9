"""Pages of the fleet: how versions drift, what machines do, and what telemetry delivers and loses."""

from __future__ import annotations

import time
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from telemetry.hub.pages.drawing import Page, draw_in_thread, draw_page, sorry
from telemetry.hub.pages.source import read, source_of
from telemetry.hub.shown.answers import Overview
from telemetry.hub.shown.costs import price_of
from telemetry.hub.shown.delivery import telemetry_view
from telemetry.hub.shown.drift import drift_rows, model_view, state_counts
from telemetry.hub.shown.fleet_answers import Drifts, Machine, MachineSidecar, Telemetry
from telemetry.hub.shown.machine import machine_view
from telemetry.hub.shown.pagination import paged

# What asks every sidecar, or has versions judged; sidecars themselves read every 5 s.
_FLEET_LIVE_S = 5
_FLEET_ROWS = 50


async def _drift(request: Request) -> Response:
    told, query = read(await source_of(request).drift(), Drifts), dict(request.query_params)
    given = {key: query.get(key, "") for key in ("model", "state")}
    return draw_page(
        "drift.html",
        error=told.error,
        refresh_s=_FLEET_LIVE_S,
        is_known=told.is_known,
        states=state_counts(told),
        given=given,
        page=paged(drift_rows(told, given["state"], given["model"]), query, _FLEET_ROWS),
    )


async def _drift_of(request: Request) -> Response:
    model, version = request.path_params["model"], request.query_params.get("version", "")
    told = read(await source_of(request).drift_of(model), Drifts)
    overview = read(await source_of(request).overview(), Overview)
    objectives = [objective for objective in overview.slos if objective.model == model]
    view = model_view(told, model, objectives, version)
    if view is None:
        sentence = told.error or "Nothing of it is watched: write drift: {sample: 1%} in routes/MODEL.yaml."
        return sorry(404, "No such model is watched", sentence, _FLEET_LIVE_S)
    return draw_page("drift_model.html", error=told.error, refresh_s=_FLEET_LIVE_S, view=view, version=version)


async def _machine(request: Request) -> Response:
    query = dict(request.query_params)
    price_of(query)  # what is wrong with it is told before anybody is asked
    told = read(await source_of(request).machine(), Machine)
    return await draw_in_thread(partial(_draw_machine, told, query, ""))


async def _machine_of(request: Request) -> Response:
    name = request.path_params["sidecar"]
    found = await source_of(request).machine_of(name)
    if found is None:
        return sorry(404, "No such sidecar", "The mesh has no pod or gateway of this name.", _FLEET_LIVE_S)
    told = Machine(time.time(), (read(found, MachineSidecar),))
    return await draw_in_thread(partial(_draw_machine, told, {}, name))


def _draw_machine(told: Machine, query: dict[str, str], sidecar: str) -> Response:
    price = price_of(query)
    view = machine_view(told, query.get("model", ""), price)
    return draw_page(
        "machine.html",
        error=told.error,
        refresh_s=_FLEET_LIVE_S,
        view=view,
        sidecar=sidecar,
        price=price,
        given={key: query.get(key, "") for key in ("model", "price")},
        costs_error=told.costs_error,
        left_out=told.left_out,
        devices=paged(view.devices, query, _FLEET_ROWS, "devices"),
        processes=paged(view.processes, query, _FLEET_ROWS, "processes"),
        groups=paged(view.groups, query, _FLEET_ROWS, "groups"),
        idle=paged(view.idle, query, _FLEET_ROWS, "idle"),
        versions=paged(view.costs.versions if view.costs else (), query, _FLEET_ROWS, "versions"),
    )


async def _telemetry(request: Request) -> Response:
    told = read(await source_of(request).telemetry(), Telemetry)
    view = telemetry_view(told)
    page = paged(view.rows, dict(request.query_params), _FLEET_ROWS)
    return draw_page(
        "telemetry.html", error=told.error, refresh_s=_FLEET_LIVE_S, view=view, page=page, left_out=told.left_out
    )


PAGES: dict[str, Page] = {
    "/drift": _drift,
    "/drift/{model:path}": _drift_of,
    "/machine": _machine,
    "/machine/{sidecar:path}": _machine_of,
    "/telemetry": _telemetry,
}
