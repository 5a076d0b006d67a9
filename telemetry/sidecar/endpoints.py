"""What the sidecar answers on its port: metrics, whether it lives, what is kept, and spans taken in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec

from telemetry.otlp import receive
from telemetry.sidecar.callers import is_welcome
from telemetry.sidecar.http import BODY_BYTES, Answer, Refused, Request, plain, refusal
from telemetry.sidecar.kept import Keeps
from telemetry.sidecar.span_intake import of_receiver

_METHODS = {"/metrics": "GET", "/livez": "GET", "/keep": "GET", receive.PATH: "POST"}
_JSON = "application/json"


class Endpoints:
    """Answers by path.

    Args:
        exposition: called with an ``Accept`` field; returns a content type and a body.
        keeps_after: returns what was kept since a number; None where no list is kept.
        take_spans: answers a request that brings spans.
        bound_hosts: what the port is bound to.
    """

    def __init__(
        self,
        exposition: Callable[[str], tuple[str, bytes]],
        keeps_after: Callable[[int], Keeps | None],
        take_spans: Callable[[Request], Awaitable[Answer]],
        bound_hosts: frozenset[str],
    ) -> None:
        self._exposition = exposition
        self._keeps_after = keeps_after
        self._take_spans = take_spans
        self._bound_hosts = bound_hosts

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

    def _keep(self, query: str) -> Answer:
        number = parse_qs(query).get("after", ["0"])[0]
        if not number.isascii() or not number.isdecimal() or len(number) > 18:
            return plain(HTTPStatus.BAD_REQUEST)
        keeps = self._keeps_after(int(number))
        if keeps is None:
            return plain(HTTPStatus.NOT_FOUND)
        return Answer(HTTPStatus.OK, _JSON, msgspec.json.encode(keeps))
