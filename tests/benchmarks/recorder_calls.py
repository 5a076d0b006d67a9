"""What recording costs the process that records, call by call: the true objects, with a recorder and without.

Whole processes differ by more than a microsecond from run to run, whatever they do; here one process does the same work
in interleaved slices, with a recorder in every other one. What is counted is everything a recorder makes happen there:
drawing ids, the tuples, their encoding and the packets, which another process takes and throws away.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gateway.dataplane.gateway import Gateway, Share
from gateway.dataplane.settlement import Settled
from gateway.dataplane.shared_limits import SharedLimits
from gateway.decide.decision import Decision
from gateway.decide.release import Arm
from gateway.decide.route import Api
from model_pod.protocols.exchange import BatchKey, RowInput
from model_pod.server.batch import Batch
from model_pod.server.queue import split
from model_pod.server.request_span import RequestSpan, RequestSpans
from model_pod.wire.http1 import HeadLimits, RequestHead, RequestReader
from model_pod.wire.inference import Ran, StageTimes
from model_pod.wire.rows import Row
from policies.snapshot.slos import Objective
from telemetry.record import FLUSH_EVERY_S, Recorder
from telemetry.records import Source
from tests.benchmarks.cores import Cores
from tests.benchmarks.processes import pinned
from tests.benchmarks.recorder import recorded_into
from tests.benchmarks.report import table
from tests.benchmarks.spread import median_interval, spread
from tests.gateway.policy import limits_memory, policy

GATEWAY_GOAL_US, POD_GOAL_US = 2.0, 6.0
REQUESTS = 2000  # of one slice
RATE_PER_S = 1000.0  # how often is flushed follows from it
OBJECTIVES = (
    Objective("available", "team", 30 * 86400.0, 0.995, status_below=500),
    Objective("fast", "team", 30 * 86400.0, 0.99, status_below=500, within_s=0.25),
)
HEAD = (
    b"POST /predictions/digits HTTP/1.1\r\nhost: pod\r\ncontent-type: application/json\r\ncontent-length: 0\r\n"
    b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\npenstock-tenant: demo\r\n\r\n"
)
REQUEST_ID = "4bf92f3577b34da6a3ce929d0e0e4736"

Work = Callable[[int], None]
"""Does what so many requests make happen."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same work, without a recorder and with one."""

    name: str
    goal_us: float
    off: Work
    on: Work


def run(slice_count: int, cores: Cores, say: Callable[[str], None]) -> None:
    """Measure, and say a table."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, pinned({cores.proxy}):
        folder = Path(name)
        with recorded_into(cores, folder) as path:
            pairs = [gateway_pair(path), pod_pair(path, 1), pod_pair(path, 8)]
            rows = [_row(pair, measure(pair, slice_count)) for pair in pairs]
    say(f"\nrecorder, call by call: interleaved slices of {REQUESTS} requests, flushed as at {RATE_PER_S:g} requests/s")
    say(table(("", "off µs", "on µs", "extra µs", "95 %", "goal µs", "n"), rows))


def measure(pair: Pair, slice_count: int) -> tuple[list[float], list[float]]:
    """Return seconds per request of each slice, without and with a recorder; they begin in turns."""
    off: list[float] = []
    on: list[float] = []
    for number in range(slice_count):
        order = [(pair.off, off), (pair.on, on)]
        for work, taken in order if number % 2 else reversed(order):
            began_s = time.perf_counter()
            work(REQUESTS)
            taken.append((time.perf_counter() - began_s) / REQUESTS)
            time.sleep(0.01)  # what takes the packets catches up
    return off, on


def gateway_pair(records: Path) -> Pair:
    """Return what a worker does for a request's trace and at its settlement."""
    loop = asyncio.new_event_loop()

    def make(recorder: Recorder | None) -> Work:
        gateway = Gateway(loop, policy(objectives=OBJECTIVES), SharedLimits(limits_memory()), Share(), recorder)
        head = _head()
        decision = Decision(1, None, "ads", "gold", "key", (), Api.PREDICT, "digits", "1", Arm.STABLE)

        def work(count: int) -> None:
            for _ in _flushing(count, recorder):
                trace = gateway.tracer.begin(head)
                attempt = (gateway.tracer.new_span_id(), "digits/1/0", 10.0, 10.01, "", 200)
                settled = Settled(trace, decision, "POST", REQUEST_ID, 10.0, 200, "", [attempt])
                gateway.settlement.settle(settled, 10.02)

        return work

    recorder = Recorder(str(records), Source("penstock-gateway", "worker 0", os.getpid()))
    return Pair("gateway", GATEWAY_GOAL_US, make(None), make(recorder))


