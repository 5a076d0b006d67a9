"""OpenTelemetry's own exporter sends; our receiver understands."""

from __future__ import annotations

import pytest
import requests
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from telemetry.span import Kind
from telemetry.span import Status as OurStatus
from tests.telemetry.otlp.receiver import Receiver, receiver


def _provider(received: Receiver, compression: Compression) -> TracerProvider:
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment is not for loopback
    exporter = OTLPSpanExporter(f"{received.url}/v1/traces", compression=compression, session=session, timeout=20)
    provider = TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


@pytest.mark.parametrize("compression", Compression)
def test_what_the_official_exporter_sends_is_received(compression: Compression) -> None:
    with receiver() as received:
        provider = _provider(received, compression)
        tracer = provider.get_tracer("library", "1.2")
        with tracer.start_as_current_span("parent", kind=SpanKind.SERVER) as parent:
            parent.add_event("something", {"at": "once"})
            with tracer.start_as_current_span("child", links=[Link(parent.get_span_context(), {"n": -3})]) as child:
                child.set_attributes({"text": "ä", "flag": True, "half": 0.5, "many": [1, 2, 3], "bytes": b"\0"})
                child.set_status(Status(StatusCode.ERROR, "broken"))
        provider.shutdown()
    (answered,) = received.answers
    if compression is Compression.Deflate:  # which no receiver need understand
        assert answered.status == 415
        return
    assert (answered.status, answered.body) == (200, b"")
    by_name = {span.name: span for span in received.spans}
    ours, theirs = by_name["child"], parent.get_span_context()
    assert (ours.trace_id, ours.parent_id) == (f"{theirs.trace_id:032x}", f"{theirs.span_id:016x}")
    assert ours.attributes == {"text": "ä", "flag": True, "half": 0.5, "many": (1, 2, 3), "bytes": b"\0"}
    assert (ours.status, ours.message, ours.kind) == (OurStatus.ERROR, "broken", Kind.INTERNAL)
    assert [(link.span_id, link.attributes) for link in ours.links] == [(f"{theirs.span_id:016x}", {"n": -3})]
    assert (ours.resource["service.name"], ours.scope) == ("theirs", "library")
    assert by_name["parent"].kind is Kind.SERVER
    assert [(event.name, event.attributes) for event in by_name["parent"].events] == [("something", {"at": "once"})]
    assert ours.start_ns <= ours.end_ns


def test_the_official_exporter_tries_again_when_there_was_no_room() -> None:
    with receiver() as received:
        received.rooms = [0]
        provider = _provider(received, Compression.NoCompression)
        provider.get_tracer("library").start_span("patient").end()
        provider.shutdown()
    assert [answered.status for answered in received.answers] == [503, 200]
    assert [span.name for span in received.spans] == ["patient"]
