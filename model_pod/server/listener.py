"""The pod's listening socket: inherited, or bound to ``unix:/path`` or ``host:port``."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

BACKLOG = 4096


def open_listener(listen: str, listen_fd: int) -> socket.socket:
    """Return the listening socket.

    Raises:
        OSError: the address cannot be bound.
        ValueError: it is neither ``unix:/path`` nor ``host:port``.
    """
    if listen_fd >= 0:
        return socket.socket(fileno=listen_fd)
    if listen.startswith("unix:"):
        return _bind_unix(Path(listen.removeprefix("unix:")))
    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdigit():
        raise ValueError(f"{listen!r} is neither unix:/path nor host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=BACKLOG)


def _bind_unix(path: Path) -> socket.socket:
    """Bind a socket that only this user may connect to; one that a predecessor left behind is replaced."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener
