"""The inference process's end of the socket: frames out, orders in, and what is said meanwhile about running rows.

Nothing reads while a handler computes; what the server says then waits in the socket until the handler asks.
"""

from __future__ import annotations

import logging
import select
import socket
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from model_pod.engine.failure_log import FAILURES
from model_pod.wire import frames
from model_pod.wire.frames import Buffer, FrameDecoder
from model_pod.wire.inference import Gone, Load, LogLevel, Run, Taken, ToInference, Watch

RECEIVE_BYTES = 2**20
# Small pieces go out in one call; a large blob is not copied only to save a call.
JOIN_BELOW_BYTES = 64 * 2**10

Order = tuple[Load | Run | Watch, list[memoryview]]


class RowWatcher(Protocol):
    """Who is told about the rows of the batch that runs."""

    def on_taken(self, row: int, byte_count: int) -> None:
        """The reader of a row's pieces took so many bytes."""
        ...

    def on_gone(self, rows: Sequence[int]) -> None:
        """Nobody waits for these rows any more."""
        ...


class Conversation:
    """Speaks to the server. One thread at a time may look or wait for an order.

    Attributes:
        is_over: the server has closed its end.
    """

    def __init__(self, channel: socket.socket) -> None:
        self.is_over = False
        self._channel = channel
        self._decoder: FrameDecoder[ToInference] = FrameDecoder(ToInference)  # type: ignore[arg-type]  # a union
        self._orders: deque[Order] = deque()
        # Of batches that have not begun; the server sends few ahead, so this stays small.
        self._gone: dict[int, list[int]] = {}
        self._batch_id = 0
        self._watcher: RowWatcher | None = None
        self._readable = select.poll()
        self._readable.register(channel.fileno(), select.POLLIN)

    def next_order(self) -> Order | None:
        """Wait for the server's next order; None when there will be none.

        Raises:
            BadFrame: the server's bytes are no frames of ours.
            OSError: the server is gone.
        """
        while not self._orders and not self.is_over:
            self._hear(self._channel.recv(RECEIVE_BYTES))
        return self._orders.popleft() if self._orders else None

    def has_order_within(self, within_s: float) -> bool:
        """Wait for the server's next order for so long; whether there is one, or an end of them."""
        if not self._orders and not self.is_over:
            self.wait(within_s)
            self.look()
        return bool(self._orders) or self.is_over

    def begin(self, batch_id: int, watcher: RowWatcher) -> None:
        """Tell ``watcher`` about the rows of this batch from now on, and what is known of them already."""
        self._batch_id, self._watcher = batch_id, watcher
        self.look()
        watcher.on_gone(self._gone.pop(batch_id, ()))

    def end(self) -> None:
        """The batch is over; what is still said about it is old."""
        self._watcher = None

    def look(self) -> None:
        """Take in what has been said, without waiting.

        Raises:
            BadFrame: the server's bytes are no frames of ours.
        """
        while not self.is_over:
            try:
                data = self._channel.recv(RECEIVE_BYTES, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data = b""
            self._hear(data)

    def wait(self, within_s: float) -> None:
        """Wait until something is said, or for so long."""
        self._readable.poll(within_s * 1000.0)

    def send(self, message: msgspec.Struct, blobs: Sequence[Buffer] = ()) -> None:
        """Write one frame; this blocks until the server takes it, which it does at any time."""
        self.write(frames.encode(message, blobs))

    def write(self, pieces: list[Buffer]) -> None:
        """Write an encoded frame."""
        if sum(len(piece) for piece in pieces) <= JOIN_BELOW_BYTES:
            pieces = [b"".join(pieces)]
        for piece in pieces:
            self._channel.sendall(piece)

    def _hear(self, data: bytes) -> None:
        self.is_over = not data
        for message, blobs in self._decoder.feed(data):
            if isinstance(message, Taken):
                if self._watcher is not None and message.batch_id == self._batch_id:
                    self._watcher.on_taken(message.row, message.byte_count)
            elif isinstance(message, Gone):
                self._on_gone(message)
            elif isinstance(message, LogLevel):
                logging.getLogger().setLevel(message.level)
                FAILURES.has_messages = message.has_messages
            else:
                self._orders.append((message, blobs))

    def _on_gone(self, gone: Gone) -> None:
        if self._watcher is not None and gone.batch_id == self._batch_id:
            self._watcher.on_gone(gone.rows)
        elif gone.batch_id > self._batch_id:
            self._gone.setdefault(gone.batch_id, []).extend(gone.rows)
