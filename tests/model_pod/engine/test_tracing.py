"""Spans that handlers make, from real inference processes to a receiver."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from model_pod.engine.tracing import FLUSH_WITHIN_S
from model_pod.wire.inference import Loaded, Run
from model_pod.wire.rows import Part, PartKind, Row, RowAnswer, RowRefused
from telemetry.span import Span
from tests.fakes.archives.layout import archive_files, write_directory
from tests.model_pod.engine.process import Engine, engine
from tests.telemetry.otlp.receiver import Receiver, receiver

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
DOCUMENT = Path(__file__).parents[3] / "docs" / "how-to" / "serve-a-model.md"

RAISING = """
from opentelemetry import trace

tracer = trace.get_tracer("raising")

def handle(data, context):
    if data is None:
        return None
    with tracer.start_as_current_span("all"):
        pass
    return [_one(row) for row in data]

def _one(row):
    with tracer.start_as_current_span("one"):
        if row["body"] == b"bad":
            raise ValueError("bad row")
        return "fine"
"""

WITH_ITS_OWN_SDK = """
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

provider = TracerProvider(resource=Resource({"service.name": "mine"}), shutdown_on_exit=False)
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=60_000))
trace.set_tracer_provider(provider)

def handle(data, context):
    if data is None:
        return None
    with trace.get_tracer("own").start_as_current_span("own"):
        return [None for row in data]
"""

WITHOUT = """
import sys

def handle(data, context):
    if data is None:
        return None
    return [",".join(name for name in sys.modules if name.startswith("opentelemetry")) for row in data]
