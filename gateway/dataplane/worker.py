"""Worker: one process of the data plane. Takes generations and pods from the supervisor, connections from sockets."""

from __future__ import annotations

import asyncio
import gc
import math
import os
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import cast

import msgspec

from gateway.control.messages import (
    Accepting,
    Commit,
    Committed,
    CopiesAt,
    Counts,
    Drain,
    Drifting,
    FromWorker,
    IssuerKeys,
    OthersRate,
    Pods,
    Prepare,
    Prepared,
    Releases,
    Revoked,
    ShowCertificate,
    ToWorker,
)
from gateway.dataplane.accepting import Acceptor, Reserve
from gateway.dataplane.answers import refusal_answer
from gateway.dataplane.client_heads import status_line
from gateway.dataplane.copying import CopiesLink
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.gateway import Gateway, Share, decode_snapshot
from gateway.dataplane.grpc.connection import GrpcConnection
from gateway.dataplane.memory import MemoryGauge
from gateway.dataplane.pressure import PressureWatch
from gateway.dataplane.rests import Rests
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.tls import Door, Doors
from gateway.decide.decision import Refusal
from gateway.decide.stage import Stage
from gateway.decide.tables import Tables
from model_pod.wire.frames import BadFrame, FrameDecoder, encode
from policies.snapshot.generation import Snapshot
from telemetry.conventions import REQUEST_ID
from telemetry.logs.line import error as error_line
from telemetry.logs.line import warning
from telemetry.logs.log import LOG
from telemetry.record import Recorder

_COUNTS_EVERY_S = 1.0
_DRAIN_LOOK_S = 0.05
_UNREAD_BYTES = 2**20
# A client that keeps its connection may be sending its next request just now: it is answered, and told to close. What
# stays idle this long is closed.
_IDLE_GRACE_S = 1.0
# A worker whose supervisor is gone leaves quickly: its successor waits for the port.
_ORPHAN_DRAIN = Drain(delay_s=0.0, within_s=5.0)


