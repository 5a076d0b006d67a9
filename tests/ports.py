"""Ports for programs that cannot tell which one they were given."""

from __future__ import annotations

import random
import socket
from contextlib import suppress
from pathlib import Path

_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
_HIGHER_THAN = 10_000
_TRIES = 100


def free_port() -> int:
    """Return a port of loopback that nobody has, and that nobody gets by chance before it is used.

    The kernel gives ports of its range to whoever asks for any, and to every connection that is made meanwhile; below
    that range it gives none.
    """
    lowest_given = int(_RANGE.read_text().split()[0])
    for _ in range(_TRIES if lowest_given > _HIGHER_THAN else 0):
        port = random.randrange(_HIGHER_THAN, lowest_given)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
