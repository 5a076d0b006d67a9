"""Intake: what gateway workers tell, each over its own connection to one Unix socket; always read, and doubted.

A frame that is none of ours, or larger than any that is told, ends its connection; the worker connects again.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, cast

import msgspec

from gateway.copies.messages import MAX_COPIED_BYTES, Answered, FromGatewayWorker, LateLabels
from model_pod.wire.frames import BadFrame, FrameDecoder
from telemetry.logs.line import warning

SOCKET_NAME = "copies.sock"
# A request's fields and names; and of late labels as much as callers may tell at once.
_MOST_HEAD_BYTES = 4 * 2**20
_BODIES = 2
_BACKLOG = 128


class Takes(Protocol):
    """Who gets what workers tell."""

    def answered(self, answered: Answered, body: bytes, answer_body: bytes) -> None:
        """A request was answered."""
        ...

    def late_labels(self, labels: LateLabels) -> None:
        """Labels were told."""
        ...


class Intake:
    """The listening socket.

    Attributes:
        path: where workers connect.
    """

    def __init__(self, state: Path, takes: Takes, say: Callable[[str], None]) -> None:
        self.path = state / SOCKET_NAME
        self._takes = takes
        self._say = say
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Transport] = set()

    async def listen(self) -> None:
        """Make the socket anew: whoever held it before is gone.

        Raises:
            OSError: it cannot be made.
        """
        self.path.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            listening.bind(str(self.path))
            self.path.chmod(0o600)
            loop = asyncio.get_running_loop()
            make = lambda: _Connection(self._takes, self._say, self._connections)  # noqa: E731 - a factory of three names
            self._server = await loop.create_unix_server(make, sock=listening, backlog=_BACKLOG)
        except OSError:
            listening.close()
            raise

    def close(self) -> None:
        """Take no more."""
        if self._server is not None:
            self._server.close()
        for transport in tuple(self._connections):
            transport.abort()
        self.path.unlink(missing_ok=True)


class _Connection(asyncio.Protocol):
    """One worker's."""

    def __init__(self, takes: Takes, say: Callable[[str], None], connections: set[asyncio.Transport]) -> None:
        self._takes = takes
        self._say = say
        self._connections = connections
        self._transport: asyncio.Transport | None = None
        self._decoder: FrameDecoder[FromGatewayWorker] = FrameDecoder(
            FromGatewayWorker,  # type: ignore[arg-type]  # a union is a type here
            _MOST_HEAD_BYTES,
            _BODIES * MAX_COPIED_BYTES,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._connections.add(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message, blobs in self._decoder.feed(data):
                self._take(message, blobs)
        except (BadFrame, msgspec.MsgspecError, UnicodeDecodeError) as error:
            self._say(warning(f"what a gateway worker tells cannot be read: {error}"))
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._transport is not None:
            self._connections.discard(self._transport)

    def _take(self, message: FromGatewayWorker, blobs: Sequence[memoryview]) -> None:
        if isinstance(message, LateLabels):
            self._takes.late_labels(message)
            return
        if len(blobs) != _BODIES or any(len(blob) > MAX_COPIED_BYTES for blob in blobs):
            raise BadFrame("an answered request has two bodies of bounded size")
        body, answer_body = map(bytes, blobs)
        self._takes.answered(message, body, answer_body)
