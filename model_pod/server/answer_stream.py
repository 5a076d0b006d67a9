"""AnswerStream: one row's answer while its handler makes it, from the inference process to the reader."""

from __future__ import annotations

from collections.abc import Callable

from model_pod.protocols.exchange import HttpAnswer, RowOutput
from model_pod.server.reply import Settled, Usage
from model_pod.server.responder import Responder
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import PIECE_BYTES
from model_pod.wire.rows import RowRefused


def _ignore(byte_count: int) -> None:
    """Nothing has begun, or all has ended."""


class AnswerStream:
    """Passes pieces on, and counts what their reader has taken.

    Args:
        respond: to whom.
        head: how an answer begins, by the first piece and what is known by then of its cost; may refuse it.

    Attributes:
        has_begun: a piece was passed on, so that the answer cannot become another any more.
    """

    __slots__ = ("_credited_bytes", "_given_bytes", "_head", "_on_taken", "_respond", "has_begun")

    def __init__(self, respond: Responder, head: Callable[[RowOutput, Usage], HttpAnswer]) -> None:
        self._respond = respond
        self._head = head
        self._given_bytes = 0
        self._credited_bytes = 0
        self._on_taken: Callable[[int], None] = _ignore
        self.has_begun = False

    @property
    def unread_bytes(self) -> int:
        """Bytes that the reader has not taken yet."""
        return self._respond.unread_bytes

    def begin(self, output: RowOutput, so_far: Usage, on_taken: Callable[[int], None]) -> None:
        """Pass the first piece on.

        Args:
            on_taken: told from now on how many bytes more the reader has taken, once they are worth a message.

        Raises:
            Refused: the head cannot be sent; nothing was.
        """
        answer = self._head(output, so_far)
        self.has_begun = True
        self._on_taken = on_taken
        self._respond.watch(self._was_read)
        self._respond.begin(answer._replace(body=self._own(answer.body)))
        self._was_read()

    def more(self, content: Buffer) -> None:
        """Pass the next piece on."""
        if len(content):
            self._respond.more(self._own(content))
            self._was_read()

    def finish(self, settled: Settled) -> None:
        """End as the request has: with the last piece, or cut."""
        self._on_taken = _ignore
        if settled.refused is not None:
            self._respond.cut(settled.refused.reason)  # its batch has not ended: nobody knows what it costs
            return
        outcome, blobs = settled.outputs[0]
        if isinstance(outcome, RowRefused):
            self._respond.cut(outcome.reason, settled.usage)
            return
        self.more(blobs[outcome.blob])
        self._respond.end(settled.usage)

    def _own(self, content: Buffer) -> bytes:
        # What came is a view of a frame with other rows' pieces, and a slow reader must not keep theirs as well.
        self._given_bytes += len(content)
        return bytes(content)

    def _was_read(self) -> None:
        taken_bytes = self._given_bytes - self._respond.unread_bytes - self._credited_bytes
        if taken_bytes >= PIECE_BYTES:
            self._credited_bytes += taken_bytes
            self._on_taken(taken_bytes)
