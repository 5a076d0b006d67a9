"""The gateway in front of a true pod, beside nginx in front of the same pod: what a request costs each at one rate."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks import open_hop, peers
from tests.benchmarks.back_ends import StubAddress
from tests.benchmarks.contender import Contender, start_all
from tests.benchmarks.cores import Cores
from tests.benchmarks.heads import json_bodies, requests_for
from tests.benchmarks.large_policy import key_of
from tests.benchmarks.mesh_policy import MeshPolicy
from tests.benchmarks.open_hop import Asked
from tests.benchmarks.ours import OURS, recording_gateway
from tests.benchmarks.pod import make_demo
from tests.benchmarks.processes import await_answer, pinned, running
from tests.ports import free_port

MODEL = "digits"
ARCHIVE = "digits-1.mar"  # the smallest, so that most of what happens is not the model
STARTS_WITHIN_S = 60.0
WARM_UP_S = 0.5
GOAL = 1.0


FULL = open_hop.Plan(passes=7, slice_s=2.0)
QUICK = open_hop.Plan(passes=2, slice_s=1.0, rates_per_s=(500,))


def run(plan: open_hop.Plan, cores: Cores, folder: Path, say: Callable[[str], None]) -> bool:
    """Say a table for each rate; False when a request failed."""
    rows = make_demo(folder, (ARCHIVE,), lambda _: None)
    asked = Asked(requests_for(f"/predictions/{MODEL}", key_of(0), json_bodies(rows)), _is_label)
    failed = 0
    with running_pod(cores, folder) as behind, ExitStack() as stack:
        found = start_all((lambda: _nginx(cores, behind, folder), lambda: _penstock(cores, behind, folder)), stack)
        contenders = [Contender("no proxy", f"127.0.0.1:{behind.port}", "", None), *found.contenders]
        say(f"\nour own pod behind the proxies, over TCP: {ARCHIVE}, rows of 64 numbers")
        for line in (*found.skipped, *found.broken):
            say(line)
        with pinned({cores.load}):
            for contender in contenders:
                open_hop.take(contender, asked, plan.rates_per_s[0], WARM_UP_S)
            for rate_per_s in plan.rates_per_s:
                shared = {contender.name: asked for contender in contenders}
                failed += open_hop.run_at(rate_per_s, plan, contenders, shared, say)
        say(f"goal: CPU per request {GOAL:g} × nginx's at most")
    return not found.broken and not failed


@contextmanager
def running_pod(cores: Cores, folder: Path) -> Iterator[StubAddress]:
    """Run a pod; its model computes with one thread, on the back end's core."""
    behind = StubAddress(free_port(), folder / "no.sock")
    address = f"127.0.0.1:{behind.port}"
    arguments = [
        *(sys.executable, "-m", "model_pod.server", "--model", MODEL, "--version", "1", "--device", "cpu"),
        *("--archive", str(folder / ARCHIVE), "--listen", address, "--extracted-dir", str(folder / "extracted")),
    ]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    with running(arguments, cores={cores.stub}, log=folder / "pod.log", environ=environ) as program:
        await_answer(address, "/v2/health/ready", program, STARTS_WITHIN_S)
        yield behind


@contextmanager
def _nginx(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    with peers.nginx(cores, behind, folder) as contenders:
        yield [contender for contender in contenders if contender.name == peers.NGINX]


@contextmanager
def _penstock(cores: Cores, behind: StubAddress, folder: Path) -> Iterator[list[Contender]]:
    policy = MeshPolicy({MODEL: [f"127.0.0.1:{behind.port}"]})
    with recording_gateway(cores, policy, folder / "penstock") as gateway:
        yield [gateway.contender(OURS, MODEL)]


def _is_label(index: int, status: int, body: bytes) -> bool:
    return status == 200 and b'"label"' in body
