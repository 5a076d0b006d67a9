"""What one hop costs: our gateway beside nginx and HAProxy, in interleaved slices of one run."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from tests.benchmarks import stub
from tests.benchmarks.contenders import Contender, Cores, new_key, started
from tests.benchmarks.heads import json_bodies, requests_for
from tests.benchmarks.processes import cpu_s, family, pinned
from tests.benchmarks.report import table
from tests.benchmarks.spread import median_interval, pass_ratios, spread
from tests.fakes.load import MakeRequest, closed_loop
from tests.fakes.load_connection import Check
from tests.fakes.records import Record, summarize

CONNECTIONS = 64
REFERENCE = "nginx"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    passes: int
    slice_s: float
    warm_up_s: float = 0.3


FULL = Plan(passes=15, slice_s=1.0)
QUICK = Plan(passes=3, slice_s=0.5)


@dataclass(frozen=True, slots=True)
class Slice:
    """One contender in one pass.

    Attributes:
        cpu_per_request_s: of all the contender's processes; 0 for the stub asked directly.
        busy: share of its core that the contender used; well below 1 means that the load was the limit.
        failed: requests without the right answer.
    """

    requests_per_s: float
    cpu_per_request_s: float
    busy: float
    p50_s: float
    p99_s: float
    failed: int


def run(plan: Plan, cores: Cores, say: Callable[[str], None]) -> bool:
    """Measure every contender there is and say the table; False when one that is here did not start."""
    key = new_key()
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name, started(cores, key, Path(name)) as found:
        for line in (*found.skipped, *found.broken):
            say(line)
        slices = measure(found.contenders, key, plan, cores)
    say(f"gateway hop: {CONNECTIONS} connections, closed loop, POST of 36 bytes, answer of {len(stub.BODY)} bytes")
    say(f"{cores}; {plan.passes} passes of {plan.slice_s:g} s each, interleaved")
    say(render(slices))
    say("req/s, CPU: median [min..max] over passes; × nginx: per pass, with the 95 % bound of its median.")
    say("CPU: every process of the contender. busy: share of its core that it used; below 90 % something else set the")
    say("req/s (the load, the stub, or other programs on this machine).")
    return not found.broken


def measure(found: Sequence[Contender], key: str, plan: Plan, cores: Cores) -> dict[str, list[Slice]]:
    """Take slices in passes; each pass begins with another contender."""
    slices: dict[str, list[Slice]] = {contender.name: [] for contender in found}
    with pinned({cores.load}):
        for contender in found:
            take_slice(contender, key, plan.warm_up_s)
        for number in range(plan.passes):
            first = number % len(found)
            for contender in (*found[first:], *found[:first]):
                slices[contender.name].append(take_slice(contender, key, plan.slice_s))
    return slices


def take_slice(contender: Contender, key: str, slice_s: float) -> Slice:
    """Drive one contender in front of the stub for a while."""
    make_request = requests_for(contender.path, key, json_bodies([{"data": list(range(8))}]))
    return drive(contender, slice_s, make_request, is_stub_answer)


def drive(contender: Contender, slice_s: float, make_request: MakeRequest, is_right: Check) -> Slice:
    """Keep a contender busy for a while, and look what it did and what it cost."""
    pids = family(contender.program.pid) if contender.program is not None else []
    gc.collect()
    gc.disable()  # records are many and none is part of a cycle
    try:
        cpu_before_s, started_s = cpu_s(pids), time.monotonic()
        records = uvloop.run(
            closed_loop(
                contender.address,
                connections=CONNECTIONS,
                duration_s=slice_s,
                make_request=make_request,
                check=is_right,
            )
        )
        wall_s, used_s = time.monotonic() - started_s, cpu_s(pids) - cpu_before_s
    finally:
        gc.enable()
    return _slice_of(records, wall_s, used_s)


def is_stub_answer(index: int, status: int, body: bytes) -> bool:
    """Say whether an answer is the stub's."""
    return status == 200 and body == stub.BODY


def _slice_of(records: Sequence[Record], wall_s: float, used_s: float) -> Slice:
    summary = summarize(records)
    return Slice(
        requests_per_s=summary.right / wall_s,
        cpu_per_request_s=used_s / max(summary.count, 1),
        busy=used_s / wall_s,
        p50_s=summary.p50_s,
        p99_s=summary.p99_s,
        failed=summary.count - summary.right,
    )


def render(slices: Mapping[str, Sequence[Slice]]) -> str:
    """Lay out one line per contender."""
    header = ("", "req/s", "× nginx", "95 %", "CPU µs/req", "× nginx", "busy", "p50 ms", "p99 ms", "failed", "n")
    reference = slices.get(REFERENCE, ())
    return table(header, [_row(name, taken, reference) for name, taken in slices.items() if taken])


def _row(name: str, taken: Sequence[Slice], reference: Sequence[Slice]) -> tuple[str, ...]:
    rates = [one.requests_per_s for one in taken]
    costs_s = [one.cpu_per_request_s for one in taken]
    has_cpu = any(costs_s)
    ratio, bound = _ratio(rates, [one.requests_per_s for one in reference])
    cost_ratio, _ = _ratio(costs_s, [one.cpu_per_request_s for one in reference]) if has_cpu else ("-", "-")
    return (
        name,
        spread(rates).written(0),
        ratio,
        bound,
        spread(costs_s).written(1, scale=1e6) if has_cpu else "-",
        cost_ratio,
        f"{spread([one.busy for one in taken]).median:.0%}" if has_cpu else "-",
        f"{spread([one.p50_s for one in taken]).median * 1e3:.2f}",
        f"{spread([one.p99_s for one in taken]).median * 1e3:.2f}",
        str(sum(one.failed for one in taken)),
        str(len(taken)),
    )


def _ratio(values: Sequence[float], references: Sequence[float]) -> tuple[str, str]:
    ratios = pass_ratios(values, references) if references else []
    if not ratios:
        return "-", "-"
    low, high = median_interval(ratios)
    return spread(ratios).written(2), f"{low:.2f}..{high:.2f}"
