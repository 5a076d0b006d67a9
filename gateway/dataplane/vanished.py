"""Clients that vanish: the kernel finds out about those that fall silent; this tells those that left from the rest."""

from __future__ import annotations

import select
import socket
from typing import Protocol

# A client whose machine or network is gone says nothing, and idle connections are not written to: after so long without
# a byte the kernel asks, and after so many unanswered questions it ends the connection; 60 s in all.
ASK_AFTER_S = 30
ASK_EVERY_S = 10
UNANSWERED = 3
# What was written and nobody took ends it as soon; it is as long as a slow reader is waited for.
UNACKNOWLEDGED_S = 30
_LEFT = select.POLLHUP | select.POLLERR


class HasDescriptor(Protocol):
    """A socket, or what a transport shows of its own."""

    def fileno(self) -> int: ...


def end_silent_connections(listening: socket.socket) -> None:
    """Let the kernel end connections whose client has vanished; on Linux those accepted from this socket inherit it."""
    if listening.family not in (socket.AF_INET, socket.AF_INET6):
        return
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, ASK_AFTER_S)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, ASK_EVERY_S)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, UNANSWERED)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNACKNOWLEDGED_S * 1000)


def has_left(connection: HasDescriptor) -> bool:
    """Return whether the other side has closed a connection altogether, and not only stopped sending.

    Over TCP both look alike until something is written: whoever has left answers that with a reset.
    """
    return bool(_events(connection, 0) & _LEFT)  # these two are told unasked


def sends_no_more(connection: HasDescriptor) -> bool:
    """Return whether the other side has closed its sending half, at least, whatever of it is still to be read."""
    return bool(_events(connection, select.POLLRDHUP) & (select.POLLRDHUP | _LEFT))


def _events(connection: HasDescriptor, asked: int) -> int:
    poll = select.poll()
    poll.register(connection.fileno(), asked)
    return next((events for _, events in poll.poll(0)), 0)
