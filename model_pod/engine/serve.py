"""The inference process's conversation with its server: one Load, then a Ran for every Run, until the stream ends."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from collections.abc import Iterator, Sequence

import msgspec
from setproctitle import setproctitle

from model_pod.engine.loading import LoadedModel, load_model
from model_pod.engine.stages import BatchRunner
from model_pod.engine.tracing import Tracing
from model_pod.wire import frames
from model_pod.wire.frames import BadFrame, Buffer, FrameDecoder
from model_pod.wire.inference import Load, LoadFailed, Ran, Run, ToInference
from model_pod.wire.rows import RowRefused

EXIT_DONE, EXIT_LOAD_FAILED, EXIT_DEVICE_LOST, EXIT_BAD_FRAME = 0, 1, 3, 4
RECEIVE_BYTES = 2**20
# Small pieces go out in one call; a large blob is not copied only to save a call.
JOIN_BELOW_BYTES = 64 * 2**10


def serve(channel: socket.socket) -> int:
    """Answer the server until it closes the stream, and return the exit code."""
    channel.setblocking(True)
    tracing = Tracing()
    _end_with_server(channel, tracing)
    try:
        return _answer(channel, tracing)
    finally:
        tracing.end()


def _answer(channel: socket.socket, tracing: Tracing) -> int:
    runner: BatchRunner | None = None
    try:
        for message, blobs in _receive(channel):
            if isinstance(message, Load):
                answer = _load(message, tracing)
                send(channel, answer if isinstance(answer, LoadFailed) else answer.loaded)
                if isinstance(answer, LoadFailed):
                    return EXIT_LOAD_FAILED
                runner = answer.runner
            elif runner is None or not _run(channel, runner, message, blobs):
                return EXIT_BAD_FRAME if runner is None else EXIT_DEVICE_LOST
    except BadFrame:
        return EXIT_BAD_FRAME
    except (BrokenPipeError, ConnectionResetError):
        return EXIT_DONE
    return EXIT_DONE


def send(channel: socket.socket, message: msgspec.Struct, blobs: Sequence[Buffer] = ()) -> None:
    """Write one frame; the stream blocks until the server takes it."""
    _write(channel, frames.encode(message, blobs))


def _write(channel: socket.socket, pieces: list[Buffer]) -> None:
    if sum(len(piece) for piece in pieces) <= JOIN_BELOW_BYTES:
        pieces = [b"".join(pieces)]
    for piece in pieces:
        channel.sendall(piece)


def _load(load: Load, tracing: Tracing) -> LoadedModel | LoadFailed:
    setproctitle(f"penstock pod {load.model}/{load.version} inference")
    return load_model(load, tracing)


def _run(channel: socket.socket, runner: BatchRunner, run: Run, blobs: list[memoryview]) -> bool:
    """Return whether the process can go on."""
    began_s = time.monotonic()
    result = runner.run(run.rows, blobs, run.traceparent)
    ended_s = time.monotonic()
    ran = Ran(
        run.batch_id,
        result.outcomes,
        result.times,
        result.device_s,
        result.runs,
        began_s,
        ended_s,
        result.charged_us,
    )
    _write(channel, _encode(ran, result.blobs))
    return not result.must_restart


def _encode(ran: Ran, blobs: list[Buffer]) -> list[Buffer]:
    try:
        return frames.encode(ran, blobs)
    except ValueError:  # the names of a handler's outputs are its own, in number, length and characters
        refused = RowRefused("bad_output", "The names in the handler's answers cannot be sent.")
        return frames.encode(msgspec.structs.replace(ran, outcomes=(refused,) * len(ran.outcomes)))


def _receive(channel: socket.socket) -> Iterator[tuple[ToInference, list[memoryview]]]:
    decoder: FrameDecoder[ToInference] = FrameDecoder(ToInference)  # type: ignore[arg-type]  # a union, not a class
    while data := channel.recv(RECEIVE_BYTES):
        yield from decoder.feed(data)


def _end_with_server(channel: socket.socket, tracing: Tracing) -> None:
    """End this process when its server is gone, even in the middle of a batch that never returns.

    A child that a handler forks gives up its copy of the stream, or the server would not see this process end.
    """
    os.register_at_fork(after_in_child=channel.close)
    poll = select.poll()
    # Hang-up and errors are always reported; asking for nothing else leaves the data to the main thread.
    poll.register(channel.fileno(), 0)

    def wait_for_hang_up() -> None:
        poll.poll()
        try:
            tracing.end()
        finally:
            os._exit(EXIT_DONE)

    threading.Thread(target=wait_for_hang_up, name="server-watch", daemon=True).start()
