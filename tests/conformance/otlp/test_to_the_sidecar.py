"""OpenTelemetry's own exporters send to the true sidecar, and what it sends on reaches another project's collector."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Link, SpanKind

from telemetry.span import Kind, Span
from tests.conformance.otlp.test_rotel import _rotel
from tests.telemetry.otlp.receiver import receiver

pytestmark = pytest.mark.system

MakeExporter = Callable[[str], SpanExporter]


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment is not for loopback
    return session


class JsonExporter(SpanExporter):
    """What SDKs of other languages do: the official messages as OTLP/JSON, whose ids are hexadecimal."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/v1/traces"
        self._session = _session()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        document = MessageToDict(encode_spans(spans), use_integers_for_enums=True)
        _ids_to_hex(document)
        document["aFieldOfTheFuture"] = {"nobody": ["knows"]}
        headers = {"content-type": "application/json; charset=utf-8", "content-encoding": "gzip"}
        body = gzip.compress(json.dumps(document).encode())
        answer = self._session.post(self._url, data=body, headers=headers, timeout=20)
        assert (answer.status_code, answer.json()) == (200, {})
        assert answer.headers["content-type"] == "application/json"
        return SpanExportResult.SUCCESS


def _ids_to_hex(document: Any) -> None:
    if isinstance(document, list):
        for item in document:
            _ids_to_hex(item)
    elif isinstance(document, dict):
        for key, value in document.items():
            if key in ("traceId", "spanId", "parentSpanId"):
                document[key] = base64.b64decode(value).hex().upper()  # capitals are as good
            else:
                _ids_to_hex(value)


EXPORTERS: dict[str, MakeExporter] = {
    "grpc": lambda url: GrpcExporter(endpoint=url, insecure=True, timeout=20),
    "grpc-gzip": lambda url: GrpcExporter(endpoint=url, insecure=True, timeout=20, compression=grpc.Compression.Gzip),
    "http": lambda url: HttpExporter(f"{url}/v1/traces", session=_session(), timeout=20),
    "http-gzip": lambda url: HttpExporter(
        f"{url}/v1/traces", session=_session(), timeout=20, compression=Compression.Gzip
    ),
    "json-gzip": JsonExporter,
}


@contextmanager
def sidecar(export: str, queue: Path, *options: str) -> Iterator[str]:
    """Run a sidecar; yield where it takes spans, over HTTP and over gRPC alike."""
    argv = [sys.executable, "-m", "telemetry.sidecar", "--listen=127.0.0.1:0", f"--export={export}", f"--queue={queue}"]
    argv += ["--attributes=app.*", *options]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = re.search(r"metrics on (http://\S+)/metrics", process.stderr.readline())
            assert said is not None
            yield said[1]
        finally:
            process.terminate()
            process.communicate(timeout=20)


def make_spans(exporter: SpanExporter) -> None:
    """Record a trace of two spans, and one that links to it."""
    provider = TracerProvider(resource=Resource({"service.name": "theirs"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("library")
    with tracer.start_as_current_span("parent", kind=SpanKind.SERVER) as parent:
        parent.add_event("something", {"app.at": "once"})
        with tracer.start_as_current_span("child") as child:
            child.set_attributes({"app.text": "ä", "app.flag": True, "app.many": [1, 2, 3], "card": "4111"})
    with tracer.start_as_current_span("other", links=[Link(parent.get_span_context(), {"app.n": -(2**53)})]):
        pass
    provider.shutdown()


def _check(spans: Sequence[Span]) -> None:
    parent, child, other = (next(span for span in spans if span.name == name) for name in ("parent", "child", "other"))
    assert (child.trace_id, child.parent_id) == (parent.trace_id, parent.span_id)
    assert [(link.trace_id, link.span_id, link.attributes) for link in other.links] == [
        (parent.trace_id, parent.span_id, {"app.n": -(2**53)})
    ]
    assert (child.attributes["app.text"], child.attributes["app.flag"]) == ("ä", True)
    assert (child.attributes["app.many"], "card" in child.attributes) == ((1, 2, 3), False)
    assert [(event.name, event.attributes) for event in parent.events] == [("something", {"app.at": "once"})]
    assert (parent.kind, parent.resource["service.name"], parent.scope) == (Kind.SERVER, "theirs", "library")


@pytest.mark.parametrize("how", EXPORTERS)
def test_what_the_official_exporters_send_leaves_the_sidecar_as_it_came(how: str, tmp_path: Path) -> None:
    with receiver() as received, sidecar(received.url, tmp_path / "queue") as url:
        make_spans(EXPORTERS[how](url))
        _check(received.wait_for(3))


def test_from_the_official_exporter_over_the_sidecar_and_another_collector_links_are_kept(tmp_path: Path) -> None:
    with receiver() as received, _rotel(received) as collector, sidecar(collector, tmp_path / "queue") as url:
        make_spans(EXPORTERS["grpc-gzip"](url))
        _check(received.wait_for(3))
