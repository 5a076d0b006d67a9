"""The hub's listening sockets, and the servers on them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from telemetry.hub.config import Address
from telemetry.hub.connections import Connection

BACKLOG = 64
_IDLE_S = 30
_FINISH_WITHIN_S = 1
_HEAD_BYTES = 16 * 1024


def bind(address: Address) -> socket.socket:
    """Return a socket that listens.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)


def bind_unix(path: Path) -> socket.socket:
    """Return a Unix socket that listens, for this user alone; one that a killed hub left is replaced.

    Raises:
        OSError: the path cannot be bound, or somebody listens there.
    """
    if _is_left_over(path):
        path.unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(0o600)
        listening.listen(BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _is_left_over(path: Path) -> bool:
    """Whether the path is a socket that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.setblocking(False)  # a full backlog is somebody too
        try:
            asking.connect(str(path))
        except ConnectionRefusedError:
            return path.is_socket()
        except (BlockingIOError, FileNotFoundError):
            return False
    return False


def url(listening: socket.socket, name: str = "") -> str:
    """Return the URL that reaches a socket from this machine.

    Args:
        name: of the machine, where the socket listens on all of its addresses; "" for its loopback.
    """
    host, port = listening.getsockname()[:2]
    reachable = {"0.0.0.0": name or "127.0.0.1", "::": name or "::1"}.get(host, host)
    return f"http://{Address(reachable, port)}"


class QuietServer(uvicorn.Server):
    """Uvicorn inside the hub's loop: signals stay the hub's."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def make_server(app: ASGIApp) -> QuietServer:
    """Return a server for sockets that listen already; ``serve(sockets)`` runs it until ``should_exit``."""
    config = uvicorn.Config(
        app,
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=_FINISH_WITHIN_S,
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    return QuietServer(config)
