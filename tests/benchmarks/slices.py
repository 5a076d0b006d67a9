"""Slices: a contender driven for a second, in passes that go through all contenders; and the table made of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import uvloop

from tests.benchmarks import stub, wrk
from tests.benchmarks.contender import Contender
from tests.benchmarks.heads import Requests
from tests.benchmarks.processes import NotStarted, cpu_s, family, largest_rss_bytes
from tests.benchmarks.report import table
from tests.benchmarks.spread import median_interval, pass_ratios, spread
from tests.fakes.load import MakeRequest, closed_loop
from tests.fakes.load_connection import Check
from tests.fakes.records import Record, summarize

CONNECTIONS = 64
WARM_UP_S = 0.3
# Below it something else set the requests per second: the load, the back end, or other programs on the machine.
SATURATED = 0.9

Taken = TypeVar("Taken")


@dataclass(frozen=True, slots=True)
class Slice:
    """One contender in one pass.

    Attributes:
        cpu_per_request_s: of all the contender's processes; 0 for the back end asked directly.
        busy: share of one core that the contender used; well below 1 means that the load was the limit.
        failed: requests without the right answer.
        rss_bytes: of the contender's largest process that serves.
    """

    requests_per_s: float
    cpu_per_request_s: float
    busy: float
    p50_s: float
    p99_s: float
    failed: int
    rss_bytes: int = 0


def interleaved(takes: Mapping[str, Callable[[], Taken]], passes: int) -> dict[str, list[Taken]]:
    """Take one of each in every pass; each pass begins with another."""
    names = list(takes)
    taken: dict[str, list[Taken]] = {name: [] for name in names}
    for number in range(passes):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            taken[name].append(takes[name]())
    return taken


def check_once(contender: Contender, requests: Requests) -> None:
    """Warm a contender up, looking at every answer: those of a slice that wrk drives are known by their status alone.

    Raises:
        NotStarted: an answer was wrong.
    """
    taken = drive(contender, WARM_UP_S, requests.made(), is_stub_answer)
    if taken.failed:
        raise NotStarted(f"{contender.name}: {taken.failed} wrong answers before measuring")


def take_slice(contender: Contender, requests: Requests, slice_s: float, connections: int = CONNECTIONS) -> Slice:
    """Keep a contender busy for a while, by wrk where it is installed."""
    program = wrk.find_wrk()
    if program is None:
        return drive(contender, slice_s, requests.made(), is_stub_answer, connections)
    pids = _pids(contender)
    cpu_before_s = cpu_s(pids)
    said = wrk.drive(program, contender.address, requests, connections, max(1, round(slice_s)))
    used_s, took_s = cpu_s(pids) - cpu_before_s, said.took_us / 1e6
    return Slice(
        requests_per_s=(said.requests - said.failed) / took_s,
        cpu_per_request_s=used_s / max(said.requests, 1),
        busy=used_s / took_s,
        p50_s=said.p50_us / 1e6,
        p99_s=said.p99_us / 1e6,
        failed=said.failed,
        rss_bytes=largest_rss_bytes(pids, contender.serving_title),
    )


def drive(
    contender: Contender,
    slice_s: float,
    make_request: MakeRequest,
    is_right: Check,
    connections: int = CONNECTIONS,
) -> Slice:
    """Keep a contender busy for a while by our own load client, and look what it did and what it cost."""
    pids = _pids(contender)
    gc.collect()
    gc.disable()  # records are many and none is part of a cycle
    try:
        cpu_before_s, started_s = cpu_s(pids), time.monotonic()
        records = uvloop.run(
            closed_loop(
                contender.address,
                connections=connections,
                duration_s=slice_s,
                make_request=make_request,
                check=is_right,
            )
        )
        wall_s, used_s = time.monotonic() - started_s, cpu_s(pids) - cpu_before_s
    finally:
        gc.enable()
    return slice_of(records, wall_s, used_s, largest_rss_bytes(pids, contender.serving_title))


def is_stub_answer(index: int, status: int, body: bytes) -> bool:
    """Say whether an answer is the stub's."""
    return status == 200 and body == stub.BODY


def slice_of(records: Sequence[Record], wall_s: float, used_s: float, rss_bytes: int = 0) -> Slice:
    """Sum up what a load client saw."""
    summary = summarize(records)
    return Slice(
        requests_per_s=summary.right / wall_s,
        cpu_per_request_s=used_s / max(summary.count, 1),
        busy=used_s / wall_s,
        p50_s=summary.p50_s,
        p99_s=summary.p99_s,
        failed=summary.count - summary.right,
        rss_bytes=rss_bytes,
    )


def _pids(contender: Contender) -> list[int]:
    return family(contender.program.pid) if contender.program is not None else []


def failures(slices: Mapping[str, Sequence[Slice]]) -> int:
    """Return how many requests had no right answer."""
    return sum(one.failed for taken in slices.values() for one in taken)


def render(slices: Mapping[str, Sequence[Slice]], reference_name: str) -> str:
    """Lay out one line per contender."""
    to = f"× {reference_name}"
    header = ("", "req/s", to, "95 %", "CPU µs/req", to, "95 %", "busy", "p50 ms", "p99 ms", "RSS MiB", "failed", "n")
    reference = slices.get(reference_name, ())
    return table(header, [_row(name, taken, reference) for name, taken in slices.items() if taken])


def _row(name: str, taken: Sequence[Slice], reference: Sequence[Slice]) -> tuple[str, ...]:
    rates = [one.requests_per_s for one in taken]
    costs_s = [one.cpu_per_request_s for one in taken]
    rss_mib = max(one.rss_bytes for one in taken) / 2**20
    are_saturated = is_saturated(taken) and is_saturated(reference)
    cost_references = [one.cpu_per_request_s for one in reference] if any(costs_s) else ()
    return (
        name,
        spread(rates).written(0),
        *ratio(rates, [one.requests_per_s for one in reference] if are_saturated else ()),
        spread(costs_s).written(1, scale=1e6) if any(costs_s) else "-",
        *ratio(costs_s, cost_references),
        f"{spread([one.busy for one in taken]).median:.0%}" if any(costs_s) else "-",
        f"{spread([one.p50_s for one in taken]).median * 1e3:.2f}",
        f"{spread([one.p99_s for one in taken]).median * 1e3:.2f}",
        f"{rss_mib:.0f}" if rss_mib else "-",
        str(sum(one.failed for one in taken)),
        str(len(taken)),
    )


def is_saturated(taken: Sequence[Slice]) -> bool:
    """Say whether these slices show how much a contender can do: it was its own limit."""
    return bool(taken) and spread([one.busy for one in taken]).median >= SATURATED


def ratio(values: Sequence[float], references: Sequence[float]) -> tuple[str, str]:
    """Return the median of the ratios of each pass, and its 95 % bound; dashes without a reference."""
    ratios = pass_ratios(values, references) if references else []
    if not ratios:
        return "-", "-"
    low, high = median_interval(ratios)
    return f"{spread(ratios).median:.2f}", f"{low:.2f}..{high:.2f}"
