"""What the sidecar answers on its port: metrics, whether it lives, what is kept, and spans taken in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import parse_qs

import msgspec

from telemetry.otlp import receive
from telemetry.sidecar.http import BODY_BYTES, Answer, Request, plain
from telemetry.sidecar.kept import Keeps
from telemetry.span import Span

_METHODS = {"/metrics": "GET", "/livez": "GET", "/keep": "GET", receive.PATH: "POST"}
_JSON = "application/json"


class Endpoints:
    """Answers by path.

    Args:
        exposition: called with an ``Accept`` field; returns a content type and a body.
        keeps_after: returns what was kept since a number; None where no list is kept.
        take_spans: takes spans in.
    """

    def __init__(
        self,
        exposition: Callable[[str], tuple[str, bytes]],
        keeps_after: Callable[[int], Keeps | None],
        take_spans: Callable[[Sequence[Span]], None],
    ) -> None:
        self._exposition = exposition
        self._keeps_after = keeps_after
        self._take_spans = take_spans

    def answer(self, request: Request) -> Answer:
        """Return the answer to one request."""
        path, _, query = request.target.partition("?")
        method = _METHODS.get(path)
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
                return self._spans(request)
        return plain(HTTPStatus.OK)

    def _keep(self, query: str) -> Answer:
        number = parse_qs(query).get("after", ["0"])[0]
        if not number.isascii() or not number.isdecimal() or len(number) > 18:
            return plain(HTTPStatus.BAD_REQUEST)
        keeps = self._keeps_after(int(number))
        if keeps is None:
            return plain(HTTPStatus.NOT_FOUND)
        return Answer(HTTPStatus.OK, _JSON, msgspec.json.encode(keeps))

    def _spans(self, request: Request) -> Answer:
        said = receive.answer(request.headers, request.body, self._take, max_bytes=BODY_BYTES)
        return Answer(said.status, said.content_type, said.body, said.headers)

    def _take(self, spans: list[Span]) -> int:
        """Take all: where there is no room older ones go, and are counted."""
        self._take_spans(spans)
        return 0
