"""One worker process: started, spoken to over its control socket, and watched until it has ended."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from gateway.control.messages import Accepting, Committed, Counts, Drain, FromWorker, ToWorker
from model_pod.wire.frames import BadFrame, FrameDecoder, encode

# Two counts that arrive together, after either process was stopped, say nothing of a rate.
_SHORTEST_RATE_S = 0.5
# A worker that leaves closes its channel before it has ended: its interpreter has yet to be torn down.
LEAVE_WITHIN_S = 5.0

PROGRAM = (sys.executable, "-m", "gateway.dataplane")


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What every worker of this supervisor is started with.

    Attributes:
        listen_fds: inherited listening sockets of the inference API without TLS.
        limits_fd: memory that the workers share for rate limits.
        worker_count: how many accept requests; each has its share of what a pod may have in flight.
        program: the command before our options.
        records: path of the sidecar's socket, "" records nothing.
        package: version of Penstock, as spans tell it.
        decisions: folder for decision records, "" keeps none.
        tls_fds: like ``listen_fds``, of those with TLS, whose certificates the workers are told.
        grpc_fds: those of both where gRPC is spoken.
    """

    listen_fds: tuple[int, ...]
    limits_fd: int
    worker_count: int
    program: tuple[str, ...] = PROGRAM
    records: str = ""
    package: str = ""
    decisions: str = ""
    tls_fds: tuple[int, ...] = ()
    grpc_fds: tuple[int, ...] = ()

    def arguments(self, index: int, control_fd: int) -> list[str]:
        """Return the command line of one worker."""
        command = [*self.program, "--control-fd", str(control_fd), "--worker-count", str(self.worker_count)]
        for descriptor in self.listen_fds:
            command += ["--listen-fd", str(descriptor)]
        for descriptor in self.tls_fds:
            command += ["--tls-fd", str(descriptor)]
        for descriptor in self.grpc_fds:
            command += ["--grpc-fd", str(descriptor)]
        if self.records:
            command += ["--records", self.records, "--package", self.package]
        if self.decisions:
            command += ["--decisions", self.decisions]
        return [*command, "--index", str(index), "--limits-fd", str(self.limits_fd)]


class WorkerProcess:
    """A running worker, as the supervisor sees it.

    Attributes:
        serial: never used twice, unlike an index or a process id.
        started_s: monotonic seconds of its start.
        on_duty_s: the same, or the moment when it ceased to be the spare.
        is_gone: it has ended.
        has_stood_by: it was the spare once.
        has_counted: it has begun to send its counts, which go on as long as it does.
        is_leaving: it was asked to finish and exit.
        generation: the one it has committed, 0 before the first.
        silent_ticks: the supervisor's ticks since it was last heard.
        rate_per_s: requests it settled per second between its last two counts.
    """

    def __init__(self, index: int, serial: int, process: subprocess.Popen[bytes]) -> None:
        self.index = index
        self.serial = serial
        self.pid = process.pid
        self.started_s = self.on_duty_s = time.monotonic()
        self.has_counted = False
        self.generation = 0
        self.is_accepting = False
        self.is_gone = False
        self.is_leaving = False
        self.has_stood_by = False
        self.counts = Counts(requests=0, by_reason={}, in_flight=0, connections=0)
        self.silent_ticks = 0
        self.rate_per_s = 0.0
        self._counted_s = time.monotonic()
        self._process = process
        self._transport: asyncio.WriteTransport | None = None

    def __str__(self) -> str:
        return f"worker {self.index} (pid {self.pid})"

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Speak to the worker over this transport from now on."""
        self._transport = transport

    def send(self, message: ToWorker, blobs: Sequence[bytes] = ()) -> None:
        """Send a message; one to a worker that is going is lost with it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(encode(message, blobs))

    def drain(self, delay_s: float, within_s: float, *, is_replaced: bool = False) -> None:
        """Ask it to finish and exit; the gateway stays ready if its place is taken already."""
        self.is_leaving = True
        self.send(Drain(delay_s, within_s, is_replaced))

    def kill(self) -> None:
        """End it at once; its exit is reported like any other."""
        self._process.kill()

    def heard(self, message: FromWorker) -> None:
        """Note what the worker says of itself."""
        self.silent_ticks = 0
        match message:
            case Committed(generation=generation):
                self.generation = generation
            case Accepting():
                self.is_accepting = True
            case Counts():
                self._note_rate(message)
                self.counts = message
                self.has_counted = True

    def _note_rate(self, counts: Counts) -> None:
        now_s = time.monotonic()
        elapsed_s = max(now_s - self._counted_s, _SHORTEST_RATE_S)
        self.rate_per_s = (counts.requests - self.counts.requests) / elapsed_s
        self._counted_s = now_s

    def reap(self) -> str:
        """Collect the ended process and say how it ended."""
        self.is_gone = True
        if self._transport is not None:
            self._transport.close()
        return ending(self._process.wait())


