"""The life of the sidecar: watch the pod and answer readers until a signal; nothing is drained, for nothing waits."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from typing import NoReturn

from telemetry.sidecar.config import Address, SidecarConfig
from telemetry.sidecar.events import say
from telemetry.sidecar.http import Listener
from telemetry.sidecar.watch import Watch

_BACKLOG = 64


def open_listener(address: Address) -> socket.socket:
    """Return the listening socket.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


async def serve(config: SidecarConfig, listening: socket.socket) -> NoReturn:
    """Run the sidecar; SIGTERM or SIGINT end the process here, with status 0."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    watch = Watch(config)
    await Listener(watch.exposition).listen(listening)
    host, port = listening.getsockname()[:2]
    say("", f"metrics on http://{Address(host=host, port=port)}/metrics")
    watching = asyncio.create_task(watch.watch_for_ever())
    stopping = asyncio.create_task(stopped.wait())
    await asyncio.wait((watching, stopping), return_when=asyncio.FIRST_COMPLETED)
    if watching.done():
        watching.result()  # only a bug ends the watch; it ends the process too
    # A host name that is being looked up holds a thread, and Python would wait for it; a mute resolver takes 10 s.
    os._exit(0)
