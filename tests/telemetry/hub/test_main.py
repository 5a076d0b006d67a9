"""The hub as a process: it says where it listens, takes spans on all its addresses, and leaves when it should."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanContext

from telemetry.hub.guesses import OF_A_SOURCE
from telemetry.otlp.encode import encode_spans
from telemetry.otlp.grpc import EXPORT_SPANS
from telemetry.span import Span
from tests.telemetry.hub.traces import TRACE, batch_spans, gateway_spans, numbered, pod_spans

pytestmark = pytest.mark.system

WITHIN_S = 60.0
# It allows itself a few seconds; nobody here would let it go by himself.
ENDS_WITHIN_S = 15.0
PROTOBUF = {"content-type": "application/x-protobuf"}


@dataclass
class RunningHub:
    """One hub process and the directory that it works in."""

    directory: Path
    process: subprocess.Popen[str]
    lifeline_fd: int

    @property
    def published(self) -> dict[str, str]:
        published: dict[str, str] = json.loads((self.directory / "hub.json").read_bytes())
        return published

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.published['dashboards']}{path}", trust_env=False, timeout=WITHIN_S)

    def post(self, spans: list[Span], **headers: str) -> int:
        url = f"{self.published['otlp']}/v1/traces"
        return httpx.post(
            url, content=encode_spans(spans), headers=PROTOBUF | headers, trust_env=False, timeout=WITHIN_S
        ).status_code

    def post_to_socket(self, spans: list[Span]) -> int:
        transport = httpx.HTTPTransport(uds=str(self.directory / "hub.sock"))
        with httpx.Client(transport=transport, trust_env=False, timeout=WITHIN_S) as client:
            return client.post("http://hub/v1/traces", content=encode_spans(spans), headers=PROTOBUF).status_code

    def ended(self) -> tuple[int, str]:
        """Return the exit status and what was said."""
        _, said = self.process.communicate(timeout=WITHIN_S)
        return self.process.returncode, said


class Hubs:
    """Starts hubs, and ends those that are left."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: list[RunningHub] = []

    def start(self, otlp: str = "127.0.0.1:0", more: Sequence[str] = (), otlp_grpc: str = "127.0.0.1:0") -> RunningHub:
        read_fd, write_fd = os.pipe()
        at = self._directory
        argv = [sys.executable, "-m", "telemetry.hub", "--listen", "127.0.0.1:0", "--otlp", otlp]
        argv += [
            "--otlp-grpc",
            otlp_grpc,
            "--otlp-unix",
            str(at / "hub.sock"),
            "--store",
            str(at / "traces"),
            "--lifeline-fd",
            str(read_fd),
        ]
        argv += ["--mesh", str(at / "mesh.json"), "--publish", str(at / "hub.json"), *more]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, pass_fds=(read_fd,))
        os.close(read_fd)
        hub = RunningHub(at, process, write_fd)
        self._running.append(hub)
        wait_until(lambda: (at / "hub.json").exists() and int(hub.published["pid"]) == process.pid)
        return hub

    def end(self) -> None:
        for hub in self._running:
            if hub.process.poll() is None:
                hub.process.kill()
                hub.process.wait()
            if hub.process.stderr is not None:
                hub.process.stderr.close()
            os.close(hub.lifeline_fd)


def wait_until(holds: object) -> None:
    assert callable(holds)
    until_s = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.02)


@pytest.fixture
def hubs(tmp_path: Path) -> Iterator[Hubs]:
    hubs = Hubs(tmp_path)
    yield hubs
    hubs.end()


