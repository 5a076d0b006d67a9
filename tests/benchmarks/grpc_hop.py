"""What a call of gRPC costs our gateway, beside the same request over HTTP/1.1 from the same load client."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from tests.benchmarks import grpc_load, link_stub
from tests.benchmarks.back_ends import running_pods, unix_pods
from tests.benchmarks.contender import Contender
from tests.benchmarks.cores import Cores
from tests.benchmarks.heads import Requests
from tests.benchmarks.large_policy import key_of
from tests.benchmarks.mesh_policy import MeshPolicy
from tests.benchmarks.ours import WORKER_TITLE, RunningGateway, recording_gateway
from tests.benchmarks.processes import NotStarted, cpu_s, family, largest_rss_bytes, pinned
from tests.benchmarks.slices import CONNECTIONS, Slice, drive, failures, interleaved, is_stub_answer, render
from tests.benchmarks.spread import spread

HTTP, GRPC = "HTTP/1.1", "gRPC"
CONTENT_BYTES = 160  # the message is then of some 200 bytes


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    passes: int
    slice_s: float


FULL = Plan(passes=10, slice_s=1.0)
QUICK = Plan(passes=2, slice_s=0.5)


def run(plan: Plan, cores: Cores, folder: Path, say: Callable[[str], None]) -> bool:
    """Say a table; False when a request failed."""
    pods, grpc_pods = unix_pods(folder, "pod", 2), unix_pods(folder, "grpc-pod", 2)
    policy = MeshPolicy({"stub": pods, "stub-grpc": grpc_pods})
    with (
        running_pods(cores, folder, pods),
        running_pods(cores, folder, grpc_pods, "grpc"),
        recording_gateway(cores, policy, folder / "penstock") as gateway,
        pinned({cores.load}),
    ):
        requests = Requests("/v2/models/stub/infer", key_of(0))
        http = Contender(HTTP, gateway.inference, requests.path, gateway.program, WORKER_TITLE)
        make_request = requests.made()
        takes = {
            HTTP: partial(drive, http, plan.slice_s, make_request, is_stub_answer),
            GRPC: partial(call, gateway, plan.slice_s),
        }
        if any(take().failed for take in takes.values()):
            raise NotStarted("gRPC beside HTTP: wrong answers before measuring")
        slices = interleaved(takes, plan.passes)
    say(
        f"\nhop, gRPC: ModelInfer beside POST /v2/models/M/infer, {CONNECTIONS} connections, one call at a time on "
        f"each, some 200 bytes; our own load client; {plan.passes} passes of {plan.slice_s:g} s each, interleaved"
    )
    say(render(slices, HTTP))
    return not failures(slices)


def call(gateway: RunningGateway, slice_s: float) -> Slice:
    """Make calls for a while, and look what they cost."""
    pids = family(gateway.program.pid)
    answer = b"\x00" + len(link_stub.GRPC_MESSAGE).to_bytes(4, "big") + link_stub.GRPC_MESSAGE
    message = grpc_load.infer_request("stub-grpc", CONTENT_BYTES)
    gc.collect()
    gc.disable()  # as for the HTTP load
    try:
        cpu_before_s, started_s = cpu_s(pids), time.monotonic()
        calls = grpc_load.Calls(key_of(0), message, answer, started_s + slice_s)
        uvloop.run(grpc_load.run(gateway.grpc, calls, CONNECTIONS))
        wall_s, used_s = time.monotonic() - started_s, cpu_s(pids) - cpu_before_s
    finally:
        gc.enable()
    return slice_of(calls, wall_s, used_s, largest_rss_bytes(pids, WORKER_TITLE))


def slice_of(calls: grpc_load.Calls, wall_s: float, used_s: float, rss_bytes: int) -> Slice:
    """Sum up what the calls came to."""
    latencies_s = sorted(calls.latencies_s) or [0.0]
    return Slice(
        requests_per_s=(len(calls.latencies_s) - calls.failed) / wall_s,
        cpu_per_request_s=used_s / max(len(calls.latencies_s), 1),
        busy=used_s / wall_s,
        p50_s=spread(latencies_s).median,
        p99_s=latencies_s[int(0.99 * (len(latencies_s) - 1))],
        failed=calls.failed,
        rss_bytes=rss_bytes,
    )
