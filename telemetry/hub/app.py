"""The hub's application: the JSON API, the pages, its own metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from telemetry.hub import pages
from telemetry.hub.query import BadQuery
from telemetry.hub.reader import TooSlow

Expose = Callable[[str], tuple[str, bytes]]
"""Called with an ``Accept`` field; returns a content type and a body."""


def make_app(source: pages.Source, expose: Expose) -> FastAPI:
    """Return the application; API and pages answer from the same source."""
    app = FastAPI(
        title="Penstock hub",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        exception_handlers={BadQuery: _bad_query, TooSlow: _too_slow},
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

    app.router.routes.extend(pages.routes())
    return app


def _add_api(app: FastAPI, source: pages.Source) -> None:
    @app.get("/api/overview")
    async def overview() -> Response:
        return _json(await source.overview())

    @app.get("/api/slos")
    async def slos() -> Response:
        return _json(await source.slos())

    @app.get("/api/slos/history")
    async def slo_history(request: Request) -> Response:
        return _json(await source.slo_history(request.query_params))

    @app.get("/api/traces")
    async def traces(request: Request) -> Response:
        return _json(await source.traces(request.query_params))

    @app.get("/api/traces/{wanted:path}")
    async def trace(wanted: str) -> Response:
        found = await source.trace(wanted)
        if found is None:
            return _json({"error": f"No trace and no request {wanted:.64} is stored."}, 404)
        return _json(found)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def _bad_query(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400)


async def _too_slow(_: Request, __: Exception) -> Response:
    answer = _json({"error": "That takes too long to find: narrow the time or the filters."}, 503)
    answer.headers["retry-after"] = "5"
    return answer
