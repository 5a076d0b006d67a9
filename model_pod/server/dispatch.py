"""Plans into frames and outcomes into replies: one batch runs, one more may lie ready in the inference process.

What runs when the process dies is refused (it may have had effects); what only lay ready has not begun and waits for
the next process, because the inference process runs batches strictly one after the other.
"""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from model_pod.protocols.exchange import RowInput, RowOutput, moved
from model_pod.server.answer_stream import AnswerStream
from model_pod.server.batch import Batch
from model_pod.server.batching import BatchingPolicy, Plan, plan_batch, plan_expiry
from model_pod.server.inference_process import InferenceProcess
from model_pod.server.queue import QueuedRequest, RequestQueue
from model_pod.server.reply import Usage
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import Cut, Gone, Partial, Piece, Ran, Run, Taken
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Row, RowAnswer
from telemetry.record import Recorder
from telemetry.records import MAX_PARTS, Stage, part_id
from telemetry.trace_context import traceparent

# The second hides the way back and forth between the processes behind the first one's run. That is for devices that
# work beside the CPU: with a small model on 2 CPU cores 2 against 1 made no difference (requests/s x 0.97 to 1.08).
MAX_BATCHES_SENT = 2

# A handler is hung after so many looks in a row that found nothing of it, evenly spread over the time that it has.
_HANG_LOOKS = 8


class WrongAnswer(Exception):
    """The inference process answered what it was not given, or with another number of outcomes or charges."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An inference process that is ready for batches.

    Attributes:
        response_timeout_s: how long one batch may run, or send no piece of an answer, before the process is taken for
            hung and killed; up to an eighth longer after a piece, and longer where the pod itself is halted.
        device: where it runs, as spans tell it.
        records_spans: the handler records spans of its own, and is told whose children they are.
    """

    process: InferenceProcess
    policy: BatchingPolicy
    response_timeout_s: float
    device: str = ""
    records_spans: bool = False


