"""The supervisor's own HTTP servers: the management API, and what Prometheus reads.

What they import takes too long for the supervisor's loop, and so is imported in a thread when they start.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from gateway.control.callers import Gate
from gateway.control.listeners import split_address
from gateway.control.mesh_facts import MeshFacts
from gateway.control.reports import MeshView
from gateway.control.slo_engine import SloEngine

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from gateway.control.management import ManagementServer


class HttpServers:
    """The servers that run."""

    def __init__(self) -> None:
        self._running: list[ManagementServer] = []
        self._is_stopping = False

    async def serve(self, make: Callable[[], ManagementServer], sockets: list[socket.socket]) -> None:
        """Make a server and run it until all are told to stop; one without a socket is never made."""
        if not sockets:
            return
        server = await asyncio.to_thread(make)
        if not self._is_stopping:
            self._running.append(server)
            await server.serve(sockets)

    def stop(self) -> None:
        """Let every server finish what it answers, and start none."""
        self._is_stopping = True
        for server in self._running:
            server.should_exit = True


def management_server(view: MeshView, token_digest: bytes, addresses: Iterable[str]) -> ManagementServer:
    """Make the management API's server."""
    from gateway.control.management import make_app, make_server

    return make_server(make_app(view, Gate(token_digest, _hosts(addresses))))


def metrics_server(engine: SloEngine, facts: Callable[[], MeshFacts], addresses: Iterable[str]) -> ManagementServer:
    """Make the server that Prometheus reads."""
    from gateway.control.management import make_server
    from gateway.control.mesh_metrics import mesh_families
    from gateway.control.metrics_server import make_metrics_app

    def collect() -> list[Family]:
        return mesh_families(engine, facts(), time.time())

    return make_server(make_metrics_app(collect, _hosts(addresses)))


def _hosts(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(split_address(address)[0] for address in addresses)
