"""Upstream: one exchange with one pod, over pooled HTTP/1.1 connections on a Unix socket or TCP.

The narrow side is ``Upstream.open`` and ``Exchange``: what forwards a request knows nothing of connections, so another
transport can take this one's place.
"""

from __future__ import annotations

import asyncio
import errno
from typing import Protocol, cast

from gateway.errors import PodBroke, PodFailed, PodUnreachable
from model_pod.wire.http1 import END, ResponseHead, ResponseReader

Piece = bytes | memoryview

_CONNECT_TIMEOUT_S = 1.0
_MAX_IDLE = 128
# Shorter than the pod's own keep-alive time (75 s), so that a request never meets a connection that is being closed.
_IDLE_S = 55.0
# A request may send this much before its connection stands; then it waits.
_MAX_UNSENT_BYTES = 64 * 1024
_OUR_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Receiver(Protocol):
    """Who gets what a pod answers. After ``on_end`` or ``on_failed`` nothing more comes."""

    def on_head(self, response: ResponseHead) -> None: ...
    def on_data(self, piece: memoryview) -> None: ...
    def on_end(self) -> None: ...
    def on_failed(self, error: PodFailed) -> None: ...
    def on_room(self, has_room: bool) -> None:
        """The way to the pod is full (stop sending), or has room again."""
        ...


class Exchange(Protocol):
    """One request on its way to a pod, and its answer on the way back."""

    def send(self, piece: Piece) -> None:
        """Send the next bytes of the request."""
        ...

    def finish(self) -> None:
        """The request is whole."""
        ...

    def cancel(self) -> None:
        """Nobody waits for the answer any more; the pod learns of it at once, and the receiver hears nothing."""
        ...

    def hold(self, held: bool) -> None:
        """Stop (or go on) reading the answer, because its reader is slow."""
        ...


class Upstream:
    """Exchanges with the pod at one address.

    Args:
        address: ``unix:/path`` or ``host:port``.
    """

    def __init__(self, address: str, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._loop = loop
        self._idle: list[_Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._closed = False

    def open(self, method: str, head: bytes, receiver: Receiver) -> Exchange:
        """Begin an exchange by sending the request's head."""
        connection = self._idle_connection()
        if connection is None:
            connection = _Connection(self)
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)
        connection.begin(method, head, receiver)
        return connection

    def close(self) -> None:
        """Close what is idle; exchanges under way end in their own time."""
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _idle_connection(self) -> _Connection | None:
        oldest_s = self._loop.time() - _IDLE_S
        while self._idle:
            connection = self._idle.pop()
            if connection.idle_since_s > oldest_s:
                return connection
            connection.close()
        return None

    async def _connect(self, connection: _Connection) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                await self._open_transport(connection)
        except Exception as error:  # a bad address too: whatever it is, the request must not wait for ever
            connection.on_unreachable(error)

    async def _open_transport(self, connection: _Connection) -> None:
        kind, _, path = self._address.partition(":")
        if kind == "unix":
            await self._loop.create_unix_connection(lambda: connection, path)
        else:
            host, _, port = self._address.rpartition(":")
            await self._loop.create_connection(lambda: connection, host.strip("[]"), int(port))

    def recycle(self, connection: _Connection) -> None:
        """Keep a connection whose exchange is over for the next one."""
        if self._closed or len(self._idle) >= _MAX_IDLE:
            connection.close()
        else:
            connection.idle_since_s = self._loop.time()
            self._idle.append(connection)

    def forget(self, connection: _Connection) -> None:
        """Drop a connection that ended while idle."""
        if connection in self._idle:
            self._idle.remove(connection)


class _Connection(asyncio.Protocol):
    """One connection to a pod: at most one exchange at a time."""

    def __init__(self, upstream: Upstream) -> None:
        self.idle_since_s = 0.0
        self._upstream = upstream
        self._transport: asyncio.Transport | None = None
        self._unsent: list[Piece] = []  # while connecting
        self._unsent_bytes = 0
        self._receiver: Receiver | None = None
        self._reader: ResponseReader | None = None
        self._keep = False  # the answer allows another exchange on this connection
        self._request_whole = False
        self._given_up = False

    # --- the exchange, as the one who forwards sees it

    def begin(self, method: str, head: bytes, receiver: Receiver) -> None:
        self._receiver = receiver
        self._reader = ResponseReader(method)
        self._request_whole = False
        self.send(head)

    def send(self, piece: Piece) -> None:
        if self._transport is not None:
            self._transport.write(piece)
            return
        self._unsent.append(piece)
        self._unsent_bytes += len(piece)
        if self._unsent_bytes > _MAX_UNSENT_BYTES and self._receiver is not None:
            self._receiver.on_room(False)

    def finish(self) -> None:
        self._request_whole = True

    def cancel(self) -> None:
        self._receiver = None
        self._given_up = True
        if self._transport is not None:
            self._transport.abort()

    def hold(self, held: bool) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def close(self) -> None:
        """Close an idle connection."""
        self._given_up = True
        if self._transport is not None:
            self._transport.close()

    # --- the socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._given_up:
            self._transport.abort()
            return
        self._transport.writelines(self._unsent)
        self._unsent.clear()
        if self._unsent_bytes > _MAX_UNSENT_BYTES and self._receiver is not None:
            self._receiver.on_room(True)

    def on_unreachable(self, error: Exception) -> None:
        """No connection came about; what was to be sent goes back to the receiver."""
        if self._transport is not None:  # it stood just when its time was over, and the request is on its way
            self._break_off(PodBroke("the connection came too late"))
            return
        is_ours = isinstance(error, OSError) and error.errno in _OUR_FAULT
        self._fail(PodUnreachable(f"no connection to the pod: {error}", self._unsent, is_pods_fault=not is_ours))

    def data_received(self, data: bytes) -> None:
        reader = self._reader
        if reader is None or self._receiver is None:  # bytes that nobody asked for: the pod has lost its place
            self.close()
            return
        reader.feed(data)
        try:
            self._tell(reader)
        except ValueError as error:
            self._break_off(PodBroke(str(error), "pod_bad_answer"))

    def _tell(self, reader: ResponseReader) -> None:
        while self._receiver is not None and (event := reader.next_event()) is not None:
            if isinstance(event, ResponseHead):
                self._keep = event.keep_alive
                self._receiver.on_head(event)
            elif event is END:
                self._end(reader)
            else:
                self._receiver.on_data(event)

    def _end(self, reader: ResponseReader) -> None:
        receiver, self._receiver, self._reader = self._receiver, None, None
        if self._keep and self._request_whole and not reader.unread_bytes:
            self.hold(False)  # a slow caller may have stopped it; the next exchange has another caller
            self._upstream.recycle(self)
        else:
            self.close()
        if receiver is not None:
            receiver.on_end()

    def eof_received(self) -> bool:
        if self._reader is not None and self._reader.at_eof():
            self._keep = False
            self._end(self._reader)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.forget(self)
        self._fail(PodBroke("the pod closed the connection before its answer was whole"))

    def pause_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.on_room(False)

    def resume_writing(self) -> None:
        if self._receiver is not None:
            self._receiver.on_room(True)

    def _break_off(self, error: PodFailed) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._fail(error)

    def _fail(self, error: PodFailed) -> None:
        receiver, self._receiver, self._reader = self._receiver, None, None
        if receiver is not None:
            receiver.on_failed(error)
