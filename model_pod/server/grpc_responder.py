"""Answers of TorchServe's gRPC predictions: what an edge is given as bytes of a handler, it gets as messages."""

from __future__ import annotations

from collections.abc import Callable

from model_pod.protocols import grpc_torchserve
from model_pod.protocols.exchange import HttpAnswer
from model_pod.server.answers import reason_in, refusal
from model_pod.server.reply import NOTHING_USED, Usage
from model_pod.server.responder import Responder
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused

# A handler that answers in parts, called by a method that has one answer: so much of it is put together.
MAX_GATHERED_BYTES = 16 * 2**20
ONE_ANSWER = b"Predictions"


class MessageStream:
    """Passes each part of an answer on as a message of its own (``Responder``)."""

    def __init__(self, respond: Responder) -> None:
        self._respond = respond

    def __call__(self, answer: HttpAnswer, usage: Usage = NOTHING_USED) -> None:
        """Answer by one message, or refuse."""
        self._respond(answer if reason_in(answer) else grpc_torchserve.encode(answer), usage)

    def begin(self, answer: HttpAnswer) -> None:
        """Begin, with a first message if there is something for it."""
        content = grpc_torchserve.prediction(answer.body) if len(answer.body) else b""
        self._respond.begin(grpc_torchserve.head(answer)._replace(body=content))

    def more(self, piece: Buffer) -> None:
        """Send another message."""
        self._respond.more(grpc_torchserve.prediction(piece))

    def end(self, usage: Usage = NOTHING_USED) -> None:
        """End the answer."""
        self._respond.end(usage)

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        """End an answer that is not whole."""
        self._respond.cut(reason, usage)

    @property
    def unread_bytes(self) -> int:
        """Bytes not taken yet, prefixes included."""
        return self._respond.unread_bytes

    def watch(self, on_read: Callable[[], None]) -> None:
        """Call when some of them are taken."""
        self._respond.watch(on_read)


class OneMessage(MessageStream):
    """Puts the parts of an answer together to one message, up to a bound."""

    def __init__(self, respond: Responder, request_id: str) -> None:
        super().__init__(respond)
        self._request_id = request_id
        self._begun: HttpAnswer | None = None
        self._gathered = bytearray()

    def begin(self, answer: HttpAnswer) -> None:
        """Keep the head until the answer is whole."""
        self._begun = answer
        self._gathered += answer.body

    def more(self, piece: Buffer) -> None:
        """Keep a part; beyond the bound nothing is kept, and the answer is refused."""
        if len(self._gathered) <= MAX_GATHERED_BYTES:
            self._gathered += piece

    def end(self, usage: Usage = NOTHING_USED) -> None:
        """Answer by what was put together."""
        if self._begun is None or len(self._gathered) > MAX_GATHERED_BYTES:
            limit = f"its parts are over {MAX_GATHERED_BYTES} bytes together; call StreamPredictions"
            self._refuse(Refused("bad_output", f"the answer does not fit one message: {limit}"), usage)
            return
        self(self._begun._replace(body=bytes(self._gathered)), usage)

    def cut(self, reason: str, usage: Usage = NOTHING_USED) -> None:
        """Refuse: nothing was sent yet."""
        self._refuse(Refused(reason, "the answer ended before it was whole"), usage)

    def _refuse(self, refused: Refused, usage: Usage) -> None:
        # It has begun, so it was in a batch of one row at least, whether or not anybody knows what that cost.
        self._respond(refusal(refused, self._request_id), usage if usage.batch_rows else Usage(batch_rows=1))

    @property
    def unread_bytes(self) -> int:
        """Nothing waits for a reader."""
        return 0

    def watch(self, on_read: Callable[[], None]) -> None:
        """Nothing waits for a reader."""
