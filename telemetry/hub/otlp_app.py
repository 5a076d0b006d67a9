"""The OTLP receiver as an application: bodies and gRPC's messages are decoded in a thread, within bounds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from telemetry.otlp.receive import (
    PATH,
    Answer,
    Encoding,
    Refused,
    Take,
    answer,
    busy,
    no_time,
    taken,
    too_large,
    too_slow,
)

BODY_BYTES = 8 * 2**20
HELD_BYTES = 64 * 2**20
"""Of all bodies that are read or wait to be decoded; who comes beyond may come again."""
BODY_WITHIN_S = 10.0
DECODE_WITHIN_S = 5.0
"""Since the body is whole. Its spans may be stored all the same, and are when they come again: only once."""

Said = TypeVar("Said")


class OtlpApp:
    """``POST /v1/traces``; ``told`` is called with the status of each answer."""

    def __init__(self, take: Take, told: Callable[[int], None]) -> None:
        self._take = take
        self._told = told
        self._held_bytes = 0
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
            response = _response(await self._receive(request))
        self._told(response.status_code)
        await response(scope, receive, send)

    async def take_message(self, packing: str, message: bytes) -> bytes:
        """Return the message that answers one that came by gRPC.

        Raises:
            Refused: it is not taken.
        """
        status = 200
        self._held_bytes += len(message)
        try:
            if self._held_bytes > HELD_BYTES:
                raise no_time()
            return await self._in_thread(lambda: taken(Encoding.PROTOBUF, packing, message, self._take, BODY_BYTES))
        except TimeoutError:
            status = 503
            raise no_time() from None
        except Refused as refused:
            status = refused.status
            raise
        finally:
            self._held_bytes -= len(message)
            self._told(status)

    def close(self) -> None:
        """Begin no further decoding."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _receive(self, request: Request) -> Answer:
        headers = dict(request.headers)
        body = bytearray()
        try:
            refused = await self._read(request, headers, body)
            return refused or await self._decode(headers, bytes(body))
        finally:
            self._held_bytes -= len(body)

    async def _read(self, request: Request, headers: Mapping[str, str], body: bytearray) -> Answer | None:
        """Read the whole body, or return what to answer instead."""
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                async for some in request.stream():
                    body += some
                    self._held_bytes += len(some)
                    if len(body) > BODY_BYTES:
                        return too_large(headers, BODY_BYTES)
                    if self._held_bytes > HELD_BYTES:
                        return busy(headers)
        except (TimeoutError, ClientDisconnect):
            return too_slow(headers)
        return None

    async def _decode(self, headers: Mapping[str, str], body: bytes) -> Answer:
        try:
            return await self._in_thread(lambda: answer(headers, body, self._take, BODY_BYTES))
        except TimeoutError:
            return busy(headers)

    async def _in_thread(self, decode: Callable[[], Said]) -> Said:
        # One that waits for its turn is left out when its time is over; one that runs cannot be stopped.
        async with asyncio.timeout(DECODE_WITHIN_S):
            return await asyncio.get_running_loop().run_in_executor(self._thread, decode)


def _response(answered: Answer) -> Response:
    headers = {"content-type": answered.content_type, **dict(answered.headers)}
    if answered.status in (408, 413):
        headers["connection"] = "close"  # what is left of the body is not waited for
    return Response(answered.body, answered.status, headers)