"""


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    # A proxy of the environment is not for what stays on this machine.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with receiver() as started:
        monkeypatch.setenv(ENDPOINT, started.url)
        yield started


def _parent(number: int, sampled: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{sampled}"


def _rows(*parents: str, kind: PartKind = PartKind.BYTES) -> list[Row]:
    return [
        Row(f"id-{index}", parts=(Part("body", kind, index),), traceparent=parent)
        for index, parent in enumerate(parents)
    ]


def _load(inference: Engine, tmp_path: Path, handler: str) -> Loaded:
    loaded = inference.load(write_directory(tmp_path / "echo", archive_files(handler)))
    assert isinstance(loaded, Loaded), loaded
    return loaded


def _run(inference: Engine, rows: Sequence[Row], bodies: Sequence[bytes], batch: str = "") -> list[bytes | str]:
    ran, blobs = inference.ask(Run(7, tuple(rows), batch), bodies)
    return [blobs[o.blob] if isinstance(o, RowAnswer) else o.reason for o in ran.outcomes]


def _belongings(spans: Sequence[Span], name: str) -> list[tuple[int, int]]:
    """Return trace and parent of each span of that name, in order of time."""
    named = sorted((span for span in spans if span.name == name), key=lambda span: span.start_ns)
    return [(int(span.trace_id, 16), int(span.parent_id, 16)) for span in named]


def test_the_documented_handler_adds_to_its_requests_and_to_its_batch(received: Receiver, tmp_path: Path) -> None:
    section = DOCUMENT.read_text().partition("## Spans of your own")[2]
    example = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert example
    with engine(tmp_path) as inference:
        assert _load(inference, tmp_path, example[1]).records_spans
        rows = _rows(_parent(1), _parent(2, sampled="00"), _parent(1), kind=PartKind.TEXT)
        answers = _run(inference, rows, [b"a mesh", b"mesh of pod", b"x"], _parent(9))
        assert [json.loads(answer)["known"] for answer in answers] == [1, 2, 0]
        _run(inference, _rows(_parent(3), kind=PartKind.TEXT), [b"one"], _parent(10))
        assert inference.end() == 0
    # The process has ended: nothing more will come, and nothing is missing.
    spans = received.spans
    assert _belongings(spans, "look-up") == [(9, 9), (3, 3)]
    assert _belongings(spans, "count") == [(1, 1), (2, 2), (1, 1), (3, 3)]
    assert {(span.scope, span.resource["service.name"]) for span in spans} == {("words", "penstock-pod")}
    assert (spans[0].resource["penstock.model"], spans[0].resource["penstock.version"]) == ("echo", "1")
    assert spans[0].resource["service.instance.id"] == "echo/1"


def test_the_search_for_a_bad_row_keeps_every_row_with_its_request(received: Receiver, tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        _load(inference, tmp_path, RAISING)
        answers = _run(inference, _rows(_parent(1), _parent(2)), [b"good", b"bad"], _parent(9))
        assert answers == [b"fine", "handler_failed"]
        inference.end()
    # Both together, then each alone.
    assert _belongings(received.spans, "all") == [(9, 9), (1, 1), (2, 2)]
    assert _belongings(received.spans, "one") == [(1, 1), (2, 2), (1, 1), (2, 2)]
    failed = [span for span in received.spans if span.name == "one" and span.message]
    assert [span.message for span in failed] == ["ValueError: bad row"] * 2


def test_rows_without_a_span_of_their_own_belong_to_their_batch(received: Receiver, tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        _load(inference, tmp_path, RAISING)
        for parents in (["", ""], [_parent(1), ""]):
            _run(inference, _rows(*parents), [b"good", b"good"], _parent(9))
        inference.end()
    assert _belongings(received.spans, "all") == [(9, 9), (9, 9)]
    assert _belongings(received.spans, "one") == [(9, 9), (9, 9), (1, 1), (9, 9)]


def test_nobody_records_and_the_handlers_spans_begin_traces_of_their_own(received: Receiver, tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        _load(inference, tmp_path, RAISING)
        assert _run(inference, _rows("", ""), [b"good", b"good"]) == [b"fine", b"fine"]
        inference.end()
    assert [span.parent_id for span in received.spans] == [""] * 3
    assert len({span.trace_id for span in received.spans}) == 3


def test_a_handler_with_its_own_provider_keeps_it_and_loses_nothing_at_the_end(
    received: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTP_PROXY")
    with engine(tmp_path) as inference:
        assert _load(inference, tmp_path, WITH_ITS_OWN_SDK).records_spans
        _run(inference, _rows(_parent(4)), [b"x"])
        inference.end()
    (span,) = received.spans
    assert (span.resource["service.name"], _belongings([span], "own")) == ("mine", [(4, 4)])


def test_a_handler_that_does_not_use_opentelemetry_does_not_import_it(received: Receiver, tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        assert not _load(inference, tmp_path, WITHOUT).records_spans
        assert _run(inference, _rows(_parent(1)), [b"x"], _parent(9)) == [b""]
        assert inference.end() == 0
    assert received.heads == []


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (ENDPOINT, "", ""),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many", "The handler's spans go nowhere: ValueError"),
    ],
)
def test_without_a_receiver_or_with_a_bad_setting_the_model_runs_all_the_same(
    received: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(name, value)
    with engine(tmp_path) as inference:
        assert not _load(inference, tmp_path, RAISING).records_spans
        assert _run(inference, _rows(_parent(1)), [b"x"]) == [b"fine"]
        inference.end()
    assert line in (tmp_path / "stderr.log").read_text()
    assert received.heads == []


def test_a_receiver_that_never_answers_does_not_keep_the_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{silent.getsockname()[1]}")
        with engine(tmp_path) as inference:
            _load(inference, tmp_path, RAISING)
            _run(inference, _rows(_parent(1)), [b"x"])
            began_s = time.monotonic()
            assert inference.end() == 0
            assert time.monotonic() - began_s < FLUSH_WITHIN_S + 7.0  # OpenTelemetry alone waits for ten seconds


def test_a_batch_says_when_it_ran(tmp_path: Path) -> None:
    with engine(tmp_path) as inference:
        _load(inference, tmp_path, WITHOUT)
        sent_s = time.monotonic()
        ran, _ = inference.ask(Run(7, tuple(_rows("", ""))), [b"x", b"y"])
        assert not any(isinstance(outcome, RowRefused) for outcome in ran.outcomes)
        assert sent_s < ran.began_s < ran.ended_s < time.monotonic()
        stages = ran.stages
        assert stages.preprocess_s + stages.inference_s + stages.postprocess_s <= ran.ended_s - ran.began_s