def test_spans_from_both_addresses_become_one_trace_that_can_be_asked_for(hubs: Hubs) -> None:
    hub = hubs.start()
    assert stat.S_IMODE((hub.directory / "hub.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((hub.directory / "hub.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((hub.directory / "traces").stat().st_mode) == 0o700
    assert hub.post(gateway_spans()) == 200
    assert hub.post_to_socket([*pod_spans(), *batch_spans()]) == 200
    wait_until(lambda: len(hub.get("/api/traces/request-1").json().get("batches", [])) == 1)
    assert hub.get("/api/traces/request-1").json()["covered_ratio"] == 1.0
    assert hub.get("/livez").status_code == 200
    assert hub.get("/").status_code == 200


def test_a_signal_ends_it_when_all_it_took_is_stored(hubs: Hubs) -> None:
    hub = hubs.start()
    assert hub.post(gateway_spans()) == 200
    hub.process.send_signal(signal.SIGTERM)
    assert hub.ended()[0] == 0
    assert not (hub.directory / "hub.json").exists()
    assert hubs.start().get("/api/traces/request-1").status_code == 200


def test_it_does_not_outlive_its_parent(hubs: Hubs) -> None:
    hub = hubs.start()
    spare_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(spare_fd, hub.lifeline_fd)
    os.close(spare_fd)
    assert hub.ended()[0] == 0


def test_after_a_kill_its_successor_has_what_was_committed_and_the_same_socket(hubs: Hubs) -> None:
    killed = hubs.start()
    assert killed.post(gateway_spans()) == 200
    wait_until(lambda: killed.get("/api/traces/request-1").status_code == 200)
    killed.process.kill()
    killed.ended()
    hub = hubs.start()
    assert hub.get("/api/traces/request-1").status_code == 200
    assert hub.post_to_socket(numbered(1)) == 200


def test_an_address_that_a_collector_has_costs_that_address_alone(hubs: Hubs) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        hub = hubs.start(address, otlp_grpc=address)
        assert (hub.published["otlp"], hub.published["otlp_grpc"]) == ("", "")
        assert hub.post_to_socket(gateway_spans()) == 200
    hub.process.send_signal(signal.SIGTERM)
    assert "no spans are received on 127.0.0.1" in hub.ended()[1]


def test_pages_that_cannot_listen_are_a_mistake(hubs: Hubs, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        argv = [sys.executable, "-m", "telemetry.hub", "--listen", f"127.0.0.1:{taken.getsockname()[1]}"]
        argv += ["--store", str(tmp_path), "--mesh", str(tmp_path / "m"), "--publish", str(tmp_path / "h")]
        ended = subprocess.run(argv, stderr=subprocess.PIPE, text=True, timeout=WITHIN_S, check=False)
    assert ended.returncode == 2
    assert "name others with --listen" in ended.stderr


def test_a_second_hub_leaves_the_first_ones_store_and_socket_alone(hubs: Hubs, tmp_path: Path) -> None:
    hub = hubs.start()
    argv = [sys.executable, "-m", "telemetry.hub", "--listen", "127.0.0.1:0", "--otlp-unix", str(tmp_path / "hub.sock")]
    argv += ["--mesh", str(tmp_path / "m"), "--publish", str(tmp_path / "h"), "--store"]
    for store, said in ((tmp_path / "traces", "another hub uses"), (tmp_path / "other", "in use")):
        ended = subprocess.run([*argv, str(store)], stderr=subprocess.PIPE, text=True, timeout=WITHIN_S, check=False)
        assert ended.returncode == 2
        assert said in ended.stderr
    assert hub.post_to_socket(gateway_spans()) == 200


def test_spans_from_other_machines_need_the_token(hubs: Hubs, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    hub = hubs.start("0.0.0.0:0", ["--token-file", str(tmp_path / "token")])
    assert hub.post(gateway_spans()) == 401
    for _ in range(2 * OF_A_SOURCE):
        assert hub.post(gateway_spans(), authorization="Bearer an-old-token") == 401
    assert hub.post(gateway_spans(), authorization="Bearer a-token-of-some-length") == 200  # others do not wait for it
    assert hub.post_to_socket(gateway_spans()) == 200  # whoever reaches that is this user


def test_a_hub_with_a_token_says_a_link_that_logs_in_once_and_never_the_token(hubs: Hubs, tmp_path: Path) -> None:
    path = tmp_path / "hub-token"
    hub = hubs.start(more=["--token-file", str(path)])
    token = path.read_text()
    assert hub.get("/api/traces").status_code == 401
    hub.process.send_signal(signal.SIGTERM)
    status, said = hub.ended()
    assert status == 0
    assert re.search(
        r"log in once, within 15 min, at http://127\.0\.0\.1:\d+/login\?code=[\w-]{43}$", said, re.MULTILINE
    )
    assert token not in said


def _exporter(hub: RunningHub, token: str = "") -> OTLPSpanExporter:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return OTLPSpanExporter(endpoint=hub.published["otlp_grpc"], insecure=True, timeout=20, headers=headers)


def _export(exporter: OTLPSpanExporter) -> SpanExportResult:
    """Send a span of the caller's whose trace the mesh's spans go on with."""
    span = ReadableSpan("checkout", SpanContext(int(TRACE, 16), 0xB00, is_remote=False), start_time=1, end_time=2)
    return exporter.export([span])


def test_the_official_exporter_s_spans_are_taken_by_grpc(hubs: Hubs) -> None:
    hub = hubs.start()
    assert _export(_exporter(hub)) is SpanExportResult.SUCCESS
    wait_until(lambda: hub.get(f"/api/traces/{TRACE}").status_code == 200)
    assert "checkout" in hub.get(f"/api/traces/{TRACE}").text
    assert 'penstock_hub_posts_total{status="200"} 1.0' in hub.get("/metrics").text
    address = hub.published["otlp_grpc"].removeprefix("http://")
    with grpc.insecure_channel(address) as channel, pytest.raises(grpc.RpcError) as failed:
        channel.unary_unary(EXPORT_SPANS.decode())(b"\xff", timeout=20)
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_grpc_from_other_machines_needs_the_token_and_loopback_beside_it_does_not(hubs: Hubs, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("a-token-of-some-length\n")
    hub = hubs.start(more=["--otlp-token-file", str(tmp_path / "token")], otlp_grpc="0.0.0.0:0")
    assert _export(_exporter(hub)) is SpanExportResult.FAILURE
    assert _export(_exporter(hub, "a-token-of-some-other-length")) is SpanExportResult.FAILURE
    assert hub.post(gateway_spans()) == 200
    assert _export(_exporter(hub, "a-token-of-some-length")) is SpanExportResult.SUCCESS
    # Whoever was turned away is counted as whoever was heard.
    said = hub.get("/metrics").text
    assert 'penstock_hub_posts_total{status="200"} 2.0' in said
    assert 'penstock_hub_posts_total{status="401"} 2.0' in said


def test_connections_that_say_nothing_neither_shut_it_nor_hold_it(hubs: Hubs) -> None:
    hub = hubs.start()
    ports = [int(hub.published[name].rpartition(":")[2]) for name in ("dashboards", "otlp_grpc")]
    silent = [socket.create_connection(("127.0.0.1", port)) for port in ports for _ in range(150)]
    try:
        assert hub.get("/livez").status_code == 200
        began_s = time.monotonic()
        hub.process.send_signal(signal.SIGTERM)
        assert hub.ended()[0] == 0
        assert time.monotonic() - began_s < ENDS_WITHIN_S
    finally:
        for one in silent:
            one.close()


def test_a_body_that_was_made_to_take_long_holds_up_neither_others_nor_the_end(hubs: Hubs) -> None:
    hub = hubs.start()
    url = f"{hub.published['otlp']}/v1/traces"
    spans = b'{"traceId":"%s","spanId":"%s"}' % (b"1" * 32, b"2" * 16)
    small = gzip.compress(b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([b"{}"] * 10**6) + b"]}]}]}")
    accepted = b'{"resourceSpans":[{"scopeSpans":[{"spans":[' + b",".join([spans] * 19_000) + b"]}]}]}"
    headers = {"content-type": "application/json"}
    unpacked = headers | {"content-encoding": "gzip"}
    assert httpx.post(url, content=small, headers=unpacked, timeout=WITHIN_S).status_code == 413

    def slow() -> None:
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(url, content=accepted, headers=headers)

    threads = [threading.Thread(target=slow) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert hub.post(gateway_spans()) in (200, 503)
    began_s = time.monotonic()
    hub.process.send_signal(signal.SIGTERM)
    assert hub.ended()[0] == 0
    assert time.monotonic() - began_s < ENDS_WITHIN_S
    for thread in threads:
        thread.join()
