"""The life of the sidecar: take, count, keep and export until a signal; then what waits has two seconds to leave."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from policies.snapshot.slos import Objective
from telemetry.logs.log import LOG
from telemetry.otlp.encode import encode_spans
from telemetry.otlp.grpc_calls import Bounds, GrpcReceiver
from telemetry.sidecar.config import Address, SidecarConfig
from telemetry.sidecar.drift_keeper import DriftKeeper
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.endpoints import Endpoints
from telemetry.sidecar.events import say
from telemetry.sidecar.export_queue import ExportQueue
from telemetry.sidecar.exporter import Exporter
from telemetry.sidecar.exposition import expose
from telemetry.sidecar.foreign import ForeignTrace
from telemetry.sidecar.health import Health, Lag, SpansHealth, lost_list
from telemetry.sidecar.http import BODY_BYTES, IDLE_S, REQUEST_WITHIN_S, Listener
from telemetry.sidecar.intake import Intake
from telemetry.sidecar.keep_poll import KeepPoll
from telemetry.sidecar.kept import KeepList, Keeps
from telemetry.sidecar.left_folders import LeftFolders
from telemetry.sidecar.machine.watch import MachineWatch
from telemetry.sidecar.pipeline import Pipeline
from telemetry.sidecar.redaction import Redactor
from telemetry.sidecar.samples import Sample, log_samples
from telemetry.sidecar.span_intake import SpanIntake
from telemetry.sidecar.spool import Spool
from telemetry.sidecar.stored_queue import StoredQueue
from telemetry.sidecar.watch import Watch
from telemetry.sidecar.watched_file import WatchedFile

FLUSH_WITHIN_S = 2.0
# Of these two seconds: to take what recorders sent, and to hear what the gateway's sidecar kept last.
DRAIN_WITHIN_S = 0.5
LAST_WORD_WITHIN_S = 0.5
# Beside them: for a disk to say that it has what stays there.
CLOSE_WITHIN_S = 0.5
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
        self._config = config
        self._loop = asyncio.get_running_loop()
        self._drops = Drops()
        self._lag = Lag()
        self._started_s = time.time()
        queue = ExportQueue(encode_spans, self._drops) if config.export else None
        # Milliseconds since the epoch: a sidecar that is started anew goes on above where the one before was.
        keep_list = None if config.pod else KeepList(first=time.time_ns() // 1_000_000)
        self._redactor = Redactor(config.attributes)
        self._poll = KeepPoll(config.keep_from, self._take_keeps) if config.keep_from else None
        hearing = self._is_gateway_heard if self._poll else None
        self._drift = self._drift_keeper(config)
        book = self._drift.book if self._drift else None
        self._pipeline = Pipeline(self._redactor, queue, self._drops, keep_list, hearing, book)
        spool = Spool(Path(config.queue), config.queue_bytes) if config.queue else None
        self._stored = StoredQueue(queue, self._drops, spool) if queue else None
        to, lacks = config.export, _lacks(config)
        self._exporter = Exporter(to, self._stored, lacks) if to and self._stored else None
        whole = Path(config.machine) if config.machine else None
        self._machine = MachineWatch(whole, config.pod is not None, self._drops)
        self._watch = Watch(config.pod, config.every_s, self._machine.heed) if config.pod else None
        self._objectives = WatchedFile(config.slos, dict[str, list[Objective]], "objectives") if config.slos else None
        allowed = config.attributes_file
        self._attributes = WatchedFile(allowed, list[str], "allowed attributes") if allowed else None
        headers = config.export_headers_file
        self._headers = WatchedFile(headers, dict[str, str], "header fields") if headers else None
        self._heed_environment()
        self._heed_files()  # before the first span is taken
        self._intake = Intake(records, self._take_packet) if records else None

    async def listen(self, listening: socket.socket) -> None:
        """Answer and take in from now on."""
        spans = SpanIntake(self._redactor, self._take_spans)
        bound_hosts = _bound_hosts(self._config, listening)
        endpoints = Endpoints(
            self._exposition, self._keeps_after, spans.answer, bound_hosts, self._machine.told, self._health
        )
        calls = GrpcReceiver(spans.take_message, Bounds(BODY_BYTES, message_within_s=REQUEST_WITHIN_S, idle_s=IDLE_S))
        listener = Listener(endpoints.answer, endpoints.refuse, calls.converse)
        await listener.listen(listening)
        if self._config.otlp:
            await _listen_besides(listener, self._config.otlp)
        if self._intake:
            self._intake.open()

    def duties(self) -> Iterator[Coroutine[Any, Any, None]]:
        """Yield what is done for ever."""
        yield self._tick_for_ever()
        yield self._machine.watch_for_ever()
        yield self._machine.beat_for_ever()
        if self._watch:
            yield self._watch.watch_for_ever()
        if self._poll:
            yield self._poll.ask_for_ever()
        if self._stored and self._config.queue:
            yield self._stored.keep_saving()
        if self._exporter:
            yield self._exporter.export()
        if self._stored and self._config.queue and self._config.left:
            yield LeftFolders(Path(self._config.left), self._stored, self._config.queue_bytes).tend_for_ever()

    async def finish(self) -> None:
        """Take what was sent by now, decide on all of it, and export what waits; all within ``FLUSH_WITHIN_S``."""
        ends_s = self._loop.time() + FLUSH_WITHIN_S
        if self._intake:
            self._intake.drain(self._loop.time() + DRAIN_WITHIN_S)
            self._intake.close()
        if self._poll:
            await self._poll.ask(LAST_WORD_WITHIN_S)
        self._pipeline.give_up(self._loop.time(), is_ending=True)
        if self._drift:
            self._drift.save()
        if self._exporter:
            await self._exporter.finish(max(0.0, ends_s - self._loop.time()))
        if self._stored:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._stored.close()

    async def _tick_for_ever(self) -> None:
        while True:
            LOG.tick()
            self._heed_files()
            self._pipeline.give_up(self._loop.time())
            if self._stored:
                self._lag.note(self._stored.came_spans, self._loop.time())
            await asyncio.sleep(TICK_S)

    def _drift_keeper(self, config: SidecarConfig) -> DriftKeeper | None:
        if not config.drift_file:
            return None
        return DriftKeeper(Path(config.drift_file), config.drift_settings, self._drops, self._loop.time())

    def _heed_environment(self) -> None:
        named = self._config.export_headers_env
        if not self._exporter or not named:
            return
        with suppress(msgspec.MsgspecError, UnicodeEncodeError):  # what it lacks is told when it would send
            self._exporter.heed(msgspec.json.decode(os.environ.get(named, ""), type=dict[str, str]))

    def _heed_files(self) -> None:
        if self._drift:
            self._drift.tick(self._loop.time(), time.time())
        if self._objectives and (objectives := self._objectives.changed()) is not None:
            self._pipeline.heed(objectives)
        if self._attributes and (attributes := self._attributes.changed()) is not None:
            self._redactor.allow((*self._config.attributes, *attributes))
        if self._exporter and self._headers and (headers := self._headers.changed()) is not None:
            self._exporter.heed(headers)

    def _take_packet(self, packet: memoryview) -> None:
        self._pipeline.take_packet(packet, self._loop.time(), time.time())

    def _take_spans(self, traces: Sequence[ForeignTrace]) -> None:
        self._pipeline.take_spans(traces, self._loop.time())

    def _is_gateway_heard(self) -> bool:
        return self._poll is not None and self._poll.is_heard

    def _take_keeps(self, keeps: Keeps) -> None:
        self._pipeline.take_keeps(keeps, self._loop.time())

    def _keeps_after(self, number: int) -> Keeps | None:
        return self._pipeline.keeps_after(number, self._loop.time())

    def _exposition(self, accept: str) -> tuple[str, bytes]:
        return expose(self._samples(), accept)

    def _health(self) -> Health:
        return Health(
            at_s=time.time(),
            started_s=self._started_s,
            records=self._pipeline.fates,
            undecided=self._pipeline.undecided,
            redacted=self._redactor.taken,
            lost=lost_list(self._drops.all),
            log_lines=dict(LOG.lines),
            log_suppressed=LOG.suppressed,
            spans=self._spans_health(self._exporter, self._stored) if self._exporter and self._stored else None,
        )

    def _spans_health(self, exporter: Exporter, queue: StoredQueue) -> SpansHealth:
        in_memory, on_disk = queue.waiting_spans
        waited_s = self._lag.waited_s(queue.came_spans - in_memory - on_disk, self._loop.time())
        return SpansHealth(
            came=queue.came_spans,
            sent=queue.exported_spans,
            lost=queue.lost_spans,
            in_memory=in_memory,
            on_disk=on_disk,
            waiting_bytes=queue.waiting_bytes,
            most_bytes=queue.most_bytes,
            waited_s=waited_s if in_memory or on_disk else 0.0,
            receiver=exporter.receiver,
            taken_s=exporter.taken_s,
            trouble=exporter.trouble,
            last_trouble=exporter.last_trouble,
            last_trouble_s=exporter.last_trouble_s,
            disk_trouble=queue.trouble,
            disk_failures=queue.failures,
        )

    def _samples(self) -> Iterator[Sample]:
        if self._watch:
            yield from self._watch.samples()
        yield from self._pipeline.samples(time.time())
        if self._drift:
            yield from self._drift.book.samples()
        if self._exporter:
            yield from self._exporter.samples()
        yield from self._machine.samples(self._loop.time())
        yield from self._drops.samples()
        yield from log_samples(dict(LOG.lines), LOG.suppressed)


def _lacks(config: SidecarConfig) -> str:
    """Return what an exporter must have before it sends, for people; nobody is sent spans without what proves us."""
    if config.export_headers_file:
        return f"the file {config.export_headers_file} holds no JSON object of header fields"
    if config.export_headers_env:
        return f"the environment variable {config.export_headers_env} holds no JSON object of header fields"
    return ""


async def _listen_besides(listener: Listener, address: Address) -> None:
    """Take spans on the usual port too, where it is free: many sidecars may be on one machine."""
    try:
        await listener.listen(open_listener(address))
    except OSError as error:
        say("", f"no spans are taken on {address} ({error.strerror or error}); the metrics' port takes them too")


def _bound_hosts(config: SidecarConfig, listening: socket.socket) -> frozenset[str]:
    named = {address.host for address in (config.listen, config.otlp) if isinstance(address, Address)}
    return frozenset({listening.getsockname()[0]} | named)


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
