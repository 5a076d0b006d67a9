"""Receives the packets of recorders on a Unix socket: takes what is there, and never makes them wait."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path

from telemetry.sidecar.frames import PACKET_BYTES

# A gateway's workers and their successors, or a pod's server; what comes beyond is turned away.
CONNECTIONS = 64
_BACKLOG = 16
# So many packets of one recorder are taken before the loop looks after others: about 10 ms.
_AT_ONCE = 8


def open_records(path: str) -> socket.socket:
    """Return the socket that recorders connect to, in the place of one that a process left behind.

    Raises:
        OSError: there is no such directory, or it may not be written.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        if Path(path).is_socket():
            Path(path).unlink()
        listening.bind(path)
        os.chmod(path, 0o600)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


class Intake:
    """Takes packets from every recorder that connects.

    Args:
        take: called with each packet; what it is given is overwritten by the next.
    """

    def __init__(self, listening: socket.socket, take: Callable[[memoryview], None]) -> None:
        self._listening = listening
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._connections: set[socket.socket] = set()
        # One byte more than a packet may have shows one that is longer.
        self._buffer = memoryview(bytearray(PACKET_BYTES + 1))
        listening.setblocking(False)

    def open(self) -> None:
        """Take from now on."""
        self._loop.add_reader(self._listening, self._accept)

    def drain(self, until_s: float) -> None:
        """Take what was sent by now, but nothing after this moment of the loop's time, though more is sent."""
        while self._loop.time() < until_s and self._accept():
            pass
        for connection in tuple(self._connections):
            while self._loop.time() < until_s and connection in self._connections and self._receive(connection):
                pass

    def close(self) -> None:
        """Take no more."""
        self._loop.remove_reader(self._listening)
        for connection in tuple(self._connections):
            self._leave(connection)
        self._listening.close()

    def _accept(self) -> bool:
        """Accept one recorder; whether there was one."""
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return False
        if len(self._connections) >= CONNECTIONS:
            connection.close()
            return True
        connection.setblocking(False)
        self._connections.add(connection)
        self._loop.add_reader(connection, self._take_some, connection)
        return True

    def _take_some(self, connection: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if not self._receive(connection):
                return

    def _receive(self, connection: socket.socket) -> bool:
        """Take one packet; whether there may be more."""
        try:
            length = connection.recv_into(self._buffer)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            length = 0
        if not length:
            self._leave(connection)
            return False
        self._take(self._buffer[:length])
        return True

    def _leave(self, connection: socket.socket) -> None:
        self._loop.remove_reader(connection)
        self._connections.discard(connection)
        connection.close()
