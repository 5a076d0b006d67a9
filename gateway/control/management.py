"""The management API: rooms of FastAPI behind one gatekeeper, default deny, every answer with a request id."""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.control.admin.permissions import guards, needs_any_role
from gateway.control.callers import LIVE_PATH, REASONS, AdminCaller, Gate
from gateway.control.reports import LiveReport, RefusalReport
from gateway.control.view import installed_version
from gateway.decide.authorization import Actor
from gateway.decide.bad_keys import PERIOD_S
from model_pod.wire.refusals import REASON_HEADER, Refused, refusal_body
from telemetry.conventions import REQUEST_ID

OPEN_PATHS = frozenset({LIVE_PATH})
MAX_BODY_BYTES = 64 * 1024
BODY_WITHIN_S = 10.0
_REASON_OF_STATUS = {
    400: "malformed_body",
    404: "path_not_found",
    405: "method_not_allowed",
    408: "body_too_slow",
    413: "body_too_large",
}
# Where TorchServe's management API had its models and workflows.
_TORCHSERVES = frozenset({"models", "workflows"})
_NO_MODELS_API = "Which models are served is said by the policy files, one routes/MODEL.yaml each."

SignInCaller = Callable[[AdminCaller], Actor]


class Gatekeeper:
    """Refuses callers before any route is looked for, and gives every answer its request id.

    Args:
        gate: as it is now; the names of a listener change with its certificate.
        sign_in: says who calls, and refuses who cannot prove it.
    """

    def __init__(self, app: ASGIApp, gate: Callable[[], Gate], sign_in: SignInCaller) -> None:
        self._app = app
        self._gate = gate
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; nothing else is served."""
        if scope["type"] != "http":
            return
        request_id = secrets.token_hex(16)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID] = request_id
                headers["cache-control"] = "no-store"
            await send(message)

        # The path as it is routed: a decision on any other spelling could be walked around.
        source, _ = scope.get("client") or ("", 0)
        identity = state.get("peer_identity", "")
        caller = AdminCaller(scope["path"], tuple(Headers(scope=scope).items()), source, identity)
        try:
            self._gate().admit(caller)
            if caller.path not in OPEN_PATHS:
                state["actor"] = self._sign_in(caller)
        except Refused as refused:
            await refusal(refused, request_id)(scope, receive, send_named)
            return
        await self._app(scope, bounded(receive), send_named)


def bounded(receive: Receive) -> Receive:
    """Return a body that ends in a refusal once it is too large, or takes too long."""
    taken, is_whole = 0, False
    until_s = asyncio.get_running_loop().time() + BODY_WITHIN_S

    async def receive_some() -> Message:
        nonlocal taken, is_whole
        if is_whole:
            return await receive()
        try:
            async with asyncio.timeout_at(until_s):
                message = await receive()
        except TimeoutError as error:
            raise HTTPException(408) from error
        taken += len(message.get("body", b""))
        is_whole = not message.get("more_body", False)
        if taken > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return receive_some


def refusal(refused: Refused, request_id: str) -> Response:
    """Return the answer to a refused request."""
    reason = REASONS[refused.reason]
    headers = {REASON_HEADER: reason.name}
    if reason.status == 401:
        headers["www-authenticate"] = "Bearer"
    if reason.status == 429:
        headers["retry-after"] = str(math.ceil(PERIOD_S))
    body = refusal_body(reason, refused.message, request_id)
    return Response(body, reason.status, headers, media_type="application/json")


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    reason = _REASON_OF_STATUS.get(error.status_code, "malformed_http")
    meaning = REASONS[reason].meaning
    is_torchserves = request.url.path.split("/")[1] in _TORCHSERVES
    message = f"{meaning} {_NO_MODELS_API}" if error.status_code == 404 and is_torchserves else meaning
    answer = refusal(Refused(reason, message), request.state.request_id)
    answer.headers.update(error.headers or {})
    return answer


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for nothing else
    return refusal(error, request.state.request_id)


async def _refuse_values(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
    wrong = error.errors()
    problems = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in wrong)
    if any(one["loc"][0] == "body" for one in wrong):
        refused = Refused("malformed_body", f"The body cannot be read. {problems}.")
    else:
        refused = Refused("bad_query", f"The query cannot be read. {problems}.")
    return refusal(refused, request.state.request_id)


async def _refuse_failure(request: Request, _: Exception) -> Response:
    message = "The management API failed; the gateway's events say why."
    return refusal(Refused("management_failed", message), request.state.request_id)


def make_api(rooms: Sequence[APIRouter]) -> FastAPI:
    """Return the API without its gatekeeper.

    Raises:
        UnguardedRoute: an endpoint does not say what it needs.
    """
    documented: dict[int | str, dict[str, Any]] = {status: {"model": RefusalReport} for status in (401, 403)}
    api = FastAPI(
        title="Penstock management API",
        version=installed_version(),
        openapi_url=None,  # served below, for whoever has a role
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        responses=documented,
        exception_handlers={
            HTTPException: _refuse_http,
            Refused: _refuse,
            RequestValidationError: _refuse_values,
            Exception: _refuse_failure,
        },
    )
    for room in (*rooms, _own_room(api)):
        guards(room.routes, OPEN_PATHS)
        api.include_router(room)
    return api


def _own_room(api: FastAPI) -> APIRouter:
    room = APIRouter()

    @room.get("/openapi.json", summary="This API as OpenAPI", dependencies=[needs_any_role()])
    async def openapi() -> dict[str, Any]:
        return api.openapi()

    @room.get(LIVE_PATH, summary="The supervisor runs; needs no credential")
    async def live() -> LiveReport:
        return LiveReport()

    return room


def make_app(rooms: Sequence[APIRouter], gate: Callable[[], Gate], sign_in: SignInCaller) -> ASGIApp:
    """Return the application; it knows nothing of the supervisor but its rooms.

    Raises:
        UnguardedRoute: an endpoint does not say what it needs.
    """
    return Gatekeeper(make_api(rooms), gate, sign_in)
