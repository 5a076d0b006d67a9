"""What the sidecar answers on its port: metrics, whether it lives, what is kept, and spans taken in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from telemetry.otlp import receive
from telemetry.sidecar.callers import is_welcome
from telemetry.sidecar.health import Health
from telemetry.sidecar.http import BODY_BYTES, Answer, Refused, Request, plain, refusal
from telemetry.sidecar.kept import Keeps
from telemetry.sidecar.machine.history import POINTS, Told
from telemetry.sidecar.span_intake import of_receiver

_METHODS = {
    "/metrics": "GET",
    "/livez": "GET",
    "/keep": "GET",
    "/machine": "GET",
    "/telemetry": "GET",
    receive.PATH: "POST",
}
_JSON = "application/json"
_DIGITS = 18


class Endpoints:
    """Answers by path.

    Args:
        exposition: called with an ``Accept`` field; returns a content type and a body.
        keeps_after: returns what was kept since a number; None where no list is kept.
        take_spans: answers a request that brings spans.
        bound_hosts: what the port is bound to.
        machine: returns the last hour of what processes and machine did, or so many of its newest values.
        health: returns what became of everything that was told here.
    """

    def __init__(
        self,
        exposition: Callable[[str], tuple[str, bytes]],
        keeps_after: Callable[[int], Keeps | None],
        take_spans: Callable[[Request], Awaitable[Answer]],
        bound_hosts: frozenset[str],
        machine: Callable[[int], Told],
        health: Callable[[], Health],
    ) -> None:
        self._exposition = exposition
        self._keeps_after = keeps_after
        self._take_spans = take_spans
        self._bound_hosts = bound_hosts
        self._machine = machine
        self._health = health

    def answer(self, request: Request) -> Answer | Awaitable[Answer]:
        """Return the answer to one request."""
        path, _, query = request.target.partition("?")
        method = _METHODS.get(path)
        if not is_welcome(request.headers, self._bound_hosts):
            return plain(HTTPStatus.FORBIDDEN)
        if method is None:
            return plain(HTTPStatus.NOT_FOUND)
        if request.method != method:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", method))
        match path:
            case "/metrics":
                return Answer(HTTPStatus.OK, *self._exposition(request.headers.get("accept", "")))
            case "/machine":
                return self._of_machine(query)
            case "/telemetry":
                return _json(self._health())
            case "/keep":
                return self._keep(query)
            case receive.PATH:
                return self._take_spans(request)
        return plain(HTTPStatus.OK)

    def refuse(self, refused: Refused) -> Answer:
        """Return the answer to what is no request that we read; senders of spans are told in their own terms."""
        is_spans = refused.target.partition("?")[0] == receive.PATH
        if is_spans and refused.status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            return of_receiver(receive.too_large(refused.headers, BODY_BYTES))
        return refusal(refused)

    def _of_machine(self, query: str) -> Answer:
        last = _number(query, "last", POINTS)
        return _json(self._machine(last)) if last else plain(HTTPStatus.BAD_REQUEST)

    def _keep(self, query: str) -> Answer:
        number = _number(query, "after", 0)
        if number is None:
            return plain(HTTPStatus.BAD_REQUEST)
        keeps = self._keeps_after(number)
        return plain(HTTPStatus.NOT_FOUND) if keeps is None else _json(keeps)


def _number(query: str, name: str, usual: int) -> int | None:
    """Return a number that a query has; None where it is none."""
    text = parse_qs(query).get(name, [str(usual)])[0]
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _DIGITS else None


def _json(told: Struct) -> Answer:
    return Answer(HTTPStatus.OK, _JSON, msgspec.json.encode(told))
