"""Stands before an application: nobody passes whom the gate refuses, and people log in where that is asked for."""

from __future__ import annotations

from urllib.parse import parse_qs

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.hub.gate import COOKIE, LOGIN_PATH, Caller, Gate, Refused

_FORM_BYTES = 4096
_SESSION_S = 12 * 3600
_POLICY = "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
_FORM = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Penstock</title>
<meta name="color-scheme" content="dark light"></head><body><main><h1>Penstock</h1>{said}<form method="post">
<label>Token <input type="password" name="token" autocomplete="current-password" autofocus required></label>
<button>Log in</button></form></main></body></html>
"""


class Gatekeeper:
    """Refuses callers before any route is looked for."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; nothing else is served."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "no-referrer")
                headers.setdefault("cache-control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._gate.admit(Caller(scope["method"], scope["path"], tuple(headers.items())))
        except Refused as refused:
            await _refusal(refused, headers)(scope, receive, send_guarded)
            return
        if self._gate.token and scope["path"] == LOGIN_PATH:
            answer = await self._login(Request(scope, receive))
            await answer(scope, receive, send_guarded)
            return
        await self._app(scope, receive, send_guarded)

    async def _login(self, request: Request) -> Response:
        if request.method != "POST":
            return _form("")
        try:
            token = parse_qs((await _body(request)).decode("ascii")).get("token", [""])[0]
        except (ValueError, ClientDisconnect):
            token = ""
        if not self._gate.knows(token):
            return _form("<p>This is not the token.</p>", 401)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(COOKIE, self._gate.cookie(), _SESSION_S, httponly=True, samesite="strict")
        return answer


async def _body(request: Request) -> bytes:
    body = b""
    async for some in request.stream():
        body += some
        if len(body) > _FORM_BYTES:
            raise ValueError("no form of ours")
    return body


def _form(said: str, status: int = 200) -> Response:
    headers = {"content-security-policy": _POLICY}
    return Response(_FORM.format(said=said), status, headers, media_type="text/html")


def _refusal(refused: Refused, headers: Headers) -> Response:
    if refused.status == 401 and "text/html" in headers.get("accept", ""):
        return RedirectResponse(LOGIN_PATH, 303)
    body = msgspec.json.encode({"error": str(refused)})
    answer = Response(body, refused.status, media_type="application/json")
    if refused.status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    return answer
