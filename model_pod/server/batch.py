"""One batch on its way through the inference process, and what is recorded of it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from model_pod.server.queue import QueuedRequest
from model_pod.wire.inference import Ran, StageTimes
from telemetry.record import Packed

_NEVER_RAN = Ran(0, (), StageTimes(), 0.0, runs=0)


class Batch:
    """A batch that was sent.

    Attributes:
        started_s: when it was sent, or when the inference process came to it.
        trace_id, span_id: of its ``pod.batch``; "" where nothing is recorded.
        queued_rows: that were left waiting when it was sent.
        is_hung: it ran longer than a handler may.
        quiet_looks: looks in a row that found nothing of its handler's since it began or sent a piece.
    """

    __slots__ = (
        "__weakref__",
        "_by_row",
        "_times",
        "answered_s",
        "batch_id",
        "is_hung",
        "queued_rows",
        "quiet_looks",
        "ran",
        "request_count",
        "requests",
        "row_count",
        "span_id",
        "started_s",
        "trace_id",
    )

    def __init__(
        self,
        batch_id: int,
        requests: Sequence[QueuedRequest],
        row_count: int,
        started_s: float,
        span: tuple[str, str],
        queued_rows: int,
    ) -> None:
        self.batch_id = batch_id
        self.requests = requests
        self.request_count = len(requests)
        self.row_count = row_count
        self.started_s = started_s
        self.trace_id, self.span_id = span
        self.queued_rows = queued_rows
        self.is_hung = False
        self.quiet_looks = 0
        self.ran: Ran | None = None
        self.answered_s = 0.0
        self._times: Packed | None = None
        self._by_row: list[QueuedRequest] = []

    def ended(self, ran: Ran | None, now_s: float) -> None:
        """It has run, or (None) it never will."""
        self.ran = ran
        self.answered_s = now_s
        if ran is not None and ran.began_s:
            # It begins a lying-ready batch before we hear that the one before it has ended.
            self.started_s = min(self.started_s, ran.began_s)
        self._times = None

    def request_at(self, row: int) -> QueuedRequest | None:
        """Return the request that a row belongs to; None when there is no such row."""
        if not self._by_row:
            self._by_row = [request for request in self.requests for _ in range(request.row_count)]
        return self._by_row[row] if 0 <= row < len(self._by_row) else None

    def rows_of(self, wanted: QueuedRequest) -> tuple[int, ...]:
        """Return the positions of a request's rows."""
        first = 0
        for request in self.requests:
            if request is wanted:
                return tuple(range(first, first + request.row_count))
            first += request.row_count
        return ()

    @property
    def streaming(self) -> list[QueuedRequest]:
        """Requests whose answer has begun and not ended."""
        return [request for request in self.requests if (stream := request.stream) and stream.has_begun]

    @property
    def awaits_a_reader(self) -> bool:
        """Whether a reader has yet to take some of a row's pieces, for which its handler may be waiting."""
        return any(stream.unread_bytes for request in self.streaming if (stream := request.stream))

    def times(self) -> Packed:
        """Return its times as far as they are known, a ``telemetry.records.BatchTimes`` as a tuple."""
        if self._times is None:
            self._times = self._timed()
        return self._times

    def _timed(self) -> Packed:
        ran = self.ran or _NEVER_RAN
        stages = ran.stages
        return (
            self.batch_id,
            self.trace_id,
            self.span_id,
            self.started_s,
            ran.began_s,
            stages.preprocess_s,
            stages.inference_s,
            stages.postprocess_s,
            ran.ended_s,
            self.answered_s,
            self.row_count,
            self.request_count,
            ran.runs,
            ran.device_s,
        )

    def record(self, device: str, reason: str) -> Packed:
        """Return the record, a ``telemetry.records.PodBatch`` as a tuple."""
        started_s = self.started_s
        members = [
            (
                span.trace_id,
                span.span_id,
                request.part,
                span.request_id,
                request.row_count,
                max(0.0, started_s - request.enqueued_s),
                charged_us,
            )
            for request, charged_us in zip(self.requests, self._charged_us(), strict=True)
            if (span := request.span) is not None
        ]
        return ("b", self.times(), members, device, self.queued_rows, reason)

    def _charged_us(self) -> list[int]:
        """Return what each request was charged of the device's time; nothing of a batch that never ran."""
        if self.ran is None:
            return [0] * len(self.requests)
        rows_us = iter(self.ran.charged_us)
        return [sum(islice(rows_us, request.row_count)) for request in self.requests]

    def let_go(self) -> None:
        """Forget the requests: each knows its batch, and a circle would keep their bodies until it is collected."""
        self.requests = ()
        self._by_row = []

    def waited_s(self, request: QueuedRequest) -> float:
        """Return how long a request of this batch waited for it."""
        return max(0.0, self.started_s - request.enqueued_s)
