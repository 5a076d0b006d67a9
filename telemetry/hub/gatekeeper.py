"""Stands before an application: nobody passes whom the door refuses, and people log in where that is asked for."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Final
from urllib.parse import parse_qs

import msgspec
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from telemetry.hub.door import Door
from telemetry.hub.gate import COOKIE, LOGIN_PATH, LOGOUT_PATH, Caller, Refused, login_path, place_after_login
from telemetry.hub.guesses import PERIOD_S
from telemetry.hub.sessions import LASTS_S

# Says to scripts that there is something to log out of; it opens nothing.
MARK: Final = "penstock-hub-session"
_FORM_BYTES = 4096
_POLICY = (
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'; img-src 'self'"
)
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">{head}<title>Penstock</title>
<link rel="stylesheet" href="/static/penstock.css"></head>
<body><main class="login"><h1>Penstock</h1>{body}</main></body></html>
"""
_FORM = """{said}<form method="post" action="/login"><input type="hidden" name="next" value="{place}">
<label>Token <input type="password" name="token" autocomplete="current-password" autofocus required></label>
<button>Log in</button></form>
<p class="dim">The hub's token is in the file that it was started with; under <code>penstock up</code> that is
<code>hub-token</code> in the state directory.</p>"""
_INSIDE = """<p>You are logged in. <a href="/">To the pages</a></p>
<form method="post" action="/logout"><button>Log out</button></form>"""


class Gatekeeper:
    """Refuses callers before any route is looked for.

    Args:
        told: called with the status of each refusal; the application counts its own answers.
    """

    def __init__(self, app: ASGIApp, door: Door, told: Callable[[int], None] | None = None) -> None:
        self._app = app
        self._door = door
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; nothing else is served."""
        if scope["type"] != "http":
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                # Nothing for others; to ourselves it is what browsers name a form's origin by, which the gate asks for.
                headers.setdefault("referrer-policy", "same-origin")
                headers.setdefault("cache-control", "no-store")
            await send(message)

        caller = Caller(scope["method"], scope["path"], tuple(Headers(scope=scope).items()))
        address, _ = scope.get("client") or ("", 0)
        try:
            self._door.admit(caller, address)
            answer = await self._own_answer(caller, Request(scope, receive), address)
        except Refused as refused:
            answer = _refusal(refused, caller, scope)
            if self._told is not None:
                self._told(refused.status)
        await (answer or self._app)(scope, receive, send_guarded)

    async def _own_answer(self, caller: Caller, request: Request, address: str) -> Response | None:
        """Return the answer to who logs in or out; None for what is the application's."""
        if not self._door.gate.token or caller.path not in (LOGIN_PATH, LOGOUT_PATH):
            return None
        if caller.path == LOGOUT_PATH:
            return self._logged_out(caller)
        if caller.method == "POST":
            return await self._login(caller, request, address)
        wanted = request.query_params.get("next")
        place = place_after_login(wanted or "/")
        if self._door.has_session(caller):
            return _page(_INSIDE) if wanted is None else RedirectResponse(place, 303)
        code = request.query_params.get("code")
        if code is None or caller.method != "GET":
            return _form("", place)
        if self._door.is_invited(code, address):
            return self._logged_in(caller, "/")
        return _form("<p>This link was used before, or is too old.</p>", place, 401)

    async def _login(self, caller: Caller, request: Request, address: str) -> Response:
        try:
            given = parse_qs((await _body(request)).decode("ascii"))
        except (ValueError, ClientDisconnect):
            given = {}
        place = place_after_login(given.get("next", ["/"])[0])
        if not self._door.knows(given.get("token", [""])[0].strip(), address):
            return _form("<p>This is not the token.</p>", place, 401)
        return self._logged_in(caller, place)

    def _logged_in(self, caller: Caller, place: str) -> Response:
        answer = RedirectResponse(place, 303)
        is_secure = _came_by_tls(caller)
        answer.set_cookie(
            COOKIE, self._door.begin_session(), int(LASTS_S), httponly=True, samesite="strict", secure=is_secure
        )
        answer.set_cookie(MARK, "1", int(LASTS_S), samesite="strict", secure=is_secure)
        return answer

    def _logged_out(self, caller: Caller) -> Response:
        if caller.method != "POST":
            return Response(status_code=405, headers={"allow": "POST"})
        self._door.end_sessions(caller)
        answer = RedirectResponse(LOGIN_PATH, 303)
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
        answer.delete_cookie(MARK, samesite="strict")
        return answer


def _came_by_tls(caller: Caller) -> bool:
    """Whether a browser speaks TLS to whatever stands before the hub."""
    is_secure_page = any(origin.startswith("https://") for origin in caller.values("origin"))
    return is_secure_page or caller.values("x-forwarded-proto") == ["https"]


async def _body(request: Request) -> bytes:
    body = b""
    async for some in request.stream():
        body += some
        if len(body) > _FORM_BYTES:
            raise ValueError("no form of ours")
    return body


def _form(said: str, place: str, status: int = 200) -> Response:
    return _page(_FORM.format(said=said, place=escape(place)), status)


def _onward(place: str) -> Response:
    """Return a page that goes on by itself: what it leads to is then asked for by us, and so with our cookie."""
    return _page(
        f'<p><a href="{escape(place)}">Go on</a></p>',
        head=f'<meta http-equiv="refresh" content="0;url={escape(place)}">',
    )


def _page(body: str, status: int = 200, head: str = "") -> Response:
    headers = {"content-security-policy": _POLICY}
    return Response(_PAGE.format(head=head, body=body), status, headers, media_type="text/html")


def _refusal(refused: Refused, caller: Caller, scope: Scope) -> Response:
    is_for_people = any("text/html" in accepted for accepted in caller.values("accept"))
    if refused.status == 401 and is_for_people:
        where = login_path(_target(scope)) if caller.method == "GET" else LOGIN_PATH
        return _onward(where) if caller.came_from_elsewhere else RedirectResponse(where, 303)
    if refused.status == 429 and is_for_people:
        answer = _page(f"<p>{escape(str(refused))}</p>", refused.status)
    else:
        body = msgspec.json.encode({"error": str(refused)})
        answer = Response(body, refused.status, media_type="application/json")
    if refused.status == 401:
        answer.headers["www-authenticate"] = "Bearer"
    if refused.status == 429:
        answer.headers["retry-after"] = f"{PERIOD_S:.0f}"
    return answer


def _target(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    path = scope["raw_path"].decode("latin-1")
    return f"{path}?{query}" if query else path
