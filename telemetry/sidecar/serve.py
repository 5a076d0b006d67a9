"""The life of the sidecar: take, count, keep and export until a signal; then what waits has two seconds to leave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, NoReturn

from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.config import Address, SidecarConfig
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.endpoints import Endpoints
from telemetry.sidecar.events import say
from telemetry.sidecar.export_queue import ExportQueue
from telemetry.sidecar.exporter import Exporter
from telemetry.sidecar.exposition import expose
from telemetry.sidecar.http import Listener
from telemetry.sidecar.intake import Intake
from telemetry.sidecar.keep_poll import KeepPoll
from telemetry.sidecar.kept import KeepList, Keeps
from telemetry.sidecar.objectives import ObjectivesFile
from telemetry.sidecar.pipeline import Pipeline
from telemetry.sidecar.redaction import Redactor
from telemetry.sidecar.samples import Sample
from telemetry.sidecar.watch import Watch
from telemetry.span import Span

FLUSH_WITHIN_S = 2.0
TICK_S = 0.5
_BACKLOG = 64


def open_listener(address: Address) -> socket.socket:
    """Return the listening socket.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    return socket.create_server((address.host, address.port), family=family, backlog=_BACKLOG)


class Sidecar:
    """One sidecar's parts, joined.

    Args:
        config: how it is run.
        records: the socket that recorders connect to; None where there are none.
    """

    def __init__(self, config: SidecarConfig, records: socket.socket | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._drops = Drops()
        queue = ExportQueue(encode_spans, self._drops) if config.export else None
        # Milliseconds since the epoch: a sidecar that is started anew goes on above where the one before was.
        keep_list = None if config.pod else KeepList(first=time.time_ns() // 1_000_000)
        self._pipeline = Pipeline(Redactor(config.attributes), queue, self._drops, keep_list)
        self._exporter = Exporter(config.export, queue, self._drops) if config.export and queue else None
        self._watch = Watch(config.pod, config.every_s) if config.pod else None
        self._poll = KeepPoll(config.keep_from, self._take_keeps) if config.keep_from else None
        self._objectives = ObjectivesFile(config.slos) if config.slos else None
        self._intake = Intake(records, self._take_packet) if records else None

    async def listen(self, listening: socket.socket) -> None:
        """Answer and take in from now on."""
        endpoints = Endpoints(self._exposition, self._keeps_after, self._take_spans)
        await Listener(endpoints.answer).listen(listening)
        if self._intake:
            self._intake.open()

    def duties(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what is done for ever."""
        yield self._tick_for_ever()
        if self._watch:
            yield self._watch.watch_for_ever()
        if self._poll:
            yield self._poll.ask_for_ever()
        if self._exporter:
            yield self._exporter.export()

    async def finish(self) -> None:
        """Take what was sent by now, and export what waits."""
        if self._intake:
            self._intake.drain()
            self._intake.close()
        if self._exporter:
            await self._exporter.finish(FLUSH_WITHIN_S)

    async def _tick_for_ever(self) -> None:
        while True:
            if self._objectives and (objectives := self._objectives.changed()) is not None:
                self._pipeline.heed(objectives)
            # Where there is no list to ask for, each trace is decided on by its own.
            is_heard = self._poll is None or self._poll.is_heard
            self._pipeline.give_up(self._loop.time(), is_heard)
            await asyncio.sleep(TICK_S)

    def _take_packet(self, packet: memoryview) -> None:
        self._pipeline.take_packet(packet, self._loop.time(), time.time())

    def _take_spans(self, spans: Sequence[Span]) -> None:
        self._pipeline.take_spans(spans, self._loop.time())

    def _take_keeps(self, keeps: Keeps) -> None:
        self._pipeline.take_keeps(keeps, self._loop.time())

    def _keeps_after(self, number: int) -> Keeps | None:
        return self._pipeline.keeps_after(number, self._loop.time())

    def _exposition(self, accept: str) -> tuple[str, bytes]:
        return expose(self._samples(), accept)

    def _samples(self) -> Iterator[Sample]:
        if self._watch:
            yield from self._watch.samples()
        yield from self._pipeline.samples(time.time())
        if self._exporter:
            yield from self._exporter.samples()
        yield from self._drops.samples()


async def serve(config: SidecarConfig, listening: socket.socket, records: socket.socket | None) -> NoReturn:
    """Run the sidecar; SIGTERM or SIGINT end the process here, with status 0."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if config.lifeline is not None:
        loop.add_reader(config.lifeline, os._exit, 0)  # nobody writes to it: it reads only at its end
    sidecar = Sidecar(config, records)
    await sidecar.listen(listening)
    host, port = listening.getsockname()[:2]
    say("", f"metrics on http://{Address(host=host, port=port)}/metrics")
    duties = [asyncio.create_task(duty) for duty in sidecar.duties()]
    stopping = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait((*duties, stopping), return_when=asyncio.FIRST_COMPLETED)
    for task in done - {stopping}:
        task.result()  # only a bug ends a duty; it ends the process too
    await sidecar.finish()
    # A host name that is being looked up holds a thread, and Python would wait for it; a mute resolver takes 10 s.
    os._exit(0)
