"""What callers notice of sidecars that are stopped or killed: requests beside those while all sidecars run.

One mesh, slices in turn: sidecars that run, that are stopped (SIGSTOP) for the slice, and that are killed every half
second of it, whenever ``penstock up`` has started them again. Told is the ratio of the medians and of the processor's
time per request to those while they run, with a bound by bootstrap over whole passes. Counted is the time of the
gateway's and the pods' processes; that of sidecars and the hub is what they are there for.
"""

from __future__ import annotations

import asyncio
import gc
import random
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from deploy.demo.build import build
from deploy.demo.catalogue import DEMO_ARCHIVES
from gateway.decide.api_keys import key_of, sha256_hex
from tests.benchmarks.processes import cpu_s
from tests.benchmarks.report import table
from tests.benchmarks.shadow import quantile_s, ratio
from tests.benchmarks.spread import median_interval, pass_ratios, spread
from tests.fakes.load import open_loop
from tests.fakes.records import Record
from tests.system.digits import known_digits, request_bytes
from tests.system.mesh import MeshUnderTest, eventually, started_mesh
from tests.system.processes import stopped, tell

GOAL = 1.05
SIDECAR = r"penstock sidecar.*"
_SERVING = r"penstock (?:gateway|pod).*"
_KILL_EVERY_S = 0.5
_STARTS_WITHIN_S = 300.0
_KEY = key_of("abcdefghij23", "s" * 43)
_TENANT = f"""\
kind: tenant/v1
name: load
owner: load-team
tier: demo
keys:
  - {{id: load-1, sha256: {sha256_hex(_KEY)}, scopes: [infer]}}
may_call: [digits]
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How many passes, each of one slice of each kind, how long each is, and at which rate."""

    passes: int
    slice_s: float
    rate_per_s: float


FULL = Plan(20, 4.0, 150.0)
QUICK = Plan(2, 2.0, 100.0)


@dataclass(frozen=True, slots=True)
class Taken:
    """One slice."""

    records: Sequence[Record]
    cpu_per_request_s: float


def run(plan: Plan, say: Callable[[str], None]) -> bool:
    """Measure, and print a table; return whether every request was answered as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        build(DEMO_ARCHIVES["digits-1.mar"], store)
        home = Path(folder) / "mesh"
        home.mkdir()
        with started_mesh(home, store, policies={"tenants/load.yaml": _TENANT}) as mesh:
            mesh.said.line("^curl ", within_s=_STARTS_WITHIN_S)
            taken = _passes(mesh, plan)
    say(f"sidecars away: {plan.passes} passes of {plan.slice_s:g} s at {plan.rate_per_s:g} requests/s")
    heads = (
        "sidecars",
        "n",
        "p50, ms",
        "ratio",
        "95 %",
        "p99, ms",
        "ratio",
        "95 %",
        "CPU/request, us",
        "ratio",
        "95 %",
    )
    say(table(heads, [_row(name, slices, taken["run"]) for name, slices in taken.items()]))
    say(f"judged are the upper bounds of p50 and CPU: {GOAL:g} at most; others run on this machine too")
    wrong = [record for slices in taken.values() for one in slices for record in one.records if not record.is_right]
    for record in wrong[:5]:
        say(f"a request failed: {record.outcome.value} {record.status} {record.why}".rstrip())
    return not wrong


def _passes(mesh: MeshUnderTest, plan: Plan) -> dict[str, list[Taken]]:
    digits = known_digits(mesh)
    headers = {"authorization": f"Bearer {_KEY}"}
    requests = [request_bytes(mesh, "/predictions/digits", one.body, headers=headers) for one in digits]
    kinds: Mapping[str, Callable[[], Taken]] = {
        "run": lambda: _slice(mesh, plan, requests),
        "stopped": lambda: _while_stopped(mesh, plan, requests),
        "killed": lambda: _slice(mesh, plan, requests, is_killing=True),
    }
    taken: dict[str, list[Taken]] = {name: [] for name in kinds}
    _slice(mesh, plan, requests)  # warms up
    draw = random.Random(1)
    for _ in range(plan.passes):
        for name in draw.sample(sorted(kinds), len(kinds)):
            eventually(lambda: len(mesh.pids(SIDECAR)) == 2, "the gateway's and the pod's sidecar run")
            taken[name].append(kinds[name]())
    return taken


def _while_stopped(mesh: MeshUnderTest, plan: Plan, requests: Sequence[bytes]) -> Taken:
    with stopped(mesh.pids(SIDECAR)):
        return _slice(mesh, plan, requests)


def _slice(mesh: MeshUnderTest, plan: Plan, requests: Sequence[bytes], *, is_killing: bool = False) -> Taken:
    serving = mesh.pids(_SERVING)
    gc.collect()
    gc.disable()  # a pause of the load's would be in one kind of slice alone
    try:
        before_s = cpu_s(serving)
        records = uvloop.run(_load(mesh, plan, requests, is_killing=is_killing))
        used_s = cpu_s(serving) - before_s
    finally:
        gc.enable()
    return Taken(records, used_s / max(len(records), 1))


async def _load(mesh: MeshUnderTest, plan: Plan, requests: Sequence[bytes], *, is_killing: bool) -> list[Record]:
    killing = asyncio.create_task(_kill_again_and_again(mesh)) if is_killing else None
    try:
        return await open_loop(
            mesh.inference,
            rate_per_s=plan.rate_per_s,
            duration_s=plan.slice_s,
            make_request=lambda index: requests[index % len(requests)],
            check=lambda index, status, body: status == 200,
        )
    finally:
        if killing is not None:
            killing.cancel()


async def _kill_again_and_again(mesh: MeshUnderTest) -> None:
    while True:
        tell(await asyncio.to_thread(mesh.pids, SIDECAR), signal.SIGKILL)
        await asyncio.sleep(_KILL_EVERY_S)


def _row(name: str, slices: Sequence[Taken], running: Sequence[Taken]) -> tuple[str, ...]:
    return (name, str(len(slices)), *_cells(slices, running))


def _cells(slices: Sequence[Taken], running: Sequence[Taken]) -> Iterator[str]:
    latencies, usual = ([[record.latency_s for record in one.records] for one in of] for of in (slices, running))
    for share in (0.5, 0.99):
        whole, low, high = ratio(latencies, usual, share)
        yield spread([quantile_s(one.records, share) for one in slices]).written(2, 1e3)
        yield from (f"{whole:.3f}", f"{low:.3f}..{high:.3f}")
    costs, usual_costs = ([one.cpu_per_request_s for one in of] for of in (slices, running))
    ratios = pass_ratios(costs, usual_costs)
    low, high = median_interval(ratios)
    yield spread(costs).written(0, 1e6)
    yield from (f"{spread(ratios).median:.3f}", f"{low:.3f}..{high:.3f}")
