"""Runs one batch through a handler and measures its stages; one outcome per row, whatever the handler does."""

from __future__ import annotations

import functools
import gc
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from ts.context import Context, RequestProcessor
from ts.handler_utils.utils import StreamCancelled

from model_pod.engine.charges import Held, charge_rows
from model_pod.engine.device import CPU
from model_pod.engine.failure_log import FailureLog
from model_pod.engine.failures import failure_of, is_out_of_memory
from model_pod.engine.handler import Handler
from model_pod.engine.inputs import BadInput, handler_row, request_header
from model_pod.engine.isolation import Remedy, RunFailed, isolate
from model_pod.engine.outlet import RunOutlet
from model_pod.engine.outputs import Outbox, row_outcome
from model_pod.engine.row_streams import RowStreams
from model_pod.engine.tracing import Tracing
from model_pod.protocols.signature import Signature
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import StageTimes
from model_pod.wire.rows import Row, RowAnswer, RowOutcome, RowRefused

STAGES = ("preprocess", "inference", "postprocess")
# Of a row whose caller had left before it was run; nobody reads it.
NOT_WAITED_FOR = RowRefused("deadline_exceeded", "Nobody waits for this row.")


class StageClock:
    """Adds up the time a handler spends in each of its stages, by standing in for its methods.

    Attributes:
        timed_stages: whether the handler's stages are timed apart; otherwise its whole time is inference.
    """

    def __init__(self, device: str) -> None:
        self.timed_stages = False
        self._on_cuda = device != CPU
        self._spent_s = dict.fromkeys(STAGES, 0.0)
        self._device_s = 0.0
        # A handler may run its stages in threads of its own.
        self._lock = threading.Lock()
        self._thread = threading.local()

    def watch(self, instance: object) -> None:
        """Time the stages of a handler that has all three as methods."""
        methods: dict[str, Any] = {stage: getattr(instance, stage, None) for stage in STAGES}
        if not all(callable(method) for method in methods.values()):
            return
        # A handler with slots keeps its methods to itself; its time is then all inference.
        with suppress(AttributeError):
            for stage, method in methods.items():
                setattr(instance, stage, self._timed(stage, method))
            self.timed_stages = True

    def add(self, stage: str, elapsed_s: float) -> None:
        """Add to a stage; to inference where the stages are not timed apart."""
        with self._lock:
            self._spent_s[stage if self.timed_stages else "inference"] += elapsed_s

    def run(self, call: Callable[[], Any]) -> Any:
        """Run a handler once; what it spends outside its stages counts as inference, so that the parts sum up."""
        staged_before_s, device_before_s = sum(self._spent_s.values()), self._device_s
        started_s = time.perf_counter()
        try:
            result = call() if self.timed_stages else self._hold_device(call)
            if self._device_s == device_before_s:
                # The handler has an ``inference`` that its ``handle`` does not use.
                self._hold(time.perf_counter() - started_s)
            return result
        finally:
            elapsed_s = time.perf_counter() - started_s
            self.add("inference", max(0.0, elapsed_s - (sum(self._spent_s.values()) - staged_before_s)))

    @property
    def device_us(self) -> int:
        """Microseconds that the device was held since the last ``take``."""
        return round(self._device_s * 1e6)

    def take(self) -> StageTimes:
        """Return the stage times since the last call, and start again at zero."""
        spent_s, self._spent_s = self._spent_s, dict.fromkeys(STAGES, 0.0)
        self._device_s = 0.0
        return StageTimes(*spent_s.values())

    def _timed(self, stage: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if getattr(self._thread, "is_inside", False):
                # A stage that calls another is one stage; its time must not count twice.
                return method(*args, **kwargs)
            self._thread.is_inside = True
            started_s = time.perf_counter()
            try:
                call = functools.partial(method, *args, **kwargs)
                return self._hold_device(call) if stage == "inference" else call()
            finally:
                self._thread.is_inside = False
                self.add(stage, time.perf_counter() - started_s)

        return timed

    def _hold_device(self, call: Callable[[], Any]) -> Any:
        if not self._on_cuda:
            started_s = time.perf_counter()
            try:
                return call()
            finally:
                self._hold(time.perf_counter() - started_s)
        started = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        started.record()
        try:
            result = call()
        except BaseException:
            with suppress(RuntimeError):  # a device that is lost tells no time, and the handler's error says more
                self._hold_since(started)
            raise
        self._hold_since(started)
        return result

    def _hold_since(self, started: torch.cuda.Event) -> None:
        ended = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        ended.record()
        # Waiting here charges inference with its own kernels instead of whoever reads the result first.
        ended.synchronize()
        self._hold(started.elapsed_time(ended) / 1000.0)

    def _hold(self, device_s: float) -> None:
        with self._lock:
            self._device_s += device_s


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one batch came to.

    Attributes:
        outcomes: one per row, in order; they name blobs by position.
        device_s: seconds the device was held.
        runs: how often the handler was called.
        charged_us: what each row is charged of the device's time, in microseconds; together they are ``device_s``.
        must_restart: the device is lost, and only a new process helps.
    """

    outcomes: tuple[RowOutcome, ...]
    blobs: list[Buffer]
    times: StageTimes
    device_s: float
    runs: int
    charged_us: tuple[int, ...]
    must_restart: bool


class BatchRunner:
    """Runs batches through one loaded handler."""

    def __init__(
        self,
        handler: Handler,
        context: Context,
        signature: Signature | None,
        device: str,
        tracing: Tracing | None = None,
    ) -> None:
        self._handler = handler
        self._tracing = tracing or Tracing()
        self._context = context
        self._signature = signature
        self._clock = StageClock(device)
        self._log = FailureLog()
        if handler.instance is not None:
            self._clock.watch(handler.instance)

    @property
    def timed_stages(self) -> bool:
        return self._clock.timed_stages

    def run(
        self,
        rows: Sequence[Row],
        blobs: Sequence[Buffer],
        traceparent: str = "",
        streams: RowStreams | None = None,
    ) -> BatchResult:
        """Run one batch; a row that makes the handler fail is found and refused, and the others are answered.

        A row of which a piece was sent is never run again, and one whose caller has left is not run at all.

        Args:
            traceparent: the batch's span as a W3C value; "" when nobody records.
            streams: where pieces of answers go; None where the handler's go nowhere.
        """
        outbox = Outbox()
        calls: list[Held] = []

        def run_part(places: Sequence[int]) -> list[RowOutcome]:
            held_before_us = self._clock.device_us
            try:
                return self._run_part([rows[place] for place in places], places, blobs, traceparent, outbox, streams)
            finally:
                calls.append(Held(places, self._clock.device_us - held_before_us))

        def may_run_again(place: int) -> bool:
            return streams is None or (streams.is_open(place) and not streams.has_begun(place))

        awaited = [place for place in range(len(rows)) if streams is None or streams.is_open(place)]
        isolated = isolate(awaited, run_part, may_run_again)
        outcomes: list[RowOutcome] = [NOT_WAITED_FOR] * len(rows)
        for place, outcome in zip(awaited, isolated.outcomes, strict=True):
            outcomes[place] = outcome
        row_tokens = [outcome.tokens if isinstance(outcome, RowAnswer) else 0 for outcome in outcomes]
        charged_us = charge_rows(row_tokens, calls)
        times = self._clock.take()
        # What a handler's own threads ran between batches is in none of the calls, and so is nobody's.
        device_s = sum(charged_us) / 1e6
        return BatchResult(tuple(outcomes), outbox.blobs, times, device_s, isolated.runs, charged_us, isolated.stopped)

    def _run_part(
        self,
        rows: Sequence[Row],
        places: Sequence[int],
        blobs: Sequence[Buffer],
        traceparent: str,
        outbox: Outbox,
        streams: RowStreams | None,
    ) -> list[RowOutcome]:
        started_s = time.perf_counter()
        data = _decode(rows, blobs)
        processors = [RequestProcessor(request_header(row)) for row in rows]
        outlet = None if streams is None else RunOutlet(streams, places, rows, processors)
        self._context.request_ids = {index: row.request_id for index, row in enumerate(rows)}
        self._context.request_processor = processors
        self._context.outlet = outlet
        self._clock.add("preprocess", time.perf_counter() - started_s)
        with self._tracing.around(rows, traceparent, data) as data:
            answers = self._call(data)
        started_s = time.perf_counter()
        if outlet is not None:
            answers = outlet.send_last(answers)
        outcomes = [
            row_outcome(row, answer, processor, self._signature, outbox)
            for row, answer, processor in zip(rows, answers, processors, strict=True)
        ]
        self._clock.add("postprocess", time.perf_counter() - started_s)
        return outcomes

    def _call(self, data: list[dict[str, Any]]) -> list[Any]:
        row_count = len(data)
        failure = None
        try:
            answers = self._clock.run(lambda: self._handler.handle(data, self._context))
        except BaseException as error:
            # SystemExit too: a handler that calls sys.exit on one row must not take its batch-mates along.
            if not isinstance(error, StreamCancelled):
                self._log.note(error, row_count)
            failure = failure_of(error)
            is_memory = is_out_of_memory(error)
        # Raised outside the handler of the exception, whose traceback would keep the batch's tensors alive.
        if failure is not None:
            if is_memory:
                _free_memory()
            raise failure
        if not isinstance(answers, list):
            raise _miscounted(f"The handler must return a list and returned {type(answers).__name__}.")
        if len(answers) != row_count:
            raise _miscounted(f"The handler returned {len(answers)} answers for {row_count} rows.")
        return answers


def _decode(rows: Sequence[Row], blobs: Sequence[Buffer]) -> list[dict[str, Any]]:
    try:
        return [handler_row(row, blobs) for row in rows]
    except BadInput as error:
        raise RunFailed(RowRefused("bad_input", str(error)), Remedy.HALVE) from error
    except MemoryError as error:
        raise failure_of(error) from error


def _miscounted(message: str) -> RunFailed:
    return RunFailed(RowRefused("bad_output", message), Remedy.RUN_SINGLY)


def _free_memory() -> None:
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