def ending(status: int) -> str:
    """Say in words how a process ended."""
    if status < 0:
        try:
            return f"died of {signal.Signals(-status).name}"
        except ValueError:
            return f"died of signal {-status}"
    return f"exited with status {status}"


class ControlChannel(asyncio.Protocol):
    """Reads a worker's messages; a stream that breaks or ends costs the worker its life."""

    def __init__(self, worker: WorkerProcess, on_message: Callable[[WorkerProcess, FromWorker], None]) -> None:
        self._worker = worker
        self._on_message = on_message
        self._decoder: FrameDecoder[FromWorker] = FrameDecoder(FromWorker)  # type: ignore[arg-type]  # a union of Structs

    def data_received(self, data: bytes) -> None:
        """Pass on every whole message."""
        try:
            for message, _ in self._decoder.feed(data):
                self._worker.heard(message)
                self._on_message(self._worker, message)
        except (BadFrame, msgspec.MsgspecError):
            self._worker.kill()

    def connection_lost(self, error: Exception | None) -> None:
        """A worker that cannot be spoken to is of no use, if it still runs; one that was asked to leave is leaving."""
        if self._worker.is_leaving and error is None:
            asyncio.get_running_loop().call_later(LEAVE_WITHIN_S, self._worker.kill)
        else:
            self._worker.kill()


OnMessage = Callable[[WorkerProcess, FromWorker], None]
OnExit = Callable[[WorkerProcess], None]


async def start_worker(
    spec: WorkerSpec, index: int, serial: int, on_message: OnMessage, on_exit: OnExit
) -> WorkerProcess:
    """Start a worker and return it with its control channel open.

    Raises:
        OSError: no process or descriptor can be had at the moment.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with theirs:
        try:
            process = _spawn(spec, index, theirs.fileno())
        except OSError:
            ours.close()
            raise
    worker = WorkerProcess(index, serial, process)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: ControlChannel(worker, on_message), sock=ours)
    worker.attach(transport)
    try:
        _watch_exit(loop, worker, on_exit)
    except BaseException:
        # Nobody would hear of its end.
        worker.kill()
        worker.reap()
        raise
    return worker


def _spawn(spec: WorkerSpec, index: int, control_fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        spec.arguments(index, control_fd),
        stdin=subprocess.DEVNULL,
        pass_fds=(control_fd, spec.limits_fd, *spec.listen_fds, *spec.tls_fds),
        process_group=0,  # Ctrl-C on a terminal reaches the supervisor alone, which drains its workers
    )


def _watch_exit(loop: asyncio.AbstractEventLoop, worker: WorkerProcess, on_exit: OnExit) -> None:
    descriptor = os.pidfd_open(worker.pid)

    def ended() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        # The control socket, with the worker's last counts in it, is read in this same turn of the loop.
        loop.call_soon(on_exit, worker)

    loop.add_reader(descriptor, ended)
