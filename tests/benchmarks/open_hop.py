"""What a hop adds to a request's time: requests at intended moments, through each proxy and directly."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import uvloop

from tests.benchmarks.contender import Contender
from tests.benchmarks.heads import Requests
from tests.benchmarks.processes import cpu_s, family
from tests.benchmarks.report import table
from tests.benchmarks.slices import interleaved, is_stub_answer
from tests.benchmarks.spread import median_interval, spread
from tests.fakes.load import open_loop
from tests.fakes.records import Record, summarize


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure."""

    passes: int
    slice_s: float
    rates_per_s: tuple[int, ...] = (500, 2000)


FULL = Plan(passes=7, slice_s=2.0)
QUICK = Plan(passes=1, slice_s=1.0)


@dataclass(frozen=True, slots=True)
class OpenSlice:
    """One contender at one rate in one pass.

    Attributes:
        p50_s, p99_s: from the moment that the request was meant to be sent.
        late_p99_s: how late it was sent; of the load, not of the contender.
    """

    p50_s: float
    p99_s: float
    late_p99_s: float
    cpu_per_request_s: float
    failed: int


def run(plan: Plan, contenders: Sequence[Contender], key: str, say: Callable[[str], None]) -> int:
    """Say a table for each rate, and return how many requests failed.

    Args:
        contenders: the first is the back end asked directly.
    """
    failed = 0
    for rate_per_s in plan.rates_per_s:
        takes = {one.name: partial(take, one, Requests(one.path, key), rate_per_s, plan.slice_s) for one in contenders}
        slices = interleaved(takes, plan.passes)
        say(
            f"\nhop, open loop: {rate_per_s:,} requests/s at intended moments, POST of 200 bytes; {plan.passes} passes "
            f"of {plan.slice_s:g} s each, interleaved; added: beyond {contenders[0].name} in the same pass"
        )
        say(render(slices, contenders[0].name))
        failed += sum(one.failed for taken in slices.values() for one in taken)
    return failed


def take(contender: Contender, requests: Requests, rate_per_s: int, slice_s: float) -> OpenSlice:
    """Send at a rate for a while."""
    pids = family(contender.program.pid) if contender.program is not None else []
    gc.collect()
    gc.disable()  # records are many and none is part of a cycle
    try:
        cpu_before_s = cpu_s(pids)
        load = open_loop(
            contender.address,
            rate_per_s=rate_per_s,
            duration_s=slice_s,
            make_request=requests.made(),
            check=is_stub_answer,
        )
        records = uvloop.run(load)
        used_s = cpu_s(pids) - cpu_before_s
    finally:
        gc.enable()
    return slice_of(records, used_s)


def slice_of(records: Sequence[Record], used_s: float) -> OpenSlice:
    """Sum up what the load client saw."""
    summary = summarize(records)
    late_s = sorted(record.started_s - record.intended_s for record in records)
    late_p99_s = late_s[math.ceil(0.99 * len(late_s)) - 1] if late_s else 0.0
    per_request_s = used_s / max(summary.count, 1)
    return OpenSlice(summary.p50_s, summary.p99_s, late_p99_s, per_request_s, summary.count - summary.right)


def render(slices: Mapping[str, Sequence[OpenSlice]], direct_name: str) -> str:
    """Lay out one line per contender."""
    header = ("", "p50 ms", "p99 ms", "added p50 µs", "95 %", "added p99 µs", "95 %", "CPU µs/req", "failed", "n")
    direct = slices[direct_name]
    rows = [_row(name, taken, direct, is_direct=name == direct_name) for name, taken in slices.items()]
    late_ms = spread([one.late_p99_s for taken in slices.values() for one in taken]).median * 1e3
    return f"{table(header, rows)}\nthe load itself sent 1 % of the requests more than {late_ms:.2f} ms late"


def _row(name: str, taken: Sequence[OpenSlice], direct: Sequence[OpenSlice], *, is_direct: bool) -> tuple[str, ...]:
    p50_s, p99_s = [one.p50_s for one in taken], [one.p99_s for one in taken]
    costs_s = [one.cpu_per_request_s for one in taken]
    return (
        name,
        f"{spread(p50_s).median * 1e3:.2f}",
        f"{spread(p99_s).median * 1e3:.2f}",
        *(("-", "-") if is_direct else _added(p50_s, [one.p50_s for one in direct])),
        *(("-", "-") if is_direct else _added(p99_s, [one.p99_s for one in direct])),
        spread(costs_s).written(1, scale=1e6) if any(costs_s) else "-",
        str(sum(one.failed for one in taken)),
        str(len(taken)),
    )


def _added(values_s: Sequence[float], direct_s: Sequence[float]) -> tuple[str, str]:
    """Return the median of what each pass adds, in microseconds, and its 95 % bound."""
    added_s = [value_s - without_s for value_s, without_s in zip(values_s, direct_s, strict=True)]
    low_s, high_s = median_interval(added_s)
    return f"{spread(added_s).median * 1e6:.0f}", f"{low_s * 1e6:.0f}..{high_s * 1e6:.0f}"