class Dispatcher:
    """Moves requests from the queue to the inference process and their outcomes back.

    Args:
        recorder: what the sidecar is told by; None where there is none.

    Attributes:
        idle: set while nothing arrives, waits or runs.
        device_s: seconds that batches held the device, as the inference process measured them.
        batches: that have run.
        batch_rows: of all these batches.
    """

    def __init__(self, queue: RequestQueue, recorder: Recorder | None = None) -> None:
        self.queue = queue
        self._recorder = recorder
        self._device = ""
        self.device_s = 0.0
        self.batches = 0
        self.batch_rows = 0
        self.idle = asyncio.Event()
        self.idle.set()
        self._engine: Engine | None = None
        self._batches: deque[Batch] = deque()
        self._arriving = 0
        self._next_batch_id = 1
        self._pump_is_due = False
        self._wake_at_s = math.inf
        self._wake: asyncio.TimerHandle | None = None
        self._hang_watch: asyncio.TimerHandle | None = None
        self._late_watch: asyncio.TimerHandle | None = None

    @property
    def has_engine(self) -> bool:
        """Whether there is a process that hears what is sent to it."""
        return self._engine is not None and self._engine.process.hears

    @property
    def running_rows(self) -> int:
        """Rows of the batch that runs now."""
        return self._batches[0].row_count if self._batches else 0

    def running_s(self, now_s: float) -> float:
        """Return for how long the batch that runs now has run; 0 when none does."""
        return max(0.0, now_s - self._batches[0].started_s) if self._batches else 0.0

    @property
    def row_count(self) -> int:
        """Rows that wait, lie ready or run."""
        return self.queue.row_count + sum(batch.row_count for batch in self._batches)

    def expect(self) -> None:
        """Count a request that was let in and is not queued yet; ``arrived`` ends that."""
        self._arriving += 1
        self.idle.clear()

    def arrived(self) -> None:
        """An expected request is queued now, or will not be."""
        self._arriving -= 1
        self._note_idle()

    def add(self, parts: Sequence[QueuedRequest]) -> None:
        """Queue the parts of a request.

        Raises:
            Refused: ``queue_full``.
        """
        self.queue.add(parts)
        self.idle.clear()
        if self._has_room():
            self._pump_soon()
        else:
            self._wake_by(parts[0].deadline_s)

    def forget(self, parts: Iterable[QueuedRequest]) -> None:
        """Drop the parts of a request that is settled."""
        self.queue.remove(parts)
        self._note_idle()

    def abandon(self, parts: Iterable[QueuedRequest]) -> None:
        """Drop the parts of a request whose caller has left, and say so of those that run or lie ready."""
        for part in parts:
            self._tell_gone(part)
        self.forget(parts)

    def refuse_queued(self, refused: Refused) -> None:
        """Refuse everything that waits."""
        self._refuse(tuple(self.queue), refused)
        self._note_idle()

    def attach(self, engine: Engine) -> None:
        """Send batches to this process from now on."""
        self._engine = engine
        self._device = engine.device
        self._pump_soon()

    def detach(self) -> None:
        """The process is gone: refuse what ran, and let what had not begun wait for the next one.

        Detaching twice is harmless.
        """
        self._engine = None
        self._watch_first()
        if self._batches:
            self._refuse_lost(self._batches.popleft())
        while self._batches:
            batch = self._batches.pop()
            for request in batch.requests:
                request.batch = None
            self.queue.put_back(batch.requests)
            batch.let_go()
        self._pump_soon()

    def on_ran(self, ran: Ran, blobs: Sequence[Buffer]) -> None:
        """Answer the requests of a batch that has run.

        Raises:
            WrongAnswer: the process has lost count and cannot be trusted any more.
        """
        batch = self._batches[0] if self._batches else None
        told = len(ran.outcomes), len(ran.charged_us)
        if batch is None or batch.batch_id != ran.batch_id or told != (batch.row_count, batch.row_count):
            raise WrongAnswer(f"batch {ran.batch_id} with {told[0]} outcomes and {told[1]} charges")
        self._batches.popleft()
        self.device_s += ran.device_s
        self.batches += 1
        self.batch_rows += batch.row_count
        now_s = time.monotonic()
        if self._batches:
            self._batches[0].started_s = now_s
        batch.ended(ran, now_s)
        self._watch_first()
        self._pump()  # before the answers are written, so that the device does not wait for that
        self._answer(batch, ran, blobs)
        self._note_idle()

    def on_partial(self, partial: Partial, blobs: Sequence[Buffer]) -> None:
        """Pass pieces of answers on; those for callers who have left are dropped.

        Raises:
            WrongAnswer: the process has lost count and cannot be trusted any more.
        """
        batch = self._running(partial.batch_id)
        batch.quiet_looks = -1  # the look that follows comes after less than a whole share of the time
        for piece in partial.pieces:
            request = _request_at(batch, piece.row)
            stream = request.stream
            if stream is not None:
                self._pass_on(batch, request, stream, piece, blobs)
            elif not request.reply.is_settled:
                raise WrongAnswer(f"a piece for row {piece.row}, whose answer is made whole")
        if any(piece.head is not None for piece in partial.pieces):
            self._watch_deadlines()

    def on_cut(self, cut: Cut) -> None:
        """End the answer of one row whose reader the inference process has given up.

        Raises:
            WrongAnswer: the process has lost count and cannot be trusted any more.
        """
        _request_at(self._running(cut.batch_id), cut.row).reply.refuse(Refused(cut.reason, cut.message))

    def _watch_deadlines(self) -> None:
        """Watch those of the answers that have begun, whose batch may take longer than a caller gives it."""
        if self._late_watch:
            self._late_watch.cancel()
            self._late_watch = None
        streaming = self._batches[0].streaming if self._batches else ()
        if streaming:
            wait_s = min(request.deadline_s for request in streaming) - time.monotonic()
            self._late_watch = asyncio.get_running_loop().call_later(max(0.0, wait_s), self._on_late)

    def _on_late(self) -> None:
        now_s = time.monotonic()
        for request in self._batches[0].streaming:
            if request.deadline_s <= now_s:
                self._tell_gone(request)
                message = "the request's deadline passed while its answer was made"
                request.reply.refuse(Refused("deadline_exceeded_running", message))
        self._watch_deadlines()

    def _running(self, batch_id: int) -> Batch:
        if not self._batches or self._batches[0].batch_id != batch_id:
            raise WrongAnswer(f"batch {batch_id}, which does not run")
        return self._batches[0]

    def _pass_on(
        self, batch: Batch, request: QueuedRequest, stream: AnswerStream, piece: Piece, blobs: Sequence[Buffer]
    ) -> None:
        if stream.has_begun:
            stream.more(blobs[piece.blob])
        elif piece.head is None:
            raise WrongAnswer(f"a piece for row {piece.row} before its first")
        else:
            so_far = Usage(batch_rows=batch.row_count, queue_s=batch.waited_s(request))
            on_taken = functools.partial(self._credit, batch.batch_id, piece.row)
            try:
                stream.begin(RowOutput(piece.head, blobs), so_far, on_taken)
            except Refused as refused:
                self._tell_gone(request)
                request.reply.refuse(refused)

    def _credit(self, batch_id: int, row: int, byte_count: int) -> None:
        if self._engine is not None:
            self._engine.process.send(Taken(batch_id, row, byte_count))

    def _tell_gone(self, part: QueuedRequest) -> None:
        for batch in self._batches:
            if batch is part.batch and self._engine is not None:
                self._engine.process.send(Gone(batch.batch_id, batch.rows_of(part)))

    def _answer(self, batch: Batch, ran: Ran, blobs: Sequence[Buffer]) -> None:
        first = 0
        if self._recorder is not None:
            self._recorder.record(batch.record(self._device, ""))
        for request in batch.requests:
            rows = slice(first, first + request.row_count)
            outcomes = ran.outcomes[rows]
            first += request.row_count
            request.device_us = sum(ran.charged_us[rows])
            usage = Usage(
                device_us=request.device_us,
                tokens=sum(outcome.tokens for outcome in outcomes if isinstance(outcome, RowAnswer)),
                batch_rows=batch.row_count,
                queue_s=batch.waited_s(request),
                stages=ran.stages,
            )
            self.queue.release(request.byte_count)
            request.resolve([RowOutput(outcome, blobs) for outcome in outcomes], usage)
        batch.let_go()

    def _refuse_lost(self, batch: Batch) -> None:
        batch.ended(None, time.monotonic())
        if batch.is_hung:
            message = "the model's handler did not answer in the time it has; it was stopped"
            refused = Refused("deadline_exceeded_running", message)
        else:
            refused = Refused("inference_lost", "the model's process died while it ran this request")
        if self._recorder is not None:
            self._recorder.record(batch.record(self._device, refused.reason))
        for request in batch.requests:
            self.queue.release(request.byte_count)
            request.reply.refuse(refused)
        batch.let_go()

    def _has_room(self) -> bool:
        return self.has_engine and len(self._batches) < MAX_BATCHES_SENT

    def _pump_soon(self) -> None:
        """Plan at the end of this turn of the loop, so that what arrived in one turn is planned together."""
        if not self._pump_is_due:
            self._pump_is_due = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_is_due = False
        while True:
            plan = self._plan()
            if plan.expired:
                message = "the request's deadline passed while it was queued"
                self._refuse(plan.expired, Refused("deadline_exceeded", message))
            if not plan.batch or self._engine is None:
                break
            self._send(self._engine, plan.batch)
        self._wake_by(plan.look_again_s)
        self._note_idle()

    def _plan(self) -> Plan[QueuedRequest]:
        now_s = time.monotonic()
        if self._engine is None or not self._has_room():
            return plan_expiry(self.queue, now_s)
        return plan_batch(self.queue, self._engine.policy, not self._batches, now_s)

    def _refuse(self, queued: Iterable[QueuedRequest], refused: Refused) -> None:
        for request in queued:
            self.queue.remove((request,))
            request.reply.refuse(refused)

    def _send(self, engine: Engine, requests: tuple[QueuedRequest, ...]) -> None:
        rows: list[Row] = []
        blobs: list[Buffer] = []
        for request in requests:
            inputs = _with_parents(request) if engine.records_spans else request.inputs
            for row, row_blobs in inputs:
                rows.append(moved(row, len(blobs)))
                blobs += row_blobs
        span = self._new_span()
        parent = traceparent(*span, True) if engine.records_spans and span[0] else ""
        try:
            engine.process.send(Run(self._next_batch_id, tuple(rows), parent), blobs)
        except ValueError as error:
            self._refuse(requests, Refused("body_too_large", f"the batch of this request cannot be sent: {error}"))
            return
        self.queue.take(requests)
        batch = Batch(self._next_batch_id, requests, len(rows), time.monotonic(), span, self.queue.row_count)
        for request in requests:
            request.batch = batch
        self._batches.append(batch)
        self._next_batch_id += 1
        if len(self._batches) == 1:
            self._watch_first()

    def _new_span(self) -> tuple[str, str]:
        if self._recorder is None:
            return "", ""
        trace_id = self._recorder.new_trace_id()
        return trace_id, trace_id[:16]  # the only span that has no other to be told from in its trace

    def _watch_first(self) -> None:
        """Watch the batch that runs now, and no other."""
        if self._hang_watch:
            self._hang_watch.cancel()
            self._hang_watch = None
        if self._late_watch:
            self._late_watch.cancel()
            self._late_watch = None
        if self._batches and self._engine:
            self._look_later(self._engine)

    def _look_later(self, engine: Engine) -> None:
        in_s = engine.response_timeout_s / _HANG_LOOKS
        self._hang_watch = asyncio.get_running_loop().call_later(in_s, self._look, engine)

    def _look(self, engine: Engine) -> None:
        batch = self._batches[0]
        # Looks and not time: while this process was halted, perhaps with the whole machine, no handler got on either.
        batch.quiet_looks = 0 if batch.awaits_a_reader else batch.quiet_looks + 1
        if batch.quiet_looks < _HANG_LOOKS:
            self._look_later(engine)
            return
        batch.is_hung = True
        engine.process.kill()

    def _wake_by(self, at_s: float) -> None:
        """Plan again at that moment, or earlier when that is set already."""
        if at_s >= self._wake_at_s:
            return
        if self._wake:
            self._wake.cancel()
        self._wake_at_s = at_s
        self._wake = asyncio.get_running_loop().call_later(max(0.0, at_s - time.monotonic()), self._on_wake)

    def _on_wake(self) -> None:
        self._wake_at_s = math.inf
        self._pump()

    def _note_idle(self) -> None:
        if not self._batches and not len(self.queue) and not self._arriving:
            self.idle.set()


def _with_parents(request: QueuedRequest) -> Sequence[RowInput]:
    """Return the inputs, each row with its request's ``pod.inference`` as the parent of what the handler records."""
    span = request.span
    if span is None or request.part > MAX_PARTS:
        return request.inputs
    parent = traceparent(span.trace_id, part_id(span.span_id, request.part, Stage.INFERENCE), span.sampled)
    return [RowInput(replace(row, traceparent=parent), blobs) for row, blobs in request.inputs]


def _request_at(batch: Batch, row: int) -> QueuedRequest:
    request = batch.request_at(row)
    if request is None:
        raise WrongAnswer(f"row {row} of a batch with {batch.row_count}")
    return request
