"""The hub's application: the JSON API, the pages, its own metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from telemetry.hub import dashboard_answers as ask
from telemetry.hub.measured.steps import USUAL_SPAN
from telemetry.hub.mesh import MeshRefuses
from telemetry.hub.pages.drawing import sorry
from telemetry.hub.pages.routes import routes
from telemetry.hub.pages.source import Source
from telemetry.hub.query import BadQuery
from telemetry.hub.reader import TooSlow
from telemetry.hub.releases import lacks
from telemetry.hub.shown.answers import Alerts
from telemetry.hub.shown.past_alerts import wanted
from telemetry.hub.simulations import NoObjective

Expose = Callable[[str], tuple[str, bytes]]
"""Called with an ``Accept`` field; returns a content type and a body."""


def make_app(source: Source, expose: Expose) -> FastAPI:
    """Return the application; API and pages answer from the same source."""
    app = FastAPI(
        title="Penstock hub",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={BadQuery: _bad_query, TooSlow: _too_slow, 404: _no_page},
    )
    app.state.source = source
    _add_api(app, source)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        content_type, body = expose(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": content_type})

    @app.get("/livez")
    async def live() -> Response:
        return PlainTextResponse("ok\n")

    app.router.routes.extend(routes())
    return app


def _add_api(app: FastAPI, source: Source) -> None:
    @app.get("/api/overview")
    async def overview() -> Response:
        return _json(await source.overview())

    @app.get("/api/slos")
    async def slos() -> Response:
        return _json(await source.slos())

    @app.get("/api/slos/history")
    async def slo_history(request: Request) -> Response:
        try:
            return _json(await source.slo_history(request.query_params))
        except MeshRefuses as error:
            return _json({"error": str(error)}, error.status)

    @app.get("/api/slos/simulate")
    async def simulation(request: Request) -> Response:
        try:
            return _json(await source.simulation(request.query_params))
        except NoObjective as error:
            return _json({"error": str(error)}, 404)

    @app.get("/api/alerts")
    async def alerts(request: Request) -> Response:
        told = await source.alerts()
        found, _ = wanted(msgspec.convert(told, Alerts).alerts, request.query_params)
        return _json({**told, "alerts": msgspec.to_builtins(found)})

    @app.get("/api/rollouts")
    async def rollouts() -> Response:
        return _json(await source.rollouts())

    @app.get("/api/rollouts/{model:path}")
    async def rollout(model: str) -> Response:
        found = await source.rollout(model)
        return _json({"error": f"{model:.64} has no canary."}, 404) if lacks(found, model) else _json(found)

    @app.get("/api/shadows")
    async def shadows() -> Response:
        return _json(await source.shadows())

    @app.get("/api/drift")
    async def drift() -> Response:
        return _json(await source.drift())

    @app.get("/api/drift/{model:path}")
    async def drift_of(model: str) -> Response:
        return _json(await source.drift_of(model))

    @app.get("/api/machine")
    async def machine() -> Response:
        return _json(await source.machine())

    @app.get("/api/machine/{sidecar:path}")
    async def machine_of(sidecar: str) -> Response:
        found = await source.machine_of(sidecar)
        return _json({"error": f"No sidecar is named {sidecar:.64}."}, 404) if found is None else _json(found)

    @app.get("/api/telemetry")
    async def telemetry() -> Response:
        return _json(await source.telemetry())

    @app.get("/api/changes")
    async def changes() -> Response:
        return _json(await source.changes())

    _add_dashboards(app, source)

    @app.get("/api/traces")
    async def traces(request: Request) -> Response:
        return _json(await source.traces(request.query_params))

    @app.get("/api/traces/{wanted:path}")
    async def trace(wanted: str, request: Request) -> Response:
        form = request.query_params.get("form", "")
        if form not in ("", "otlp"):
            raise BadQuery("form is otlp, or left out.")
        found = await (source.trace_otlp(wanted) if form else source.trace(wanted))
        if found is None:
            return _json({"error": f"No trace and no request {wanted:.64} is stored."}, 404)
        return _json(found)


def _add_dashboards(app: FastAPI, source: Source) -> None:
    @app.get("/api/red")
    async def red(span: str = USUAL_SPAN) -> Response:
        return _json(await source.measured(span))

    @app.get("/api/red/{model:path}")
    async def red_of(model: str, version: str = "", span: str = USUAL_SPAN) -> Response:
        return _json(await source.measured_model(model, version, span))

    @app.get("/api/map")
    async def the_map(page: str = "1", model: str = "") -> Response:
        return _json(msgspec.to_builtins(await ask.the_map(source, page, model)))

    @app.get("/api/executive")
    async def executive(span: str = "") -> Response:
        return _json(msgspec.to_builtins(await ask.the_executive(source, span)))

    @app.get("/api/on-call")
    async def on_call(span: str = "", page: str = "1") -> Response:
        return _json(msgspec.to_builtins(await ask.the_on_call(source, span, page)))

    @app.get("/api/debug/{model:path}")
    async def debug(model: str, version: str = "", pod: str = "", span: str = USUAL_SPAN) -> Response:
        found = await ask.the_debug(source, model, version, pod, span)
        if found is None:
            return _json({"error": f"The mesh has no model {model:.64}."}, 404)
        return _json(msgspec.to_builtins(found))


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def _bad_query(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400)


async def _no_page(request: Request, _: Exception) -> Response:
    if request.url.path.startswith("/api/"):
        return _json({"error": "The hub has no such answer; docs/reference/hub-api.md lists those that it has."}, 404)
    return sorry(404, "No such page", "The hub has no page at this address; those that it has are above.")


async def _too_slow(_: Request, __: Exception) -> Response:
    answer = _json({"error": "That takes too long to find: narrow the time or the filters."}, 503)
    answer.headers["retry-after"] = "5"
    return answer
