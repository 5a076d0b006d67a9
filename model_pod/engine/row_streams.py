"""The rows of one batch while it runs: their pieces go out as far as their readers take them, whoever leaves."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from model_pod.engine.conversation import Conversation
from model_pod.engine.row_flow import RowFlow, Step, next_step
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import PIECE_BYTES, Cut, Partial, Piece
from model_pod.wire.rows import RowAnswer

# Of two threads of a handler that wait, one may hear what the other waits for.
LOOK_EVERY_S = 0.05
STALLED = "The caller took nothing of its answer for too long."


class Outgoing(NamedTuple):
    """What one call gives to one row.

    Attributes:
        head: how the row's answer begins; None where it has begun.
    """

    content: Buffer
    head: RowAnswer | None = None


_Waiting = dict[int, deque[Outgoing]]


class RowStreams:
    """Sends pieces and knows who is left; any thread of a handler may use it.

    Args:
        batch_id: of the batch that runs.
    """

    def __init__(self, batch_id: int, conversation: Conversation, clock: Callable[[], float] = time.monotonic) -> None:
        self._batch_id = batch_id
        self._conversation = conversation
        self._clock = clock
        self._flows: defaultdict[int, RowFlow] = defaultdict(RowFlow)
        self._is_over = False
        self._state = threading.Lock()
        self._sending = threading.Lock()

    def __enter__(self) -> RowStreams:
        with self._state:
            self._conversation.begin(self._batch_id, self)
        return self

    def __exit__(self, *_: object) -> None:
        # A thread that the handler has left behind must not speak for the next batch.
        with self._state:
            self._is_over = True
            self._conversation.end()

    def on_taken(self, row: int, byte_count: int) -> None:
        self._flows[row].took(byte_count)

    def on_gone(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._flows[row].close()

    def has_begun(self, row: int) -> bool:
        """Whether a piece of this row was sent."""
        return row in self._flows and self._flows[row].has_begun

    def is_open(self, row: int) -> bool:
        """Whether anybody still waits for this row, as far as has been heard."""
        return not self._is_over and (row not in self._flows or self._flows[row].is_open)

    def look(self) -> None:
        """Hear who has left."""
        with self._state:
            self._look()

    def send(self, pieces: Mapping[int, Outgoing]) -> None:
        """Send each row's piece; blocks while a reader that is still there is too far behind.

        Pieces for rows that nobody waits for are dropped, and the row of a reader that stalls is cut.
        """
        divided = {row: deque(_parts(piece)) for row, piece in pieces.items()}
        waiting = {row: parts for row, parts in divided.items() if parts}
        with self._sending:
            while waiting:
                within_s = self._advance(waiting)
                if waiting and within_s > 0.0:
                    self._conversation.wait(min(within_s, LOOK_EVERY_S))

    def _advance(self, waiting: _Waiting) -> float:
        """Do one step; return for how long there is nothing more to do."""
        with self._state:
            self._look()
            if self._is_over:
                waiting.clear()
                return 0.0
            now_s = self._clock()
            step = next_step({row: len(parts[0].content) for row, parts in waiting.items()}, self._flows, now_s)
            for row in step.stuck:
                flow = self._flows[row]
                flow.stuck_since_s = min(flow.stuck_since_s, now_s)
            self._cut(step.stalled)
            self._send_first(step, waiting)
            for row in (*step.stalled, *step.drop):
                del waiting[row]
            return 0.0 if step.send else step.look_again_s - now_s

    def _look(self) -> None:
        if not self._is_over:
            self._conversation.look()
            self._is_over = self._conversation.is_over

    def _cut(self, rows: Iterable[int]) -> None:
        for row in rows:
            self._flows[row].close()
            self._conversation.send(Cut(self._batch_id, row, "reader_too_slow", STALLED))

    def _send_first(self, step: Step, waiting: _Waiting) -> None:
        if not step.send:
            return
        pieces: list[Piece] = []
        blobs: list[Buffer] = []
        for row in step.send:
            parts = waiting[row]
            content, head = parts.popleft()
            if not parts:
                del waiting[row]
            self._flows[row].gave(len(content))
            if head is not None:
                head = replace(head, blob=len(blobs))
            pieces.append(Piece(row, len(blobs), head))
            blobs.append(content)
        self._conversation.send(Partial(self._batch_id, tuple(pieces)), blobs)


def _parts(piece: Outgoing) -> Iterable[Outgoing]:
    """Divide a piece; an empty one is worth sending only where it begins the answer."""
    content, head = memoryview(piece.content), piece.head
    for at in range(0, len(content), PIECE_BYTES):
        yield Outgoing(content[at : at + PIECE_BYTES], head)
        head = None
    if head is not None:
        yield Outgoing(b"", head)
