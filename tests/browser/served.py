"""The hub's pages over a scripted source, on a port of their own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from telemetry.hub.app import make_app
from telemetry.hub.config import Address
from telemetry.hub.door import Door
from telemetry.hub.gate import Gate
from telemetry.hub.gatekeeper import Gatekeeper
from telemetry.hub.listeners import bind, make_server, url
from tests.fakes.hub import ScriptedSource

_ENDED_WITHIN_S = 60.0


@contextmanager
def served(source: ScriptedSource, token: str = "") -> Iterator[str]:
    """Serve the pages from a thread, behind the gate that the hub has; yield their URL."""
    listening = bind(Address("127.0.0.1", 0))
    server = make_server(Gatekeeper(make_app(source, lambda _: ("text/plain", b"")), Door(Gate("127.0.0.1", token))))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listening])), daemon=True)
    thread.start()
    try:
        yield url(listening)
    finally:
        server.should_exit = True
        thread.join(_ENDED_WITHIN_S)
        listening.close()
    assert not thread.is_alive()
