"""Worker: one process of the data plane. Takes generations and pods from the supervisor, connections from sockets."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from functools import partial
from typing import cast

import msgspec

from gateway.control.messages import (
    Accepting,
    Commit,
    Committed,
    Counts,
    Drain,
    FromWorker,
    IssuerKeys,
    OthersRate,
    Pods,
    Prepare,
    Prepared,
    Revoked,
    ShowCertificate,
    ToWorker,
)
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.gateway import Gateway, Share, decode_snapshot
from gateway.dataplane.server import ClientConnection
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.tls import Door, Doors
from gateway.decide.tables import Tables
from gateway.tls import HANDSHAKE_WITHIN_S
from model_pod.wire.frames import BadFrame, FrameDecoder, encode
from policies.snapshot import Snapshot
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
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.done: asyncio.Future[None] = loop.create_future()

    # --- what the supervisor says

    def on_control(self, transport: asyncio.Transport) -> None:
        """The control channel stands."""
        self._control = transport
        self._send_counts()

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
                    self._gateway.pods.replace(message.pods)
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
            case ShowCertificate():
                self._doors.show(message)
                self._accept_when_ready()
            case Drain():
                self._start(self._drain(message))

    def on_supervisor_gone(self) -> None:
        """Nobody would replace this worker's policy or pods any more."""
        self._control = None
        self._start(self._drain(_ORPHAN_DRAIN))

    def _prepare(self, generation: int, blobs: list[memoryview]) -> None:
        self._preparing = generation
        filling = self._filling(generation, bytes(blobs[0]) if blobs else b"")
        if self._gateway is not None:
            self._start(_in_turns(filling))
            return
        for _ in filling:  # nobody waits yet, and its Commit may be the next message
            pass

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
            self._gateway.on_wanted = self._say_unless_unread
            self._gateway.credentials.on_unknown_kid = self._say
            self._gateway.revoke(self._revoked)
            for issuer, jwks in self._issuer_keys.items():
                self._gateway.credentials.put_keys(issuer, jwks)
            self._gateway.tick()
            self._gateway.record_on()
            if self._pods is not None:
                self._gateway.pods.replace(self._pods.pods)
        self._gateway.use(snapshot, tables)
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
                self._start(self._accept(self._gateway, doors))

    async def _accept(self, gateway: Gateway, doors: list[Door]) -> None:
        for door in doors:
            server = await self._loop.create_server(
                partial(ClientConnection, gateway, door.identity_from),
                sock=door.socket,
                backlog=4096,
                ssl=door.context,
                ssl_handshake_timeout=HANDSHAKE_WITHIN_S if door.context is not None else None,
            )
            self._servers.append(server)
        self._say(Accepting())

    def _send_counts(self) -> None:
        """Say how much was done; while there is nothing to count, that this worker lives."""
        self._say_counts()
        self._loop.call_later(_COUNTS_EVERY_S, self._send_counts)

    def _say_counts(self) -> None:
        gateway = self._gateway
        if self._decisions is not None:
            self._decisions.flush()
        if gateway is None:
            self._say(Counts(0, {}, 0, 0))
        else:
            by_reason = dict(gateway.refusals)
            self._say(Counts(gateway.requests, by_reason, gateway.in_flight, len(gateway.connections)))
            # A supervisor that is stopped reads nothing: what waits for it here is bounded, what is written is not.
            if self._control is not None and self._control.get_write_buffer_size() < _UNREAD_BYTES:
                for tally in gateway.take_tallies():
                    self._say(tally)
                for uses in gateway.take_uses():
                    self._say(uses)

    # --- the end

    async def _drain(self, drain: Drain) -> None:
        """Say not ready, accept for a while more, then finish what runs."""
        gateway = self._gateway
        if gateway is not None:
            if gateway.draining:
                return  # told twice, or orphaned while draining: the first goes on
            gateway.draining = True
            await asyncio.sleep(drain.delay_s)
            for server in self._servers:
                server.close()
            begun_s = self._loop.time()
            while gateway.connections and (drained_s := self._loop.time() - begun_s) < drain.within_s:
                if drained_s >= min(_IDLE_GRACE_S, drain.within_s / 2):
                    for connection in list(gateway.connections):
                        cast(ClientConnection, connection).close_if_idle()
                await asyncio.sleep(_DRAIN_LOOK_S)
            if gateway.in_flight:
                print(f"gateway: {gateway.in_flight} requests were refused at the end of the drain", file=sys.stderr)
                for connection in list(gateway.connections):
                    cast(ClientConnection, connection).give_up()
                await asyncio.sleep(_DRAIN_LOOK_S)  # lets the refusals reach their callers
            if self._recorder is not None:
                self._recorder.close()
            self._say_counts()
            if self._decisions is not None:
                self._decisions.close()
        if not self.done.done():
            self.done.set_result(None)

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _in_turns(work: Iterator[None]) -> None:
    """Do a piece of work in each turn of the loop."""
    for _ in work:
        await asyncio.sleep(0)


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
            print(f"gateway: the supervisor's message cannot be read: {error}", file=sys.stderr)
            if self._transport is not None:
                self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._worker.on_supervisor_gone()