class Worker:
    """The life of one worker process: prepared, accepting, draining, gone.

    Attributes:
        done: resolved when the process may exit.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        doors: Doors,
        limits: SharedLimits,
        share: Share,
        rests: Rests,
        recorder: Recorder | None = None,
        decisions: DecisionLog | None = None,
    ) -> None:
        self._decisions = decisions
        self._share = share
        self._recorder = recorder
        self._loop = loop
        self._doors = doors
        self._limits = limits
        self._control: asyncio.Transport | None = None
        self._preparing = 0
        self._prepared: dict[int, tuple[Snapshot, Tables]] = {}
        self._gateway: Gateway | None = None
        self._pods: Pods | None = None
        self._revoked: frozenset[str] = frozenset()
        self._issuer_keys: dict[str, bytes] = {}
        self._stages: tuple[Stage, ...] = ()
        self._copies = CopiesLink(loop)
        self._acceptors: list[Acceptor] = []
        self._reserve = Reserve()
        self._pressure = PressureWatch(loop, MemoryGauge(), share.worker_count, rests, _tell, self._refuse_new)
        self._tasks: set[asyncio.Task[None]] = set()
        self._accept_until_s = self._drain_by_s = math.inf
        self.done: asyncio.Future[None] = loop.create_future()

    # --- what the supervisor says

    def on_control(self, transport: asyncio.Transport) -> None:
        """The control channel stands."""
        self._control = transport
        self._send_counts()
        self._pressure.start()

    def on_message(self, message: ToWorker, blobs: list[memoryview]) -> None:
        """Do what the supervisor says."""
        match message:
            case Prepare():
                self._prepare(message.generation, blobs)
            case Commit():
                self._commit(message.generation)
            case Pods():
                self._pods = message
                if self._gateway is not None:
                    _show(self._gateway, message)
                    self._gateway.waiting.turn(self._gateway.now_s())
                self._accept_when_ready()
            case OthersRate():
                if self._gateway is not None:
                    self._gateway.tracer.note_others(message.per_s)
            case Revoked():
                self._revoked = frozenset(message.key_ids)
                if self._gateway is not None:
                    self._gateway.revoke(self._revoked)
            case IssuerKeys():
                self._issuer_keys[message.issuer] = message.jwks
                if self._gateway is not None:
                    self._gateway.credentials.put_keys(message.issuer, message.jwks)
            case Releases():
                self._stages = message.stages
                if self._gateway is not None:
                    self._gateway.stand(self._stages)
            case CopiesAt():
                self._copies.follow(message.path)
            case Drifting():
                self._copies.drifting = frozenset(message.versions)
            case ShowCertificate():
                self._doors.show(message)
                self._accept_when_ready()
            case Drain():
                self._drain(message)

    def on_supervisor_gone(self) -> None:
        """Nobody would replace this worker's policy or pods any more."""
        self._control = None
        self._drain(_ORPHAN_DRAIN)

    def _prepare(self, generation: int, blobs: list[memoryview]) -> None:
        self._preparing = generation
        filling = self._filling(generation, bytes(blobs[0]) if blobs else b"")
        if self._gateway is not None:
            self._start(_in_turns(filling))
            return
        for _ in filling:  # nobody waits yet, and its Commit may be the next message
            pass
        # Here and not at the first Commit, by which a spare is to take a dead worker's place at once.
        gc.collect()
        gc.freeze()

    def _filling(self, generation: int, blob: bytes) -> Iterator[None]:
        """Build a generation piece by piece, so that requests are answered in between."""
        try:
            snapshot = decode_snapshot(blob)
            tables = Tables(snapshot, fill=False)
            yield from tables.filling(snapshot)
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            self._say(Prepared(generation, f"{type(error).__name__}: {error}"))
        else:
            if generation == self._preparing:
                self._prepared = {generation: (snapshot, tables)}
                self._say(Prepared(generation))

    def _commit(self, generation: int) -> None:
        if generation not in self._prepared:
            return
        snapshot, tables = self._prepared.pop(generation)
        if self._gateway is None:
            self._gateway = Gateway(self._loop, snapshot, self._limits, self._share, self._recorder, self._decisions)
            self._gateway.refuse_new = self._pressure.refusal
            self._gateway.bodies = self._pressure.bodies
            self._gateway.on_wanted = self._say_unless_unread
            self._gateway.credentials.on_unknown_kid = self._say
            self._gateway.revoke(self._revoked)
            self._gateway.stand(self._stages)
            self._gateway.copies = self._copies
            for issuer, jwks in self._issuer_keys.items():
                self._gateway.credentials.put_keys(issuer, jwks)
            self._gateway.tick()
            self._gateway.record_on()
            if self._pods is not None:
                _show(self._gateway, self._pods)
        self._gateway.use(snapshot, tables)
        # A generation of ten thousand tenants is half a million objects; the collector need not look at them again and
        # again while they are in force. They refer to each other in no circle, so they go without it. Circles that
        # nobody holds any more would stay for good; nearly all that there are since the last generation are young.
        gc.collect(1)
        gc.freeze()
        self._say(Committed(generation))
        self._accept_when_ready()

    def _say(self, message: FromWorker) -> None:
        if self._control is not None:
            self._control.writelines(encode(message))

    def _say_unless_unread(self, message: FromWorker) -> None:
        """Say what counts for nothing later: not to a supervisor that is stopped."""
        if self._control is not None and self._control.get_write_buffer_size() < _UNREAD_BYTES:
            self._say(message)

    # --- connections

    def _accept_when_ready(self) -> None:
        """Accept once there is a generation and pods and certificates are known; the kernel's queue keeps callers."""
        if self._gateway is not None and self._pods is not None and self._doors.all_known:
            doors = self._doors.take_shut()
            if doors:
                self._accept(self._gateway, doors)

    def _accept(self, gateway: Gateway, doors: list[Door]) -> None:
        for door in doors:
            speaks: type[ClientConnection | GrpcConnection] = GrpcConnection if door.speaks_grpc else ClientConnection
            make_protocol = partial(speaks, gateway, door.identity_from)
            acceptor = Acceptor(self._loop, door, make_protocol, self._reserve, partial(_refused_connection, gateway))
            self._acceptors.append(acceptor)
            self._pressure.guard(acceptor)
        self._say(Accepting())

    def _refuse_new(self, refusal: Refusal | None) -> None:
        if self._gateway is not None:
            self._gateway.refuse_new = refusal

    def _send_counts(self) -> None:
        """Say how much was done; while there is nothing to count, that this worker lives."""
        LOG.tick()
        self._say_counts()
        self._loop.call_later(_COUNTS_EVERY_S, self._send_counts)

    def _say_counts(self) -> None:
        gateway = self._gateway
        if self._decisions is not None:
            self._decisions.flush()
        if gateway is None:
            self._say(Counts(0, {}, 0, 0))
        else:
            settlement = gateway.settlement
            self._say(counts_of(gateway, self._pressure.take_worst_lag_s()))
            # A supervisor that is stopped reads nothing: what waits for it here is bounded, what is written is not.
            if self._control is not None and self._control.get_write_buffer_size() < _UNREAD_BYTES:
                for tally in settlement.take_tallies():
                    self._say(tally)
                for uses in settlement.take_uses():
                    self._say(uses)
                for events in settlement.take_trials():
                    self._say(events)

    # --- the end

    def _drain(self, drain: Drain) -> None:
        """Say not ready, accept for a while more, then finish what runs; told again, it can only take less time."""
        is_first = self._drain_by_s == math.inf
        now_s = self._loop.time()
        self._accept_until_s = min(self._accept_until_s, now_s + drain.delay_s)
        self._drain_by_s = min(self._drain_by_s, now_s + drain.delay_s + drain.within_s)
        if self._gateway is not None:
            self._gateway.draining = True
            self._gateway.is_replaced = drain.is_replaced and (is_first or self._gateway.is_replaced)
        if is_first:
            self._start(self._leave())

    async def _leave(self) -> None:
        if self._gateway is not None:
            while (left_s := self._accept_until_s - self._loop.time()) > 0:  # noqa: ASYNC110 - it may become shorter
                await asyncio.sleep(min(left_s, _DRAIN_LOOK_S))
            for acceptor in self._acceptors:
                acceptor.close()
            await self._finish(self._gateway)
            if self._recorder is not None:
                self._recorder.close()
            self._say_counts()
            if self._decisions is not None:
                self._decisions.close()
        if not self.done.done():
            self.done.set_result(None)

    async def _finish(self, gateway: Gateway) -> None:
        """Let connections end, those too that are just being made, and refuse what still runs when the time is over."""
        idle_since_s = self._loop.time()
        while (now_s := self._loop.time()) < self._drain_by_s:
            if any(acceptor.is_admitting for acceptor in self._acceptors):
                idle_since_s = now_s  # whoever comes in now has its first request still to send
            elif not gateway.connections:
                break
            elif now_s - idle_since_s >= min(_IDLE_GRACE_S, (self._drain_by_s - idle_since_s) / 2):
                for connection in list(gateway.connections):
                    cast(ClientConnection | GrpcConnection, connection).close_if_idle()
            await asyncio.sleep(_DRAIN_LOOK_S)
        if gateway.in_flight:
            _tell(warning(f"{gateway.in_flight} requests were refused at the end of the drain"))
            for connection in list(gateway.connections):
                cast(ClientConnection | GrpcConnection, connection).give_up()
            await asyncio.sleep(_DRAIN_LOOK_S)  # lets the refusals reach their callers

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _show(gateway: Gateway, pods: Pods) -> None:
    gateway.pods.replace(pods.pods)
    gateway.ready_once = frozenset(pods.ready_once)


