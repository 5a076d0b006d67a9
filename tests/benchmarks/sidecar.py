"""What a sidecar does of a core: requests through compact records, and through OTLP; the true process, told by sockets.

Counted is the processor's time that all its threads took, so that what else runs beside it changes little. Of the
requests through records one in 500 is of the share that is kept, as at 10,000 requests/s; the others are counted, held,
and left out. A request through OTLP is a trace of three spans with eight attributes each, 170 of them in a body.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from telemetry.otlp.encode import encode_spans
from telemetry.records import Record
from telemetry.span import Attributes, Kind, Span
from tests.benchmarks.cores import Cores
from tests.benchmarks.processes import NotStarted, pinned
from tests.benchmarks.report import table
from tests.benchmarks.spread import spread
from tests.telemetry.sidecar.recording import (
    GATEWAY,
    POD,
    batch_times,
    gateway_request,
    packet,
    pod_batch,
    pod_request,
)

RECORDS_GOAL_PER_S, OTLP_GOAL_PER_S = 10_000, 2_000
_PACKET_REQUESTS = 96
_BATCH_REQUESTS = 8
_ONE_KEPT_OF = 500
_BODY_REQUESTS = 170
_WITHIN_S = 60.0
_NS_PER_S = 1e9


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    slices: int
    requests: int


FULL, QUICK = Plan(30, 9_600), Plan(4, 4_800)

Send = Callable[[int, int], None]
"""Sends so many requests, from a number on, and returns when they are taken."""


def run(plan: Plan, cores: Cores, say: Callable[[str], None]) -> None:
    """Measure, and say a table."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        for what, goal_per_s, pod, sender in (
            ("records of a gateway", RECORDS_GOAL_PER_S, "", _gateway_records),
            ("records of a pod, 8 requests a batch", RECORDS_GOAL_PER_S, "unix:/none", _pod_records),
            ("OTLP over HTTP", OTLP_GOAL_PER_S, "", _otlp),
        ):
            with _sidecar(Path(name), pod, cores) as (pid, port):
                per_s = spread(_measured(plan, pid, sender(Path(name) / "records", port)))
            rows.append((what, per_s.written(0), str(goal_per_s), str(plan.slices)))
    say(f"\nsidecar: requests per second of one core's time; slices of {plan.requests} requests")
    say(table(("", "requests/s", "goal", "n"), rows))


def _measured(plan: Plan, pid: int, send: Send) -> list[float]:
    """Return the requests per second of processor time, of each slice; a first one warms up."""
    per_s = []
    for number in range(plan.slices + 1):
        before_s = _processor_s(pid)
        send(1 + number * plan.requests, plan.requests)
        per_s.append(plan.requests / (_processor_s(pid) - before_s))
    return per_s[1:]


def _processor_s(pid: int) -> float:
    """Return the time that all threads of a process took so far."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat")) / _NS_PER_S


@contextmanager
def _sidecar(folder: Path, pod: str, cores: Cores) -> Iterator[tuple[int, int]]:
    argv = [sys.executable, "-m", "telemetry.sidecar", "--listen=127.0.0.1:0", "--every-s=60"]
    argv += [f"--records=unix:{folder}/records", f"--export=unix:{folder}/nobody", f"--queue={folder}/queue"]
    argv += [f"--pod={pod}"] if pod else []
    with (
        pinned({cores.proxy}),
        subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as process,
    ):
        try:
            with pinned({cores.load}):
                assert process.stderr is not None
                said = next((found for line in process.stderr if (found := re.search(r":(\d+)/metrics", line))), None)
                if said is None:
                    raise NotStarted("the sidecar does not listen")
                yield process.pid, int(said[1])
        finally:
            process.kill()


def _gateway_records(records: Path, port: int) -> Send:
    def packet_of(numbers: Sequence[int]) -> bytes:
        made = [gateway_request(number, sampled=number % _ONE_KEPT_OF == 0) for number in numbers]
        return packet(GATEWAY, *made)

    return _records(records, port, packet_of)


def _pod_records(records: Path, port: int) -> Send:
    def packet_of(numbers: Sequence[int]) -> bytes:
        made: list[Record] = []
        for at in range(0, len(numbers), _BATCH_REQUESTS):
            of_batch = numbers[at : at + _BATCH_REQUESTS]
            times = batch_times(of_batch[0], row_count=len(of_batch))
            members = [pod_request(n, sampled=n % _ONE_KEPT_OF == 0, batch=times) for n in of_batch]
            made += [*members, pod_batch(times, *members)]
        return packet(POD, *made)

    return _records(records, port, packet_of)


def _records(records: Path, port: int, packet_of: Callable[[Sequence[int]], bytes]) -> Send:
    recorder = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    recorder.connect(str(records))
    sent = 0

    def send(first: int, count: int) -> None:
        nonlocal sent
        numbers = range(first, first + count)
        packets = [packet_of(numbers[at : at + _PACKET_REQUESTS]) for at in range(0, count, _PACKET_REQUESTS)]
        for one in packets:
            recorder.send(one)
        sent += count
        _await_taken(port, sent)

    return send


def _await_taken(port: int, sent: int) -> None:
    """Wait until the sidecar has counted all requests; batches come besides."""
    until_s = time.monotonic() + _WITHIN_S
    while time.monotonic() < until_s:
        if _taken(port) >= sent:
            return
        time.sleep(0.05)
    raise NotStarted("the sidecar did not take what it was told")


def _taken(port: int) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/metrics")
    said = connection.getresponse().read().decode()
    connection.close()
    kept = re.findall(r'penstock_sidecar_records_total\{fate="\w+",kind="\w+_requests"\} (\S+)', said)
    lost = re.findall(r'penstock_telemetry_dropped_total\{what="\w+_requests",why="\w+"\} (\S+)', said)
    held = re.findall(r"^penstock_sidecar_undecided (\S+)", said, re.MULTILINE)
    return sum(map(float, [*kept, *lost, *held]))


def _otlp(_: Path, port: int) -> Send:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(first: int, count: int) -> None:
        numbers = range(first, first + count)
        bodies = [
            encode_spans([span for number in numbers[at : at + _BODY_REQUESTS] for span in _trace(number)])
            for at in range(0, count, _BODY_REQUESTS)
        ]
        for body in bodies:
            connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise NotStarted(f"the sidecar answered {answer.status}")

    return send


_RESOURCE: Attributes = {"service.name": "bench", "service.version": "1", "process.pid": 7}


def _trace(number: int) -> list[Span]:
    attributes: Attributes = {
        "http.request.method": "POST",
        "http.route": "/predictions/{model}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "server.port": 8080,
        "network.protocol.version": "1.1",
        "rpc.system": "grpc",
        "app.request": f"request {number}",
    }
    parents = ("", f"{number:015x}1", f"{number:015x}1")
    return [
        Span(
            *(f"{number:032x}", f"{number:015x}{child + 1}", parent, f"step {child}", Kind.SERVER),
            *(10**18, 10**18 + 10**6),
            attributes=attributes,
            resource=_RESOURCE,
            scope="bench",
        )
        for child, parent in enumerate(parents)
    ]
