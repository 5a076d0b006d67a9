"""The back end behind every proxy: answers 200 bytes of JSON as fast as Python and llhttp can.

Run by its path, not as a module, with a Unix socket's path and a port: it imports nothing of this repository.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

import httptools
import uvloop

_PREFIX = b'{"label": 7, "probabilities": ['
BODY = _PREFIX + b"0.1".ljust(200 - len(_PREFIX) - 2) + b"]}"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"
OTHER_ANSWERS = {b"/penstock/pod": _NOT_FOUND}  # it is a foreign server to the gateway, not one of its pods


class Stub(asyncio.Protocol):
    """One connection: an answer for each request, in order."""

    def __init__(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._answer = ANSWER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._answer = OTHER_ANSWERS.get(url, ANSWER)

    def on_message_complete(self) -> None:
        if self._transport is not None:
            self._transport.write(self._answer)


async def serve(path: str, port: int) -> None:
    """Serve on both for as long as the process lives."""
    loop = asyncio.get_running_loop()
    on_path = await loop.create_unix_server(Stub, path, backlog=1024)
    on_port = await loop.create_server(Stub, "127.0.0.1", port, backlog=1024)
    await asyncio.gather(on_path.serve_forever(), on_port.serve_forever())


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
