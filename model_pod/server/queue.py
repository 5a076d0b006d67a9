"""The pod's queue: in order of arrival, bounded in rows, and in bytes from a body's arrival to the end of its batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from model_pod.protocols.exchange import BatchKey, RowInput, RowOutput
from model_pod.server.answer_stream import AnswerStream
from model_pod.server.reply import Reply, Settled, Usage
from model_pod.server.request_span import RequestSpan, TimedBatch
from model_pod.wire.refusals import Refused


class QueuedRequest:
    """A request, or a part of one that has more rows than a batch may have; it owns its place in the reply.

    Attributes:
        enqueued_s: moment of arrival.
        deadline_s: moment after which it is not run any more.
        byte_count: what it holds of the queue's bytes.
        batch: that it runs or ran in; None while it waits.
        device_us: microseconds of the device that its rows are charged; 0 until it has run.
        span: of the request; None where nothing is recorded.
    """

    __slots__ = (
        "_stream",
        "batch",
        "batch_key",
        "byte_count",
        "deadline_s",
        "device_us",
        "enqueued_s",
        "inputs",
        "part",
        "reply",
        "row_count",
        "span",
    )

    def __init__(
        self,
        inputs: Sequence[RowInput],
        batch_key: BatchKey,
        enqueued_s: float,
        deadline_s: float,
        reply: Reply,
        part: int = 0,
        byte_count: int = 0,
        span: RequestSpan | None = None,
        stream: AnswerStream | None = None,
    ) -> None:
        self.inputs = inputs
        self.row_count = len(inputs)
        self.batch_key = batch_key
        self.enqueued_s = enqueued_s
        self.deadline_s = deadline_s
        self.reply = reply
        self.part = part
        self.byte_count = byte_count
        self.batch: TimedBatch | None = None
        self.device_us = 0
        self.span = span
        self._stream = stream

    @property
    def stream(self) -> AnswerStream | None:
        """Where pieces of its answer go; None for one that is made whole, or of which nothing may be told any more."""
        return None if self.reply.is_settled else self._stream

    def resolve(self, outputs: Sequence[RowOutput], usage: Usage) -> None:
        """Answer it; resolving twice is harmless."""
        self.reply.resolve(self.part, outputs, usage)


def split(
    inputs: Sequence[RowInput],
    batch_key: BatchKey,
    enqueued_s: float,
    deadline_s: float,
    max_rows: int,
    on_settled: Callable[[Settled], None],
    span: RequestSpan | None = None,
    stream: AnswerStream | None = None,
) -> list[QueuedRequest]:
    """Return the parts of a request, each with at most ``max_rows`` rows, which share one reply.

    Args:
        stream: where pieces of the answer go; only for a request of one row.
    """
    starts = range(0, len(inputs), max_rows)
    reply = Reply(len(starts), on_settled)
    parts = []
    for part, start in enumerate(starts):
        rows = inputs[start : start + max_rows]
        byte_count = sum(row.byte_count for row in rows)
        parts.append(QueuedRequest(rows, batch_key, enqueued_s, deadline_s, reply, part, byte_count, span, stream))
    if span is not None:
        span.parts = parts
    return parts


class RequestQueue:
    """Waiting requests, oldest first.

    Args:
        max_rows: most rows that may wait; more are refused.
        max_bytes: most bytes that arriving bodies, waiting requests and running batches may hold together.
    """

    def __init__(self, max_rows: int, max_bytes: int) -> None:
        self.max_rows = max_rows
        self.row_count = 0
        self.byte_count = 0
        self._max_bytes = max_bytes
        self._waiting: dict[QueuedRequest, None] = {}

    def __iter__(self) -> Iterator[QueuedRequest]:
        return iter(self._waiting)

    def __contains__(self, request: object) -> bool:
        return request in self._waiting

    def __len__(self) -> int:
        return len(self._waiting)

    def reserve(self, byte_count: int) -> None:
        """Count bytes of a body that is arriving; ``release`` gives them back.

        Raises:
            Refused: ``queue_full``.
        """
        if self.byte_count + byte_count > self._max_bytes:
            raise Refused("queue_full", "the pod's queue holds as many bytes as it may; try again later")
        self.byte_count += byte_count

    def release(self, byte_count: int) -> None:
        """Give back reserved bytes."""
        self.byte_count -= byte_count

    def add(self, parts: Sequence[QueuedRequest]) -> None:
        """Let all parts of a request in, or none.

        Raises:
            Refused: ``queue_full``.
        """
        rows = sum(part.row_count for part in parts)
        if self.row_count + rows > self.max_rows:
            raise Refused("queue_full", f"the pod's queue has no room for {rows} more rows; try again later")
        self.reserve(sum(part.byte_count for part in parts))
        self.row_count += rows
        for part in parts:
            self._waiting[part] = None

    def remove(self, requests: Iterable[QueuedRequest]) -> None:
        """Drop requests, wherever they stand; those that do not wait here are passed over."""
        for request in requests:
            if request in self._waiting:
                self._leave(request)
                self.byte_count -= request.byte_count

    def take(self, batch: Iterable[QueuedRequest]) -> None:
        """Let a batch out to run; its bytes stay counted until ``release``."""
        for request in batch:
            self._leave(request)

    def put_back(self, batch: Iterable[QueuedRequest]) -> None:
        """Return a taken batch that was never run to the front; nothing that was let in once is refused here."""
        back = []
        for request in batch:
            if request.reply.is_settled:
                self.byte_count -= request.byte_count
            else:
                request.batch = None
                back.append(request)
                self.row_count += request.row_count
        self._waiting = dict.fromkeys([*back, *self._waiting])

    def _leave(self, request: QueuedRequest) -> None:
        del self._waiting[request]
        self.row_count -= request.row_count
