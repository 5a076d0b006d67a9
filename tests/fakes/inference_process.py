"""A scripted inference process: the other end of the socketpair, in the test's own loop, moved on by the test alone."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Sequence

import msgspec

from model_pod.engine.charges import divide
from model_pod.wire import frames
from model_pod.wire.frames import Buffer, FrameDecoder
from model_pod.wire.inference import Load, Loaded, Ran, Run, StageTimes, ToInference
from model_pod.wire.rows import Row, RowAnswer, RowOutcome

Answered = tuple[RowOutcome, Sequence[Buffer]]
_pids = itertools.count(1_000_000)


class FakeInference:
    """One scripted process; it does nothing until the test says so."""

    def __init__(self, end: socket.socket) -> None:
        self.pid = next(_pids)
        self.was_killed = False
        self._end = end
        self._end.setblocking(False)
        self._decoder: FrameDecoder[ToInference] = FrameDecoder(ToInference)  # type: ignore[arg-type]  # a union
        self._arrived: list[tuple[ToInference, list[memoryview]]] = []
        self._is_gone = asyncio.Event()
        self._how = "SIGKILL"

    async def received(self) -> tuple[ToInference, list[memoryview]]:
        """Wait for the server's next message."""
        loop = asyncio.get_running_loop()
        while not self._arrived:
            data = await loop.sock_recv(self._end, 2**16)
            if not data:
                raise EOFError
            self._arrived += self._decoder.feed(data)
        return self._arrived.pop(0)

    async def received_run(self) -> tuple[Run, list[memoryview]]:
        """Wait for the server's next batch."""
        message, blobs = await self.received()
        assert isinstance(message, Run)
        return message, blobs

    async def send(self, message: msgspec.Struct, blobs: Sequence[Buffer] = ()) -> None:
        """Say something, right or wrong."""
        await self.send_bytes(b"".join(frames.encode(message, blobs)))

    async def send_bytes(self, data: bytes) -> None:
        """Say bytes that need be no frame."""
        await asyncio.get_running_loop().sock_sendall(self._end, data)

    async def load(self, records_spans: bool = False) -> Load:
        """Take the load order and become ready."""
        message, _ = await self.received()
        assert isinstance(message, Load)
        await self.send(Loaded(device="cpu", load_s=0.1, timed_stages=True, records_spans=records_spans))
        return message

    async def answer(
        self, run: Run, blobs: Sequence[Buffer], respond: Callable[[Row, Sequence[Buffer]], Answered]
    ) -> None:
        """Answer a batch, row by row; blob indices of each answer are into its own blobs."""
        outcomes: list[RowOutcome] = []
        out: list[Buffer] = []
        for row in run.rows:
            outcome, row_blobs = respond(row, blobs)
            if isinstance(outcome, RowAnswer):
                tensors = tuple(
                    msgspec.structs.replace(tensor, blob=tensor.blob + len(out)) for tensor in outcome.tensors
                )
                blob = outcome.blob + len(out) if outcome.blob >= 0 else -1
                outcome = msgspec.structs.replace(outcome, tensors=tensors, blob=blob)
            outcomes.append(outcome)
            out += row_blobs
        charged_us = tuple(divide(2000, [1] * len(outcomes)))
        times = StageTimes(0.001, 0.002, 0.003)
        await self.send(Ran(run.batch_id, tuple(outcomes), times, 0.002, charged_us=charged_us), out)

    def die(self, how: str = "SIGSEGV") -> None:
        """End the process as if something had gone wrong in it."""
        if not self._is_gone.is_set():
            self._how = how
            self._end.close()
            self._is_gone.set()

    def kill(self) -> None:
        self.was_killed = True
        self.die("SIGKILL")

    async def ended(self) -> str:
        await self._is_gone.wait()
        return self._how


class FakeInferences:
    """Starts scripted processes for a pod, and hands them to the test in the order of their start."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._started: asyncio.Queue[FakeInference] = asyncio.Queue()

    def start_child(self, theirs: socket.socket) -> FakeInference:
        """Start one; called in a thread, as the true one is."""
        fake = FakeInference(theirs.dup())
        self._loop.call_soon_threadsafe(self._started.put_nowait, fake)
        return fake

    async def next(self) -> FakeInference:
        """Wait for the next process to be started."""
        return await self._started.get()

    async def next_loaded(self, records_spans: bool = False) -> FakeInference:
        """Wait for the next process to be started, and let it load."""
        fake = await self.next()
        await fake.load(records_spans)
        return fake


def echo(row: Row, blobs: Sequence[Buffer]) -> Answered:
    """Answer a row with the bytes of its first part."""
    return RowAnswer(content_type="text/plain", blob=0), [blobs[row.parts[0].blob]]


def mirror(row: Row, blobs: Sequence[Buffer]) -> Answered:
    """Answer a row with its own tensors."""
    tensors = tuple(msgspec.structs.replace(tensor, blob=index) for index, tensor in enumerate(row.tensors))
    return RowAnswer(tensors=tensors), [blobs[tensor.blob] for tensor in row.tensors]
