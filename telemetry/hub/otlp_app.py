"""The OTLP receiver as an application: bodies are read within bounds and decoded in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from telemetry.otlp.receive import PATH, Answer, Take, answer, too_large

BODY_BYTES = 8 * 2**20
BODIES = 8
"""So many are read and decoded at once; others wait for their turn."""
BODY_WITHIN_S = 10.0


class OtlpApp:
    """``POST /v1/traces``; ``told`` is called with the status of each answer."""

    def __init__(self, take: Take, told: Callable[[int], None]) -> None:
        self._take = take
        self._told = told
        self._turns = asyncio.Semaphore(BODIES)
        self._thread = ThreadPoolExecutor(1, "otlp")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request; nothing else is served."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        if request.url.path != PATH:
            response = Response("not found\n", 404)
        elif request.method != "POST":
            response = Response("method not allowed\n", 405, {"allow": "POST"})
        else:
            response = await self._receive(request)
        self._told(response.status_code)
        await response(scope, receive, send)

    def close(self) -> None:
        """Begin no further decoding."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _receive(self, request: Request) -> Response:
        try:
            async with asyncio.timeout(BODY_WITHIN_S), self._turns:
                return _response(await self._answer(request))
        except (TimeoutError, ClientDisconnect):
            return Response("request timeout\n", 408, {"connection": "close"})

    async def _answer(self, request: Request) -> Answer:
        headers = dict(request.headers)
        body = bytearray()
        async for some in request.stream():
            body += some
            if len(body) > BODY_BYTES:
                return too_large(headers, BODY_BYTES)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, answer, headers, bytes(body), self._take, BODY_BYTES)


def _response(answered: Answer) -> Response:
    headers = {"content-type": answered.content_type, **dict(answered.headers)}
    return Response(answered.body, answered.status, headers)
