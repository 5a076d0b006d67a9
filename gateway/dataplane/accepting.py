"""Accepting: takes connections from one listening socket, as many as the worker can serve, and answers those beyond.

The loop's own servers close every waiting connection without a word when descriptors are used up, take the whole queue
in one turn, and cannot be told to wait; so this one accepts by itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from gateway.dataplane.tls import Door
from gateway.dataplane.vanished import end_silent_connections
from gateway.tls import HANDSHAKE_WITHIN_S

# A worker that takes few at a time leaves the rest of a burst to its siblings.
AT_ONCE = 16
# Handshakes at a time on one door. One more ends the oldest, which has stalled: a sound one takes milliseconds.
MOST_HANDSHAKES = 512
# Descriptors kept back to answer connections that find none.
RESERVED = 32
_REST_S = 0.1
# How long a refused client may take to read its answer; closing at once would destroy the answer on its way.
_LINGER_S = 0.15
_MOST_UNREAD_BYTES = 64 * 1024
_USED_UP = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Refuse = Callable[[], bytes]
"""Counts a connection that is refused for want of descriptors, and returns the whole answer to it."""


class Reserve:
    """Descriptors that stand open for nothing, so that closing one makes room for a refusal."""

    def __init__(self) -> None:
        self._spare: list[int] = []
        self.refill()

    def refill(self) -> None:
        """Take as many as are missing and can be had."""
        try:
            while len(self._spare) < RESERVED:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return  # what is missing is tried for again when the next one is wanted

    def take(self) -> bool:
        """Make room for one descriptor, if there is any."""
        if not self._spare:
            self.refill()
        if self._spare:
            os.close(self._spare.pop())
            return True
        return False

    def close(self) -> None:
        """Give all of it up."""
        while self._spare:
            os.close(self._spare.pop())


class Acceptor:
    """One listening socket of a worker.

    Args:
        make_protocol: makes what serves a connection.
        refuse: see ``Refuse``; nothing that TLS would understand, so such a door only closes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        door: Door,
        make_protocol: Callable[[], asyncio.Protocol],
        reserve: Reserve,
        refuse: Refuse,
    ) -> None:
        self._loop = loop
        self._door = door
        self._make_protocol = make_protocol
        self._reserve = reserve
        self._refuse = refuse
        self._is_held = False
        self._is_closed = False
        self._rest: asyncio.TimerHandle | None = None
        self._admitting: dict[asyncio.Task[None], socket.socket] = {}
        self._refused: set[_Refused] = set()
        door.socket.setblocking(False)
        end_silent_connections(door.socket)
        loop.add_reader(door.socket, self._on_readable)

    @property
    def is_admitting(self) -> bool:
        """Whether connections that it took are not served yet: they are in their handshake, for seconds at most."""
        return bool(self._admitting)

    def hold(self, held: bool) -> None:
        """Leave connections in the kernel's queue, or take them again."""
        if held == self._is_held or self._is_closed:
            return
        self._is_held = held
        if self._rest is None:
            self._listen(not held)

    def close(self) -> None:
        """Take no more; what waits in the queue is for siblings."""
        if not self._is_closed:
            self._is_closed = True
            if self._rest is not None:
                self._rest.cancel()
            self._listen(False)
            self._door.socket.close()

    def _listen(self, listens: bool) -> None:
        if listens:
            self._loop.add_reader(self._door.socket, self._on_readable)
        else:
            self._loop.remove_reader(self._door.socket)

    def _on_readable(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, _peer = self._door.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                # Whatever else accept(2) reports is of the one connection that it would have been.
                if error.errno in _USED_UP and not self._refuse_one():
                    self._rest_a_while()
                    return
                continue
            self._admit(connection)

    def _admit(self, connection: socket.socket) -> None:
        task = self._loop.create_task(self._serve(connection))
        self._admitting[task] = connection
        task.add_done_callback(self._on_admitted)
        if len(self._admitting) > MOST_HANDSHAKES:
            oldest = next(iter(self._admitting))
            self._admitting[oldest] = self._admitting.pop(oldest)  # counted until it has ended; others are older now
            oldest.cancel()

    async def _serve(self, connection: socket.socket) -> None:
        context = self._door.context
        within_s = HANDSHAKE_WITHIN_S if context is not None else None
        await self._loop.connect_accepted_socket(
            self._make_protocol, connection, ssl=context, ssl_handshake_timeout=within_s
        )

    def _on_admitted(self, task: asyncio.Task[None]) -> None:
        connection = self._admitting.pop(task)
        if task.cancelled():  # it may not even have begun
            connection.close()
        elif error := task.exception():
            connection.close()
            if not isinstance(error, OSError):  # no handshake that failed or took too long, but a defect
                raise error

    # --- without descriptors

    def _refuse_one(self) -> bool:
        """Answer the next connection by a descriptor of the reserve; return whether there was one."""
        if not self._reserve.take():
            return False
        try:
            connection, _ = self._door.socket.accept()
        except OSError:
            self._reserve.refill()
            return False
        connection.setblocking(False)
        answer = self._refuse()
        self._refused.add(_Refused(self._loop, connection, b"" if self._door.context else answer, self._on_left))
        return True

    def _on_left(self, refused: _Refused) -> None:
        self._refused.discard(refused)
        self._reserve.refill()

    def _rest_a_while(self) -> None:
        """Not even a refusal is possible: a queue that cannot be taken from would wake the loop without end."""
        self._listen(False)
        self._rest = self._loop.call_later(_REST_S, self._go_on)

    def _go_on(self) -> None:
        self._rest = None
        if not self._is_held:
            self._listen(True)


class _Refused:
    """A connection that was answered without being served, until its client has left or has had its time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connection: socket.socket,
        answer: bytes,
        on_left: Callable[[_Refused], None],
    ) -> None:
        self._loop = loop
        self._connection = connection
        self._on_left = on_left
        self._unread_bytes = _MOST_UNREAD_BYTES
        self._end = loop.call_later(_LINGER_S, self._leave)
        loop.add_reader(connection, self._on_readable)
        try:
            connection.send(answer)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return  # it left; the reader or the timer sees to the rest

    def _on_readable(self) -> None:
        try:
            data = self._connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._unread_bytes -= len(data)
        if not data or self._unread_bytes < 0:
            self._leave()

    def _leave(self) -> None:
        self._end.cancel()
        self._loop.remove_reader(self._connection)
        self._connection.close()
        self._on_left(self)
