"""The management API: FastAPI over a view of the mesh, default deny, every answer with a request id."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.control.callers import LIVE_PATH, REASONS, AdminCaller, Gate
from gateway.control.reports import LiveReport, MeshView, PodsReport, PolicyReport, RefusalReport, StatusReport
from gateway.control.slo_reports import MAX_SPAN_S, MIN_SPAN_S, HistoryQuestion, SloHistoryReport, SloReport
from gateway.control.view import installed_version
from model_pod.wire.refusals import REASON_HEADER, Refused, refusal_body
from telemetry.conventions import REQUEST_ID

_CONNECTIONS = 128
_IDLE_S = 5
_FINISH_WITHIN_S = 2
_HEAD_BYTES = 16 * 1024
# FastAPI's own 422 is left out of the OpenAPI where this is in it, and is never answered.
_HISTORY_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}}
_REASON_OF_STATUS = {404: "path_not_found", 405: "method_not_allowed"}


class Gatekeeper:
    """Refuses callers before any route is looked for, and gives every answer its request id."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; nothing else is served."""
        if scope["type"] != "http":
            return
        request_id = secrets.token_hex(16)
        scope["state"] = {"request_id": request_id}

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["cache-control"] = "no-store"
            await send(message)

        try:
            # The path as it is routed: a decision on any other spelling could be walked around.
            self._gate.admit(AdminCaller(scope["path"], tuple(Headers(scope=scope).items())))
        except Refused as refused:
            await refusal(refused, request_id)(scope, receive, send_named)
            return
        await self._app(scope, receive, send_named)


def refusal(refused: Refused, request_id: str) -> Response:
    """Return the answer to a refused request."""
    reason = REASONS[refused.reason]
    headers = {REASON_HEADER: reason.name}
    if reason.status == 401:
        headers["www-authenticate"] = "Bearer"
    body = refusal_body(reason, refused.message, request_id)
    return Response(body, reason.status, headers, media_type="application/json")


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    reason = _REASON_OF_STATUS.get(error.status_code, "malformed_http")
    answer = refusal(Refused(reason, REASONS[reason].meaning), request.state.request_id)
    answer.headers.update(error.headers or {})
    return answer


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for nothing else
    return refusal(error, request.state.request_id)


async def _refuse_query(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    problems = "; ".join(f"{wrong['loc'][-1]}: {wrong['msg']}" for wrong in error.errors())
    return refusal(Refused("bad_query", f"The query cannot be read. {problems}."), request.state.request_id)


async def _refuse_failure(request: Request, _: Exception) -> Response:
    message = "The management API failed; the gateway's events say why."
    return refusal(Refused("management_failed", message), request.state.request_id)


def make_app(view: MeshView, gate: Gate) -> ASGIApp:
    """Return the application; it knows nothing of the supervisor but the view."""
    documented: dict[int | str, dict[str, Any]] = {status: {"model": RefusalReport} for status in (401, 403)}
    api = FastAPI(
        title="Penstock management API",
        version=installed_version(),
        docs_url=None,
        redoc_url=None,
        responses=documented,
        exception_handlers={
            HTTPException: _refuse_http,
            Refused: _refuse,
            RequestValidationError: _refuse_query,
            Exception: _refuse_failure,
        },
    )

    @api.get("/admin/policy", summary="The policy in force, and the errors of files that were refused")
    async def policy() -> PolicyReport:
        return view.policy()

    @api.get("/admin/pods", summary="Every pod: what should run, and what its last probe found")
    async def pods() -> PodsReport:
        return view.pods()

    @api.get("/admin/status", summary="The whole mesh at a glance")
    async def status() -> StatusReport:
        return view.status()

    @api.get("/admin/slo", summary="Every objective: its budget, burn rates and alerts")
    async def slo() -> SloReport:
        return view.slo()

    @api.get("/admin/slo/history", summary="An objective's past, in at most 400 steps", responses=_HISTORY_REFUSALS)
    async def slo_history(
        slo: Annotated[str, Query(description="The objective's name")],
        model: Annotated[str, Query(description="One of its models")],
        span_s: Annotated[float, Query(description="How far back", ge=MIN_SPAN_S, le=MAX_SPAN_S)] = 3600.0,
        version: Annotated[str | None, Query(description="One version; all of them when left out")] = None,
    ) -> SloHistoryReport:
        return view.slo_history(HistoryQuestion(slo, model, version, span_s))

    @api.get(LIVE_PATH, summary="The supervisor runs; needs no token")
    async def live() -> LiveReport:
        return LiveReport()

    return Gatekeeper(api, gate)


class ManagementServer(uvicorn.Server):
    """Uvicorn inside the supervisor's loop: signals stay the supervisor's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def make_server(app: ASGIApp) -> ManagementServer:
    """Return a server for sockets that listen already; ``serve(sockets)`` runs it until ``should_exit``."""
    config = uvicorn.Config(
        app,
        http="h11",  # stricter than the faster one, and nobody is in a hurry here
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_FINISH_WITHIN_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return ManagementServer(config)
