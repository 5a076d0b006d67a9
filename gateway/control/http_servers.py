"""The supervisor's own HTTP servers: the management API, and what Prometheus reads.

What they import takes too long for the supervisor's loop, and so is imported in a thread when they start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.control.admin.sign_in import SignIn
from gateway.control.callers import Gate
from gateway.control.listeners import Listener, split_address
from gateway.control.managed import Managed
from gateway.control.mesh_facts import MeshFacts
from gateway.control.slo_engine import SloEngine

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family
    from starlette.types import ASGIApp

    from gateway.control.asgi_server import AsgiServer


class HttpServers:
    """The servers that run."""

    def __init__(self) -> None:
        self._running: list[AsgiServer] = []
        self._is_stopping = False

    async def serve(self, make_app: Callable[[], ASGIApp], listener: Listener) -> None:
        """Make an application and serve it at one socket until all are told to stop."""
        server = await asyncio.to_thread(_make_server, make_app, listener)
        if not self._is_stopping:
            self._running.append(server)
            await server.serve([listener.socket])

    def stop(self) -> None:
        """Let every server finish what it answers, and start none."""
        self._is_stopping = True
        for server in self._running:
            server.should_exit = True


def _make_server(make_app: Callable[[], ASGIApp], listener: Listener) -> AsgiServer:
    from gateway.control.asgi_server import make_server

    return make_server(make_app(), listener)


def management_app(managed: Managed, sign_in: SignIn, listener: Listener, addresses: Iterable[str]) -> ASGIApp:
    """Make the management API as one listener serves it.

    Args:
        addresses: of all its listeners: it may be called by each of them.
    """
    from gateway.control.admin.rooms import rooms
    from gateway.control.management import make_app

    hosts = _hosts(addresses)

    def gate() -> Gate:
        return Gate(hosts, listener.certificate.names if listener.certificate is not None else ())

    return make_app(rooms(managed), gate, sign_in.actor)


def metrics_app(engine: SloEngine, facts: Callable[[], MeshFacts], addresses: Iterable[str]) -> ASGIApp:
    """Make what Prometheus reads."""
    from gateway.control.mesh_metrics import mesh_families
    from gateway.control.metrics_server import make_metrics_app

    def collect() -> list[Family]:
        return mesh_families(engine, facts(), time.time())

    return make_metrics_app(collect, _hosts(addresses))


def _hosts(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(split_address(address)[0] for address in addresses)
