"""The back end behind our gateway: speaks the link as fast as Python can, and answers each request with 200 bytes.

Run by its path, not as a module, as ``link_stub.py json|grpc ADDRESS...``, each a Unix socket's path or HOST:PORT: it
imports nothing of this repository, and parses no more of a request than its frame, so that the gateway is what is
measured.
"""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import Sequence
from functools import partial
from typing import cast

import msgspec
import uvloop

PREFACE = b"PENSTOCK-LINK/1\r\n"
_PREFIX = b'{"label": 7, "probabilities": ['
BODY = _PREFIX + b"0.1".ljust(200 - len(_PREFIX) - 2) + b"]}"
# inference.ModelInferResponse: model_name "stub", and raw_output_contents of 185 bytes.
GRPC_MESSAGE = b"\x0a\x04stub\x32\xb9\x01" + b"\x00\x00\x80\x3f" * 46 + b"\x00"
_GRPC_BODY = b"\x00" + len(GRPC_MESSAGE).to_bytes(4, "big") + GRPC_MESSAGE
_USAGE = b"penstock-usage: device_us=0;batch=1;queue_us=0\r\n"
_STATUS = {"model": "", "version": "", "state": "ready", "was_ready": True, "link": 1}
_HEADER = struct.Struct("<IIIB")
_CREDIT = struct.Struct("<IIIBI")
_REQUEST, _DATA, _CREDIT_KIND, _ANSWER_LAST, _LAST = 1, 3, 5, 2 | 0x80, 0x80


def whole_answer(content_type: bytes, body: bytes) -> tuple[int, bytes]:
    """Return how long the head of an answer is, and the answer."""
    fields = b"content-type: %s\r\n" % content_type + _USAGE
    head = msgspec.msgpack.encode((200, "", "", fields, b"queue;dur=0.010", len(body), 0, 0, 1, 100))
    return len(head), head + body


ANSWERS = {"json": whole_answer(b"application/json", BODY), "grpc": whole_answer(b"application/grpc", _GRPC_BODY)}


class LinkStub(asyncio.Protocol):
    """One connection: the link, or one answer to a probe."""

    def __init__(self, head_bytes: int, answer: bytes) -> None:
        self._head_bytes = head_bytes
        self._answer = answer
        self._transport: asyncio.Transport | None = None
        self._pending = b""
        self._is_link = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        data = self._pending + data
        assert self._transport is not None  # connection_made comes first
        if not self._is_link:
            if not data.startswith(PREFACE):
                body = msgspec.json.encode(_STATUS)
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                self._transport.write(head % len(body) + body)
                return
            self._is_link = True
            self._transport.write(PREFACE)
            data = data[len(PREFACE) :]
        self._transport.write(b"".join(self._answers(data)))

    def _answers(self, data: bytes) -> list[bytes]:
        out: list[bytes] = []
        at, end = 0, len(data)
        answer, head_bytes = self._answer, self._head_bytes
        while end - at >= _HEADER.size:
            size, stream, head_size, kind = _HEADER.unpack_from(data, at)
            if at + _HEADER.size + size > end:
                break
            at += _HEADER.size + size
            body_bytes = size - head_size
            if kind in (_REQUEST | _LAST, _DATA | _LAST):
                out.append(_HEADER.pack(len(answer), stream, head_bytes, _ANSWER_LAST) + answer)
            elif kind in (_REQUEST, _DATA) and body_bytes:
                out.append(_CREDIT.pack(4, stream, 4, _CREDIT_KIND, body_bytes))
        self._pending = data[at:]
        return out


async def serve(kind: str, addresses: Sequence[str]) -> None:
    """Serve at each of the addresses for as long as the process lives."""
    loop = asyncio.get_running_loop()
    make = partial(LinkStub, *ANSWERS[kind])
    servers = []
    for address in addresses:
        host, _, port = address.rpartition(":")
        if address.startswith("/"):
            servers.append(await loop.create_unix_server(make, address, backlog=1024))
        else:
            servers.append(await loop.create_server(make, host, int(port), backlog=1024))
    await asyncio.gather(*(server.serve_forever() for server in servers))


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], sys.argv[2:]))
