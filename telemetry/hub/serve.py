"""The life of the hub: everything is put together here, and runs until a signal or until its parent is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from telemetry.hub.app import make_app
from telemetry.hub.config import Address, HubConfig
from telemetry.hub.door import Door
from telemetry.hub.events import say
from telemetry.hub.exposition import Exposition
from telemetry.hub.fleet import HubFacts
from telemetry.hub.gate import LOGIN_PATH, Gate, is_loopback
from telemetry.hub.gatekeeper import Gatekeeper
from telemetry.hub.leaving import WhileAsked
from telemetry.hub.listeners import bind, bind_unix, make_server, url
from telemetry.hub.measured.desk import CountedSteps
from telemetry.hub.measured.point_file import PointFile
from telemetry.hub.measured.reader import CounterReader
from telemetry.hub.mesh import Mesh
from telemetry.hub.otlp_app import OtlpApp
from telemetry.hub.otlp_grpc import GrpcListener
from telemetry.hub.published import RunningHub, publish, withdraw
from telemetry.hub.reader import Reader
from telemetry.hub.sessions import LINK_LASTS_S
from telemetry.hub.sidecars import Sidecars
from telemetry.hub.source import HubSource
from telemetry.hub.trace_files import TraceFiles, listing
from telemetry.hub.writer import Writer
from telemetry.logs.line import warning
from telemetry.logs.log import LOG

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
        otlp, otlp_grpc: None where no address for spans was given, or it is taken.
        otlp_unix: None where none was given.
    """

    pages: socket.socket
    otlp: socket.socket | None
    otlp_grpc: socket.socket | None
    otlp_unix: socket.socket | None


def open_sockets(config: HubConfig) -> Sockets:
    """Bind every address; one for spans that is taken costs that address alone: a collector may have it.

    Raises:
        OSError: pages or the Unix socket cannot listen.
    """
    pages = bind(config.listen)
    otlp_unix = None if config.otlp_unix is None else bind_unix(config.otlp_unix)
    otlp = _bind_for_spans(config.otlp, "--otlp")
    return Sockets(pages, otlp, _bind_for_spans(config.otlp_grpc, "--otlp-grpc"), otlp_unix)


def _bind_for_spans(address: Address | None, option: str) -> socket.socket | None:
    try:
        return None if address is None else bind(address)
    except OSError as error:
        say(warning(f"no spans are received on {address} ({error.strerror or error}); name another with {option}"))
        return None


async def serve(config: HubConfig, tokens: Tokens, sockets: Sockets) -> int:
    """Run the hub; return the exit status."""
    stopped = asyncio.Event()
    _watch_for_the_end(config, stopped)
    hub = _Hub(config, tokens, sockets, stopped)
    hub.begin()
    otlp, otlp_grpc = ("" if one is None else url(one) for one in (sockets.otlp, sockets.otlp_grpc))
    publish(config.publish, RunningHub(os.getpid(), url(sockets.pages), otlp, otlp_grpc))
    say(f"dashboards on {url(sockets.pages)}")
    if tokens.pages:
        say(hub.invitation())
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
        self._config = config
        self._sockets = sockets
        self._stopped = stopped
        self._started_s = time.time()
        self._writer = Writer(TraceFiles(config.store, config.limits), _from_thread(stopped.set))
        points = PointFile(config.store)
        exposition = self._exposition = Exposition(self._writer.counts, lambda: points.lost)
        self._mesh = Mesh(config.mesh)
        self._counters = CounterReader(self._mesh, points)
        self._sidecars = Sidecars(config.sidecars)
        reader = Reader(config.store, self._writer.suspect)
        counted = CountedSteps(config.store, self._counters)
        self._source = HubSource(reader, self._mesh, counted, self._sidecars, self._facts)
        told = exposition.told
        self._otlp = OtlpApp(self._writer.put, told)
        pages = WhileAsked(make_app(self._source, exposition.expose))
        self._door = Door(Gate(config.listen.host, tokens.pages))
        app = Gatekeeper(pages, self._door)
        self._servers = [(make_server(app), sockets.pages)]
        if sockets.otlp is not None and config.otlp is not None:
            door = Door(_gate_for_spans(config.otlp, tokens), slows_guesses=False)
            self._servers.append((make_server(Gatekeeper(self._otlp, door, told)), sockets.otlp))
        self._calls: GrpcListener | None = None
        if config.otlp_grpc is not None:
            self._calls = GrpcListener(self._otlp.take_message, _gate_for_spans(config.otlp_grpc, tokens), told)
        if sockets.otlp_unix is not None:
            self._servers.append((make_server(self._otlp), sockets.otlp_unix))

    def invitation(self) -> str:
        """Return the line with the link that logs in once; the token itself is told nobody."""
        where = f"{url(self._sockets.pages, socket.gethostname())}{LOGIN_PATH}?code={self._door.code}"
        return f"log in once, within {LINK_LASTS_S / 60:.0f} min, at {where}"

    def begin(self) -> None:
        """Store what comes from now on."""
        self._writer.start()

    async def run(self) -> int:
        """Serve until the end, and store what was received; return the exit status."""
        watching = asyncio.create_task(self._mesh.watch_for_ever())
        counting = asyncio.create_task(self._counters.watch_for_ever())
        serving = [asyncio.create_task(server.serve([listening])) for server, listening in self._servers]
        stopping = asyncio.create_task(self._stopped.wait())
        if self._calls is not None and self._sockets.otlp_grpc is not None:
            await self._calls.listen(self._sockets.otlp_grpc)
        done, _ = await asyncio.wait((watching, counting, stopping, *serving), return_when=asyncio.FIRST_COMPLETED)
        if self._calls is not None:
            self._calls.close()
        for server, _ in self._servers:
            server.should_exit = True
        await asyncio.wait(serving, timeout=ANSWER_WITHIN_S)
        watching.cancel()
        counting.cancel()
        await self._close()
        for task in done:
            task.result()  # only a bug ends the watch or a server; it ends the process too
        return 1 if self._writer.has_failed else 0

    def _facts(self) -> HubFacts:
        try:
            files = listing(self._config.store)
        except OSError:
            files = []
        limits = self._config.limits
        return HubFacts(
            self._started_s,
            self._writer.counts(),
            tuple(files),
            self._exposition.posts,
            limits.retain_s,
            limits.max_bytes,
            dict(LOG.lines),
            LOG.suppressed,
            self._counters.dropped,
        )

    async def _close(self) -> None:
        self._otlp.close()
        self._source.close()
        await self._counters.close()
        await self._mesh.close()
        await self._sidecars.close()
        await asyncio.to_thread(self._writer.close, STORE_WITHIN_S)


def _gate_for_spans(address: Address, tokens: Tokens) -> Gate:
    return Gate(address.host, "" if is_loopback(address.host) else tokens.otlp)


def _from_thread(call: Callable[[], None]) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    return lambda: _call_soon(loop, call)


def _call_soon(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)
