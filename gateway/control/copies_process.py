"""The supervisor's side of the copies process: started where policy wants copies, watched, and started again.

One runs at most. Workers are told where it listens; while it is away they copy nothing.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.control import restarts
from gateway.control.copies_desk import CopiesDesk
from gateway.control.events import Say
from gateway.control.messages import CopiesAt, Drain, Pods
from gateway.control.worker_process import LEAVE_WITHIN_S, ending
from gateway.control.workers import GenerationBlob
from gateway.copies.messages import FromCopies, Listening, ToCopies, Use
from model_pod.wire.frames import BadFrame, FrameDecoder, encode
from policies.snapshot.generation import Snapshot
from telemetry.logs.line import warning

PROGRAM = (sys.executable, "-m", "gateway.copies")
# What it keeps of requests: once policy wants none of it, it removes that before it leaves.
COPIES_LEFT = ("recordings", "samples", "shadows.kept", "labels.db")
TICK_S = 1.0
# It tells about once a second, and gives way to everything else on a busy machine.
SILENT_TICKS = 30
_NO_PROCESS_PAUSE_S = 0.5
_DRAIN_GRACE_S = 1.0
# Copies under way are worth a moment, and no more.
_DRAIN_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class CopiesSpec:
    """What the process is started with.

    Attributes:
        records: path of the sidecar's socket, "" records nothing.
        package: version of Penstock, as spans tell it.
        program: the command before our options.
    """

    state: Path
    records: str = ""
    package: str = ""
    program: tuple[str, ...] = PROGRAM

    def arguments(self, control_fd: int) -> list[str]:
        """Return its command line."""
        command = [*self.program, "--control-fd", str(control_fd), "--state", str(self.state)]
        return [*command, "--records", self.records, "--package", self.package] if self.records else command


def wants_copies(snapshot: Snapshot) -> bool:
    """Whether anything of a generation needs the process."""
    return any(route.shadows or route.record or route.feedback or route.samples for route in snapshot.routes.values())


class CopiesKeeper:
    """Keeps the process running for as long as policy wants copies.

    Args:
        tell_workers: tells every worker, and each that starts later.
        leftovers: files, and folders with content, that only the process may remove: it runs as long as there are any.
    """

    def __init__(
        self,
        spec: CopiesSpec,
        desk: CopiesDesk,
        tell_workers: Callable[[CopiesAt], None],
        say: Say,
        leftovers: Sequence[Path] = (),
    ) -> None:
        self._spec = spec
        self._desk = desk
        self._tell_workers = tell_workers
        self._say = say
        self._leftovers = leftovers
        self._make: Callable[[], GenerationBlob] | None = None
        self._pods: Pods | None = None
        self._process: _CopiesProcess | None = None
        self._is_wanted = asyncio.Event()
        self._wants_copies = False
        self._is_draining = False

    def follow(self, make: Callable[[], GenerationBlob], snapshot: Snapshot) -> None:
        """Go by this generation from now on; ``make`` encodes it, where that is needed."""
        self._make = make
        self._desk.follow(snapshot)
        self._tell_generation()
        self._wants_copies = wants_copies(snapshot)
        if self._wants_copies or self._has_leftovers():
            self._is_wanted.set()
        else:
            self._let_go()

    def _tell_generation(self) -> None:
        if self._process is not None and self._make is not None:
            generation = self._make()
            self._process.send(Use(generation.number), [generation.blob])

    def _has_leftovers(self) -> bool:
        return any(map(_has_content, self._leftovers))

    def _let_go(self) -> None:
        """It is not needed any more."""
        self._is_wanted.clear()
        process = self._process
        if process is not None and not process.is_leaving:
            self._tell_workers(CopiesAt(""))
            process.drain(_DRAIN_WITHIN_S)

    def show_pods(self, pods: Pods) -> None:
        """These are the pods from now on."""
        self._pods = pods
        if self._process is not None:
            self._process.send(pods)

    async def run(self) -> None:
        """Keep it running, for ever."""
        quick_deaths = 0
        while not self._is_draining:
            await self._is_wanted.wait()
            began_s = time.monotonic()
            try:
                process = await self._start()
            except OSError as error:
                self._say(warning(f"the copies process cannot be started: {error.strerror}"))
                await asyncio.sleep(_NO_PROCESS_PAUSE_S)
                continue
            how = await self._watched(process)
            if process.is_leaving:
                continue
            quick_deaths = restarts.count_quick_deaths(quick_deaths, time.monotonic() - began_s)
            pause_s = max(_NO_PROCESS_PAUSE_S, restarts.pause_s(quick_deaths))
            self._say(f"the copies process (pid {process.pid}) {how}; the next start is in {pause_s:g} s")
            await asyncio.sleep(pause_s)

    async def _start(self) -> _CopiesProcess:
        process = self._process = await _CopiesProcess.start(self._spec, self._heard)
        self._desk.attach(process.send)
        self._tell_generation()
        if self._pods is not None:
            process.send(self._pods)
        return process

    async def _watched(self, process: _CopiesProcess) -> str:
        """Wait for its end, and say how it ended."""
        try:
            while not await process.ended_within(TICK_S):
                process.silent_ticks += 1
                if process.silent_ticks == SILENT_TICKS:
                    self._say(f"the copies process (pid {process.pid}) has said nothing for {SILENT_TICKS} s: killed")
                    process.kill()
                if not self._wants_copies and not self._has_leftovers():
                    self._let_go()
        finally:
            if self._process is process:
                self._process = None
            self._desk.detach()
            self._tell_workers(CopiesAt(""))
            if not process.has_ended:  # whoever watched is to stop, and nobody else would hear of its end
                process.kill()
            how = process.reap()
        return how

    def _heard(self, message: FromCopies) -> None:
        if isinstance(message, Listening):
            process = self._process
            if process is not None and not process.is_leaving:
                self._tell_workers(CopiesAt(message.path))
                self._say(f"the copies process (pid {process.pid}) takes copies of requests")
            return
        self._desk.heard(message)

    async def drain(self) -> None:
        """Let it finish; it is killed when it does not in time."""
        self._is_draining = True
        process = self._process
        if process is None:
            return
        process.drain(_DRAIN_WITHIN_S)
        if not await process.ended_within(_DRAIN_WITHIN_S + _DRAIN_GRACE_S):
            self._say(warning(f"the copies process (pid {process.pid}) did not finish in time and is killed"))
            process.kill()
            await process.ended_within(_DRAIN_GRACE_S)


def _has_content(path: Path) -> bool:
    with suppress(OSError):
        return any(path.iterdir()) if path.is_dir() else path.exists()
    return False


class _CopiesProcess:
    """One run of it.

    Attributes:
        is_leaving: it was asked to finish and exit.
        silent_ticks: the supervisor's ticks since it was last heard.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.pid = process.pid
        self.is_leaving = False
        self.silent_ticks = 0
        self._process = process
        self._transport: asyncio.WriteTransport | None = None
        self._ended = asyncio.Event()

    @classmethod
    async def start(cls, spec: CopiesSpec, on_message: Callable[[FromCopies], None]) -> _CopiesProcess:
        """Start it, and return it with its control channel open.

        Raises:
            OSError: no process or descriptor can be had at the moment.
        """
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            try:
                popen = _spawn(spec, theirs.fileno())
            except OSError:
                ours.close()
                raise
        process = cls(popen)
        loop = asyncio.get_running_loop()
        process._transport, _ = await loop.create_connection(lambda: _Channel(process, on_message), sock=ours)
        try:
            process._watch_exit(loop)
        except BaseException:
            process.kill()
            process.reap()
            raise
        return process

    @property
    def has_ended(self) -> bool:
        """Its end was seen."""
        return self._ended.is_set()

    def send(self, message: ToCopies, blobs: Sequence[bytes] = ()) -> None:
        """Send a message; one to a process that is going is lost with it."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines(encode(message, blobs))

    def drain(self, within_s: float) -> None:
        """Ask it to finish and exit."""
        self.is_leaving = True
        self.send(Drain(0.0, within_s))
        asyncio.get_running_loop().call_later(within_s + LEAVE_WITHIN_S, self.kill)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def reap(self) -> str:
        """Collect the ended process and say how it ended."""
        if self._transport is not None:
            self._transport.close()
        return ending(self._process.wait())

    async def ended_within(self, wait_s: float) -> bool:
        """Wait so long at most for its end, and say whether it came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._ended.wait()
        return self._ended.is_set()

    def _watch_exit(self, loop: asyncio.AbstractEventLoop) -> None:
        descriptor = os.pidfd_open(self.pid)

        def ended() -> None:
            loop.remove_reader(descriptor)
            os.close(descriptor)
            # What it told last is read in this same turn of the loop.
            loop.call_soon(self._ended.set)

        loop.add_reader(descriptor, ended)


def _spawn(spec: CopiesSpec, control_fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        spec.arguments(control_fd),
        stdin=subprocess.DEVNULL,
        pass_fds=(control_fd,),
        process_group=0,  # Ctrl-C on a terminal reaches the supervisor alone
    )


class _Channel(asyncio.Protocol):
    """Reads what the process tells; a stream that breaks or ends costs it its life."""

    def __init__(self, process: _CopiesProcess, on_message: Callable[[FromCopies], None]) -> None:
        self._process = process
        self._on_message = on_message
        self._decoder: FrameDecoder[FromCopies] = FrameDecoder(FromCopies)  # type: ignore[arg-type]  # a union of Structs

    def data_received(self, data: bytes) -> None:
        self._process.silent_ticks = 0
        try:
            for message, _ in self._decoder.feed(data):
                self._on_message(message)
        except (BadFrame, msgspec.MsgspecError):
            self._process.kill()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._process.is_leaving:
            self._process.kill()
