"""Upstream: the way to one pod: the link to pods of ours, HTTP/1.1 to any other server.

The narrow side is ``Upstream.open``, ``Exchange`` and ``Receiver``: what forwards a request knows nothing of
connections.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from typing import Protocol

from gateway.dataplane.client import Piece
from gateway.errors import PodFailed
from model_pod.wire.link import PodAnswer, PodCharge, PodRequest

CONNECT_WITHIN_S = 1.0
_OUR_FAULT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# A loop that was late itself sees what came meanwhile before it says that nothing came.
_LOOK_AGAIN_S = 0.05
# A pod whose machine or network is gone says nothing: after so long without a byte the kernel asks, and ends the
# connection when that is not answered. All requests to it would wait for their deadlines else.
_ASK_AFTER_S, _ASK_EVERY_S, _UNANSWERED = 5, 2, 3
# As long as a foreign server may take to read what it was sent.
_UNACKNOWLEDGED_S = 30.0


class Receiver(Protocol):
    """Who gets what a pod answers. After ``on_answer``, ``on_end`` or ``on_failed`` nothing more comes."""

    def on_answer(self, answer: PodAnswer, body: Piece) -> None:
        """The answer is here, whole."""
        ...

    def on_head(self, answer: PodAnswer) -> None: ...
    def on_data(self, piece: Piece) -> None: ...
    def on_end(self, charge: PodCharge | None = None) -> None:
        """The answer is whole; what it cost, if its pod says that last."""
        ...

    def on_failed(self, error: PodFailed) -> None: ...
    def on_room(self, has_room: bool) -> None:
        """The way to the pod is full (stop sending), or has room again."""
        ...


class Exchange(Protocol):
    """One request on its way to a pod, and its answer on the way back."""

    @property
    def has_begun(self) -> bool:
        """Something of the request may have reached the pod."""
        ...

    def send(self, piece: Piece) -> None:
        """Send the next bytes of the request's body."""
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


class Upstream(Protocol):
    """The way to the pod at one address.

    Attributes:
        is_linked: a link to it is open.
    """

    @property
    def is_linked(self) -> bool: ...
    def open(self, request: PodRequest, body: Sequence[Piece], receiver: Receiver, *, is_whole: bool) -> Exchange:
        """Begin an exchange with what there is of the request's body."""
        ...

    def close(self) -> None:
        """Begin nothing new; exchanges under way end in their own time."""
        ...


def is_ours(error: Exception) -> bool:
    """Whether no connection came about because this process had no room for another one."""
    return isinstance(error, OSError) and error.errno in _OUR_FAULT


async def connect(
    address: str,
    loop: asyncio.AbstractEventLoop,
    protocol: asyncio.BaseProtocol,
    *,
    unacknowledged_s: float = _UNACKNOWLEDGED_S,
) -> None:
    """Connect to ``unix:/path`` or ``host:port``.

    Args:
        unacknowledged_s: a TCP connection ends when the other end takes nothing of what is sent for so long.

    Raises:
        TimeoutError: it took too long. It may still come about at that very moment, even after this: ``protocol`` is
            told, and must not use it.
    """
    making = loop.create_task(_connect(address, loop, protocol, unacknowledged_s))
    try:
        for within_s in (CONNECT_WITHIN_S, _LOOK_AGAIN_S):
            await asyncio.wait((making,), timeout=within_s)
            if making.done():
                return making.result()
    finally:
        making.cancel()
    raise TimeoutError(f"not within {CONNECT_WITHIN_S:g} s")


async def _connect(
    address: str, loop: asyncio.AbstractEventLoop, protocol: asyncio.BaseProtocol, unacknowledged_s: float
) -> None:
    kind, _, path = address.partition(":")
    if kind == "unix":
        await loop.create_unix_connection(lambda: protocol, path)
    else:
        host, _, port = address.rpartition(":")
        transport, _ = await loop.create_connection(lambda: protocol, host.strip("[]"), int(port))
        _end_when_silent(transport.get_extra_info("socket"), unacknowledged_s)


def _end_when_silent(connected: socket.socket | None, unacknowledged_s: float) -> None:
    """Let the kernel find out about a pod whose machine is gone."""
    if connected is None:
        return
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _ASK_AFTER_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _ASK_EVERY_S)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _UNANSWERED)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(unacknowledged_s * 1000))
