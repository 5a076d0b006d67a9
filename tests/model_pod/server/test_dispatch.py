"""The inference process is told whose children a handler's spans are, and only one whose handler records any."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import msgspec

from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.server.request_span import RequestSpans
from model_pod.wire.inference import Run
from telemetry.materialise import spans_of
from telemetry.record import Recorder
from telemetry.records import PodSummary, Source
from telemetry.span import Span
from telemetry.trace_context import parse_traceparent
from tests.fakes.inference_process import mirror
from tests.fakes.sidecar import FakeSidecar
from tests.model_pod.server.harness import MODEL, Served, run, served

KEPT, LEFT_OUT = "a" * 32, "b" * 32
SIGNATURE = Signature((TensorSpec("x", "FP32", (-1, 1)),), (TensorSpec("x", "FP32", (-1, 1)),))


def told_and_recorded(tmp_path: Path, *, records_spans: bool, is_recorded: bool = True) -> tuple[list[Run], list[Span]]:
    """Return the batches that an inference process was told of, and the spans that were recorded of them.

    One request has six rows, which two batches share; the other, whose trace is left out, rides in the second.
    """

    async def scenario() -> list[Run]:
        async with served(lambda _: replace(MODEL, signature=SIGNATURE), spans=spans) as pods:
            return await _told(pods, records_spans)

    with closing(FakeSidecar(tmp_path / "records")) as sidecar:
        recorder = Recorder(str(sidecar.path), Source("penstock-pod", "digits/1", 7, "digits", "1"))
        spans = RequestSpans(recorder, 20.0) if is_recorded else None
        runs = run(scenario())
        recorder.close()
        frames = sidecar.frames()
    told = [(frame, record) for frame in frames for record in frame.records if not isinstance(record, PodSummary)]
    return runs, [span for frame, record in told for span in spans_of(frame, record)]


async def _told(pods: Served, records_spans: bool) -> list[Run]:
    fake = await pods.inferences.next()
    clients = []
    for row_count, trace_id, flag in ((6, KEPT, "01"), (1, LEFT_OUT, "00")):
        tensor = {"name": "x", "datatype": "FP32", "shape": [row_count, 1], "data": [0.5] * row_count}
        before = pods.pod.dispatcher.queue.row_count
        clients.append(await pods.client())
        headers = f"traceparent: 00-{trace_id}-{'c' * 16}-{flag}\r\n"
        clients[-1].request("/v2/models/digits/infer", msgspec.json.encode({"inputs": [tensor]}), headers)
        await pods.until(lambda: pods.pod.dispatcher.queue.row_count == before + row_count)  # noqa: B023  awaited within
    await fake.load(records_spans)
    runs = []
    for _ in range(2):
        batch, blobs = await fake.received_run()
        runs.append(batch)
        await fake.answer(batch, blobs, mirror)
    assert [(await client.answer()).status for client in clients] == [200, 200]
    return runs


def parent_of(value: str) -> tuple[str, str, bool]:
    """Return trace, span and flag of a W3C value."""
    parent = parse_traceparent(value)
    assert parent is not None
    return parent.trace_id, parent.span_id, parent.sampled


def test_rows_name_the_inference_of_their_part_and_batches_themselves(tmp_path: Path) -> None:
    runs, spans = told_and_recorded(tmp_path, records_spans=True)
    batches = [(span.trace_id, span.span_id, True) for span in spans if span.name == "pod.batch"]
    assert [parent_of(batch.traceparent) for batch in runs] == batches
    inferences = [span for span in spans if span.name == "pod.inference"]
    of_part = {(span.trace_id, span.attributes["penstock.part"]): span.span_id for span in inferences}
    assert len(set(of_part.values())) == 3
    assert [[parent_of(row.traceparent) for row in batch.rows] for batch in runs] == [
        [(KEPT, of_part[KEPT, 0], True)] * 4,
        [(KEPT, of_part[KEPT, 1], True)] * 2 + [(LEFT_OUT, of_part[LEFT_OUT, 0], False)],
    ]


def test_a_handler_that_records_no_spans_is_told_of_none(tmp_path: Path) -> None:
    runs, spans = told_and_recorded(tmp_path, records_spans=False)
    assert [batch.traceparent for batch in runs] == [""] * 2
    assert {row.traceparent for batch in runs for row in batch.rows} == {""}
    assert "pod.batch" in {span.name for span in spans}


def test_where_nobody_records_no_parent_is_named(tmp_path: Path) -> None:
    runs, spans = told_and_recorded(tmp_path, records_spans=True, is_recorded=False)
    assert {batch.traceparent for batch in runs} | {row.traceparent for batch in runs for row in batch.rows} == {""}
    assert spans == []


def test_a_batch_says_what_each_of_its_requests_was_charged_and_together_that_is_the_whole(tmp_path: Path) -> None:
    _, spans = told_and_recorded(tmp_path, records_spans=True)
    charged = {span.span_id: span.attributes["penstock.device_s"] for span in spans if span.name == "pod.inference"}
    for batch in (span for span in spans if span.name == "pod.batch"):
        shares = {link.span_id: link.attributes["penstock.device_s"] for link in batch.links}
        assert sum(map(float, map(str, shares.values()))) == float(str(batch.attributes["penstock.device_s"])) > 0
        assert shares == {span_id: charged[span_id] for span_id in shares}