def counts_of(gateway: Gateway, lag_s: float) -> Counts:
    """Return what a worker says of itself about once a second."""
    return Counts(
        requests=gateway.settlement.requests,
        by_reason=dict(gateway.settlement.refusals),
        in_flight=gateway.in_flight,
        connections=len(gateway.connections),
        lag_s=lag_s,
        waiting=gateway.waiting.count,
        retries=gateway.retries.granted,
        retries_refused=gateway.retries.refused,
        ejected=gateway.pods.ejected,
        waits=gateway.waiting.waited.told(),
        ejections=dict(gateway.pods.ejections),
        links=gateway.pods.links,
        copies_lost=dict(gateway.copies.lost),
        log_lines=dict(LOG.lines),
        log_suppressed=LOG.suppressed,
    )


async def _in_turns(work: Iterator[None]) -> None:
    """Do a piece of work in each turn of the loop."""
    for _ in work:
        await asyncio.sleep(0)


def _refused_connection(gateway: Gateway) -> bytes:
    """Count a connection for which there is no descriptor, and return what it is answered."""
    now_s = gateway.now_s()
    gateway.settlement.count_refused("connections_full", now_s, now_s)
    request_id = gateway.tracer.new_request_id()
    refusal = Refusal("connections_full", "this gateway worker has no descriptor left; try again shortly")
    answer = refusal_answer(refusal, request_id)
    of_its_own = f"{REQUEST_ID}: {request_id}\r\nconnection: close\r\ncontent-length: {len(answer.body)}\r\n".encode()
    return status_line(answer.status, b"") + answer.fields + of_its_own + gateway.head_end + answer.body


def _tell(line: str) -> None:
    LOG.say(f"gateway: worker (pid {os.getpid()})", line)


class ControlProtocol(asyncio.Protocol):
    """The worker's end of the control channel."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._decoder: FrameDecoder[ToWorker] = FrameDecoder(ToWorker)  # type: ignore[arg-type]  # a union is a type here
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._worker.on_control(self._transport)

    def data_received(self, data: bytes) -> None:
        try:
            for message, blobs in self._decoder.feed(data):
                self._worker.on_message(message, blobs)
        except BadFrame as error:
            _tell(error_line(f"the supervisor's message cannot be read: {error}"))
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.on_supervisor_gone()