def pod_pair(records: Path, batch_rows: int) -> Pair:
    """Return what a pod does for the requests of batches: queue them, form a batch, end it."""

    def make(spans: RequestSpans | None) -> Work:
        head = _head()
        attempt, tenant = (head.values.get(name, b"").decode() for name in (b"traceparent", b"penstock-tenant"))
        row = RowInput(Row(REQUEST_ID), (b"{}",))

        def one_batch(batch_id: int) -> None:
            begun = [
                None if spans is None else spans.begin(attempt, tenant, "predict", REQUEST_ID, 10.0)
                for _ in range(batch_rows)
            ]
            parts = [split([row], BatchKey(), 10.0, 20.0, 32, _ignore, span)[0] for span in begun]
            trace_id = spans.recorder.new_trace_id() if spans else ""
            batch = Batch(batch_id, parts, batch_rows, 10.0, (trace_id, trace_id[:16]), 0)
            for part in parts:
                part.batch = batch
            batch.ended(Ran(batch_id, (), StageTimes(0.1, 0.2, 0.1), 0.2, 1, 10.0, 10.4), 10.5)
            _end(spans, batch, begun)
            batch.let_go()

        def work(count: int) -> None:
            for number in _flushing(count, spans.recorder if spans else None, batch_rows):
                one_batch(number)

        return work

    recorder = Recorder(str(records), Source("penstock-pod", "digits/1", os.getpid(), "digits", "1"))
    name = f"pod, {batch_rows} request{'s' if batch_rows > 1 else ''} a batch"
    return Pair(name, POD_GOAL_US, make(None), make(RequestSpans(recorder, 20.0)))


def _end(spans: RequestSpans | None, batch: Batch, begun: list[RequestSpan | None]) -> None:
    if spans is None:
        return
    spans.recorder.record(batch.record("cpu", ""))
    for span in begun:
        if span is not None:
            spans.end(span, 200, "", 10.6)


def _flushing(count: int, recorder: Recorder | None, step: int = 1) -> Iterator[int]:
    """Count, and flush as often as the owner's loop would at that rate."""
    per_flush = round(RATE_PER_S * FLUSH_EVERY_S)
    for number in range(0, count, step):
        yield number
        if recorder is not None and number % per_flush < step:
            recorder.flush()


def _head() -> RequestHead:
    reader = RequestReader(HeadLimits())
    reader.feed(HEAD)
    head = reader.next_event(0)
    assert isinstance(head, RequestHead)
    return head


def _ignore(_: object) -> None:
    """Nobody waits for these answers."""


def _row(pair: Pair, taken: tuple[list[float], list[float]]) -> tuple[str, ...]:
    off, on = taken
    extra = [with_s - without_s for without_s, with_s in zip(off, on, strict=True)]
    low_s, high_s = median_interval(extra)
    return (
        pair.name,
        spread(off).written(2, scale=1e6),
        spread(on).written(2, scale=1e6),
        f"{spread(extra).median * 1e6:.2f}",
        f"{low_s * 1e6:.2f}..{high_s * 1e6:.2f}",
        f"{pair.goal_us:g}",
        str(len(extra)),
    )
