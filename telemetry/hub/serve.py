"""The life of the hub: everything is put together here, and runs until a signal or until its parent is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from telemetry.hub.app import make_app
from telemetry.hub.config import HubConfig
from telemetry.hub.events import say
from telemetry.hub.exposition import Exposition
from telemetry.hub.gate import Gate
from telemetry.hub.gatekeeper import Gatekeeper
from telemetry.hub.leaving import WhileAsked
from telemetry.hub.listeners import bind, bind_unix, make_server, url
from telemetry.hub.mesh import Mesh
from telemetry.hub.otlp_app import OtlpApp
from telemetry.hub.published import RunningHub, publish, withdraw
from telemetry.hub.reader import Reader
from telemetry.hub.source import HubSource
from telemetry.hub.trace_files import TraceFiles
from telemetry.hub.writer import Writer

STORE_WITHIN_S = 2.0
ANSWER_WITHIN_S = 2.0  # what is being answered; the servers' own time is shorter, but for bugs in them


@dataclass(frozen=True, slots=True)
class Tokens:
    """What callers must know; "" asks nobody, on loopback. Whoever reaches the Unix socket is this user."""

    pages: str
    otlp: str


@dataclass(slots=True)
class Sockets:
    """Where the hub listens.

    Attributes:
        otlp: None where no address for spans was given, or it is taken.
        otlp_unix: None where none was given.
    """

    pages: socket.socket
    otlp: socket.socket | None
    otlp_unix: socket.socket | None


def open_sockets(config: HubConfig) -> Sockets:
    """Bind every address; one for spans that is taken costs that address alone: a collector may have it.

    Raises:
        OSError: pages or the Unix socket cannot listen.
    """
    pages = bind(config.listen)
    otlp_unix = None if config.otlp_unix is None else bind_unix(config.otlp_unix)
    otlp = None
    if config.otlp is not None:
        try:
            otlp = bind(config.otlp)
        except OSError as error:
            say(f"no spans are received on {config.otlp} ({error.strerror or error}); name another with --otlp")
    return Sockets(pages, otlp, otlp_unix)


async def serve(config: HubConfig, tokens: Tokens, sockets: Sockets) -> int:
    """Run the hub; return the exit status."""
    stopped = asyncio.Event()
    _watch_for_the_end(config, stopped)
    hub = _Hub(config, tokens, sockets, stopped)
    hub.begin()
    otlp_url = "" if sockets.otlp is None else url(sockets.otlp)
    publish(config.publish, RunningHub(os.getpid(), url(sockets.pages), otlp_url))
    say(f"dashboards on {url(sockets.pages)}")
    try:
        return await hub.run()
    finally:
        withdraw(config.publish, os.getpid())


def _watch_for_the_end(config: HubConfig, stopped: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if config.lifeline_fd is not None:
        loop.add_reader(config.lifeline_fd, _on_lifeline, config.lifeline_fd, stopped)


def _on_lifeline(lifeline_fd: int, stopped: asyncio.Event) -> None:
    asyncio.get_running_loop().remove_reader(lifeline_fd)
    stopped.set()


class _Hub:
    """The parts of one running hub."""

    def __init__(self, config: HubConfig, tokens: Tokens, sockets: Sockets, stopped: asyncio.Event) -> None:
        self._sockets = sockets
        self._stopped = stopped
        self._writer = Writer(TraceFiles(config.store, config.limits), _from_thread(stopped.set))
        exposition = Exposition(self._writer.counts)
        self._mesh = Mesh(config.mesh)
        self._source = HubSource(Reader(config.store, self._writer.suspect), self._mesh)
        self._otlp = OtlpApp(self._writer.put, exposition.told)
        pages = WhileAsked(make_app(self._source, exposition.expose))
        app = Gatekeeper(pages, Gate(config.listen.host, tokens.pages))
        self._servers = [(make_server(app), sockets.pages)]
        if sockets.otlp is not None and config.otlp is not None:
            gate = Gate(config.otlp.host, tokens.otlp)
            self._servers.append((make_server(Gatekeeper(self._otlp, gate)), sockets.otlp))
        if sockets.otlp_unix is not None:
            self._servers.append((make_server(self._otlp), sockets.otlp_unix))

    def begin(self) -> None:
        """Store what comes from now on."""
        self._writer.start()

    async def run(self) -> int:
        """Serve until the end, and store what was received; return the exit status."""
        watching = asyncio.create_task(self._mesh.watch_for_ever())
        serving = [asyncio.create_task(server.serve([listening])) for server, listening in self._servers]
        stopping = asyncio.create_task(self._stopped.wait())
        done, _ = await asyncio.wait((watching, stopping, *serving), return_when=asyncio.FIRST_COMPLETED)
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.wait(serving, timeout=ANSWER_WITHIN_S)
        watching.cancel()
        await self._close()
        for task in done:
            task.result()  # only a bug ends the watch or a server; it ends the process too
        return 1 if self._writer.has_failed else 0

    async def _close(self) -> None:
        self._otlp.close()
        self._source.close()
        await self._mesh.close()
        await asyncio.to_thread(self._writer.close, STORE_WITHIN_S)


def _from_thread(call: Callable[[], None]) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    return lambda: _call_soon(loop, call)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
