"""One inference process as its server sees it: started on a socketpair, spoken to in frames, killed when it must be."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol, cast

import msgspec

from model_pod.wire import frames
from model_pod.wire.frames import BadFrame, Buffer, FrameDecoder
from model_pod.wire.inference import FromInference
from telemetry.logs.log import FORMAT_VARIABLE

OnMessage = Callable[[FromInference, Sequence[Buffer]], None]
OnEnd = Callable[[], None]
SOCKET_BUFFER_BYTES = 1 * 2**20


class Child(Protocol):
    """The operating system's side of an inference process."""

    @property
    def pid(self) -> int: ...

    def kill(self) -> None:
        """Kill it; a process that is gone already stays gone."""

    async def ended(self) -> str:
        """Wait for its end; return how it ended ("status 1", "SIGKILL")."""
        ...


class EngineChild:
    """A ``python -m model_pod.engine`` process.

    Args:
        output_fd: where it writes what it prints, as lines of JSON what it logs; our own descriptors when left out.
    """

    def __init__(self, theirs: socket.socket, output_fd: int = -1) -> None:
        argv = [sys.executable, "-m", "model_pod.engine", "--fd", str(theirs.fileno())]
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=output_fd if output_fd >= 0 else None,
            stderr=output_fd if output_fd >= 0 else None,
            pass_fds=(theirs.fileno(),),
            process_group=0,
            env={**os.environ, FORMAT_VARIABLE: "json"} if output_fd >= 0 else None,
        )
        self._pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        # Once it is reaped its group's number may be anybody's.
        if self._process.returncode is None:
            # The whole group: a handler may have started processes of its own, and they hold the device's memory.
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def ended(self) -> str:
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._pidfd, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.kill()  # what is left of the group, before the wait below frees its number
        return described(self._process.wait())


def described(returncode: int) -> str:
    """Return how a process ended, in words."""
    return signal.Signals(-returncode).name if returncode < 0 else f"status {returncode}"


def _ignore(message: FromInference, blobs: Sequence[Buffer]) -> None:
    """Nothing is expected yet."""


def _ignore_end() -> None:
    """Nothing was sent yet."""


class InferenceProcess(asyncio.Protocol):
    """The conversation with one inference process.

    Attributes:
        on_message: told of every message; replaced as the process moves from loading to running.
        on_end: told when the conversation is over, which is before ``ended`` has taken leave of the process.
    """

    def __init__(self) -> None:
        self.on_message: OnMessage = _ignore
        self.on_end: OnEnd = _ignore_end
        self.closed = asyncio.Event()
        self._decoder: FrameDecoder[FromInference] = FrameDecoder(FromInference)  # type: ignore[arg-type]  # a union
        self._transport: asyncio.Transport | None = None
        self._child: Child | None = None
        self._has_ended = False

    @property
    def hears(self) -> bool:
        """Whether what is sent now can reach it."""
        return self._transport is not None and not self._transport.is_closing() and not self._has_ended

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid if self._child else 0

    def send(self, message: msgspec.Struct, blobs: Sequence[Buffer] = ()) -> None:
        """Send one message; a process that is gone does not hear it, and its end is told elsewhere.

        Raises:
            ValueError: the message is larger than a frame may be.
        """
        pieces = frames.encode(message, blobs)
        if self._transport is not None and self.hears:
            self._transport.writelines(pieces)

    def finish(self) -> None:
        """Say that nothing more will come, which lets it end by itself."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def kill(self) -> None:
        """End it now; nothing that it still says is heard."""
        if self._child:
            self._child.kill()
        if self._transport:
            self._transport.abort()

    async def ended(self) -> str:
        """Wait until the conversation is over, then for the process itself; return how it ended."""
        if self._child is None:
            raise RuntimeError("the process was not started")
        how = asyncio.ensure_future(self._child.ended())
        closed = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait((how, closed), return_when=asyncio.FIRST_COMPLETED)
            if not how.done():
                self._child.kill()  # without the conversation it is of no use, whatever it still does
            ended = await how
            self._has_ended = True
            await self._read_the_rest()
            return ended
        finally:
            how.cancel()
            closed.cancel()

    async def _read_the_rest(self) -> None:
        """Let what the process said before its end arrive; a grandchild that holds the socket does not keep us."""
        try:
            await asyncio.wait_for(self.closed.wait(), 1.0)
        except TimeoutError:
            if self._transport:
                self._transport.abort()

    async def open(self, start_child: Callable[[socket.socket], Child]) -> None:
        """Start the process with one end of a new socketpair.

        Raises:
            OSError: the system has no room for another process.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            for end in (ours, theirs):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
            starting = asyncio.ensure_future(asyncio.to_thread(start_child, theirs))
            try:
                self._child = await asyncio.shield(starting)
                ours.setblocking(False)
                await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)
            except BaseException:  # a cancelled start must leave no process: the thread may start it all the same
                ours.close()
                await asyncio.wait((starting,))
                if not starting.exception():
                    starting.result().kill()
                raise

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # what a stream socket gives

    def data_received(self, data: bytes) -> None:
        try:
            for message, blobs in self._decoder.feed(data):
                self.on_message(message, blobs)
        except BadFrame:
            self.kill()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        self.on_end()
