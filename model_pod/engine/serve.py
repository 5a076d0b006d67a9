"""The inference process's conversation with its server: one Load, then a Ran for every Run, until the stream ends."""

from __future__ import annotations

import os
import select
import socket
import threading
import time

import msgspec
from setproctitle import setproctitle

from model_pod.engine.conversation import Conversation, Order
from model_pod.engine.loading import LoadedModel, load_model
from model_pod.engine.row_streams import RowStreams
from model_pod.engine.row_watch import RowWatch
from model_pod.engine.stages import BatchRunner
from model_pod.engine.tracing import Tracing
from model_pod.wire import frames
from model_pod.wire.frames import BadFrame, Buffer
from model_pod.wire.inference import Load, LoadFailed, Ran, Run, Summarised, Watch
from model_pod.wire.rows import RowRefused

EXIT_DONE, EXIT_LOAD_FAILED, EXIT_DEVICE_LOST, EXIT_BAD_FRAME = 0, 1, 3, 4


def serve(channel: socket.socket) -> int:
    """Answer the server until it closes the stream, and return the exit code."""
    channel.setblocking(True)
    tracing = Tracing()
    _end_with_server(channel, tracing)
    try:
        return _answer(Conversation(channel), tracing)
    finally:
        tracing.end()


def _answer(conversation: Conversation, tracing: Tracing) -> int:
    runner: BatchRunner | None = None
    watch = RowWatch()
    try:
        while order := _next_order(conversation, watch):
            message, blobs = order
            if isinstance(message, Watch):
                _tell(conversation, watch.heed(message))
                continue
            if isinstance(message, Load):
                answer = _load(message, tracing)
                conversation.send(answer if isinstance(answer, LoadFailed) else answer.loaded)
                if isinstance(answer, LoadFailed):
                    return EXIT_LOAD_FAILED
                runner = answer.runner
            elif runner is None or not _run(conversation, runner, watch, message, blobs):
                return EXIT_BAD_FRAME if runner is None else EXIT_DEVICE_LOST
    except BadFrame:
        return EXIT_BAD_FRAME
    except (BrokenPipeError, ConnectionResetError):
        return EXIT_DONE
    return EXIT_DONE


def _next_order(conversation: Conversation, watch: RowWatch) -> Order | None:
    """Wait for an order; tell meanwhile what rows had, when it is time."""
    due_in_s = watch.due_in_s
    if due_in_s is not None and (due_in_s <= 0.0 or not conversation.has_order_within(due_in_s)):
        _tell(conversation, watch.take())
    return conversation.next_order()


def _tell(conversation: Conversation, summarised: Summarised | None) -> None:
    if summarised is not None:
        conversation.send(summarised)


def _load(load: Load, tracing: Tracing) -> LoadedModel | LoadFailed:
    setproctitle(f"penstock pod {load.model}/{load.version} inference")
    return load_model(load, tracing)


def _run(conversation: Conversation, runner: BatchRunner, watch: RowWatch, run: Run, blobs: list[memoryview]) -> bool:
    """Return whether the process can go on."""
    began_s = time.monotonic()
    with RowStreams(run.batch_id, conversation) as streams:
        result = runner.run(run.rows, blobs, run.traceparent, streams)
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
    conversation.write(_encode(ran, result.blobs))
    # Only now: nobody of this batch waits for it.
    watch.see(run.rows, blobs, result.outcomes, result.blobs, lambda place: not streams.has_begun(place))
    return not result.must_restart


def _encode(ran: Ran, blobs: list[Buffer]) -> list[Buffer]:
    try:
        return frames.encode(ran, blobs)
    except ValueError:  # the names of a handler's outputs are its own, in number, length and characters
        refused = RowRefused("bad_output", "The names in the handler's answers cannot be sent.")
        return frames.encode(msgspec.structs.replace(ran, outcomes=(refused,) * len(ran.outcomes)))


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
