"""What Prometheus reads on 8082: ``/metrics`` and ``/livez``, without a token, and not for web pages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from prometheus_client.metrics_core import Metric as Family
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.control.callers import LIVE_PATH, REASONS, AdminCaller, admit_reader
from gateway.control.exposition import expose
from model_pod.wire.refusals import Refused

METRICS_PATH = "/metrics"

Collect = Callable[[], list[Family]]


def make_metrics_app(collect: Collect, bound_hosts: tuple[str, ...]) -> ASGIApp:
    """Return the application; it knows nothing of the supervisor but what it collects."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            answer = await _answer(scope, collect, bound_hosts)
            answer.headers["cache-control"] = "no-store"
            await answer(scope, receive, send)

    return serve


async def _answer(scope: Scope, collect: Collect, bound_hosts: tuple[str, ...]) -> Response:
    headers = Headers(scope=scope)
    try:
        admit_reader(AdminCaller(scope["path"], tuple(headers.items())), bound_hosts)
    except Refused as refused:
        return PlainTextResponse(f"{refused.message}\n", REASONS[refused.reason].status)
    if scope["path"] not in (METRICS_PATH, LIVE_PATH):
        return PlainTextResponse(f"There is {METRICS_PATH} and {LIVE_PATH}.\n", 404)
    if scope["method"] != "GET":
        return PlainTextResponse("GET it.\n", 405, {"allow": "GET"})
    if scope["path"] == LIVE_PATH:
        return PlainTextResponse("ok\n")
    families = collect()
    # Ten thousand series take a tenth of a second to write, for which the supervisor's loop has no time.
    content_type, body = await asyncio.to_thread(expose, families, ",".join(headers.getlist("accept")))
    return Response(body, headers={"content-type": content_type})
