"""Another project's collector takes what we encode, and passes on what we decode."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from telemetry.otlp.encode import encode_spans
from telemetry.record import Recorder
from telemetry.records import Source
from telemetry.span import Event, Kind, Link, Span, Status
from tests.ports import free_port
from tests.telemetry.otlp.receiver import Receiver, receiver

pytestmark = pytest.mark.system
START_WITHIN_S = 60.0

BATCH = Span(
    trace_id="a" * 32,
    span_id="b" * 16,
    parent_id="",
    name="pod.batch",
    kind=Kind.INTERNAL,
    start_ns=1_700_000_000_000_000_000,
    end_ns=1_700_000_000_004_000_000,
    status=Status.ERROR,
    message="lost",
    attributes={"penstock.batch.rows": 3, "penstock.device": "cpu", "penstock.device_s": 0.003, "x": ("ä", True)},
    links=tuple(Link(f"{n:032x}", f"{n:016x}", {"penstock.queue.wait_s": n / 8}) for n in (1, 2, 3)),
    events=(Event(1_700_000_000_001_000_000, "halved", {"rows": 2}),),
    resource={"service.name": "penstock-pod", "process.pid": 12},
    scope="penstock",
    trace_state="a=b",
)


@contextmanager
def _rotel(received: Receiver) -> Iterator[str]:
    found = importlib.util.find_spec("rotel")
    if found is None or found.origin is None:
        pytest.skip("rotel is not installed (pip install rotel==0.0.1a15)")
    ports = free_port(), free_port()
    options = {
        "otlp-http-endpoint": f"127.0.0.1:{ports[0]}",
        "otlp-grpc-endpoint": f"127.0.0.1:{ports[1]}",
        "exporter": "otlp",
        "otlp-exporter-protocol": "http",
        "otlp-exporter-endpoint": received.url,
    }
    argv = [str(Path(found.origin).parent / "rotel-agent"), "start"]
    argv += [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen(argv, env={}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(ports[0], process)
            yield f"http://127.0.0.1:{ports[0]}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"rotel does not listen; it ended with {process.poll()}")


def test_a_batch_goes_through_another_collector_with_all_its_links() -> None:
    other = Span("c" * 32, "d" * 16, "e" * 16, "pod.inference", Kind.SERVER, 5, 6, links=(Link("a" * 32, "b" * 16),))
    with (
        receiver() as received,
        _rotel(received) as url,
        httpx.Client(trust_env=False, timeout=START_WITHIN_S) as client,
    ):
        headers = {"content-type": "application/x-protobuf"}
        answered = client.post(f"{url}/v1/traces", content=encode_spans([BATCH, other]), headers=headers)
        assert answered.status_code == 200
        spans = {span.name: span for span in received.wait_for(2)}
    assert spans["pod.inference"] == other
    assert spans["pod.batch"] == BATCH
    assert received.heads[0]["content-encoding"] == "gzip"


@contextmanager
def _sidecar(records: Path, export: str) -> Iterator[None]:
    argv = [sys.executable, "-m", "telemetry.sidecar", "--listen", "127.0.0.1:0"]
    argv += ["--records", f"unix:{records}", "--export", export]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def _record_one_request(records: Path) -> None:
    """Record a request of a pod and its batch, as the pod does."""
    recorder = Recorder(str(records), Source("penstock-pod", "digits/1", 12, "digits", "1"))
    times = (7, "e" * 32, "f" * 16, 10.0, 10.1, 0.1, 0.2, 0.1, 10.5, 10.6, 1, 1, 1, 0.2)
    recorder.record(("b", times, [("a" * 32, "b" * 12 + "0000", 0, "r1", 1, 0.5)], "cpu", 0, ""))
    part = (0, 1, 9.5, times)
    head = ("p", "a" * 32, "b" * 12 + "0000", "c" * 16, True, 9.4, 10.7, "predict", 200, "", "r1", "demo", 1, False)
    recorder.record((*head, [part]))
    until_s = time.monotonic() + START_WITHIN_S
    while recorder._ring and time.monotonic() < until_s:
        recorder.flush()
        time.sleep(0.05)
    recorder.close()
    assert not recorder.dropped


def test_what_a_sidecar_exports_reaches_another_collector_with_links_both_ways(tmp_path: Path) -> None:
    records = tmp_path / "records"
    with receiver() as received, _rotel(received) as url, _sidecar(records, url):
        _record_one_request(records)
        spans = {span.name: span for span in received.wait_for(6)}
    assert set(spans) == {
        "pod.batch",
        "pod.request",
        "pod.queue",
        "pod.preprocess",
        "pod.inference",
        "pod.postprocess",
    }
    inference, batch = spans["pod.inference"], spans["pod.batch"]
    assert [(link.trace_id, link.span_id) for link in inference.links] == [(batch.trace_id, batch.span_id)]
    assert [(link.trace_id, link.span_id) for link in batch.links] == [(inference.trace_id, inference.span_id)]
    assert batch.links[0].attributes["penstock.queue.wait_s"] == 0.5
