"""What a hop adds to a request's time: requests at intended moments, through each proxy and directly."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import uvloop

from tests.benchmarks import peers
from tests.benchmarks.contender import Contender
from tests.benchmarks.heads import Requests
from tests.benchmarks.ours import OURS
from tests.benchmarks.processes import cpu_s, family
from tests.benchmarks.report import table
from tests.benchmarks.slices import interleaved, is_stub_answer, ratio
from tests.benchmarks.spread import median_interval, spread
from tests.fakes.load import MakeRequest, open_loop
from tests.fakes.load_connection import Check
from tests.fakes.records import Record, summarize

GOAL_US = 300  # that our p99 may be above nginx's


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


@dataclass(frozen=True, slots=True)
class Asked:
    """What requests are sent, and which answer is right."""

    make_request: MakeRequest
    is_right: Check


def run(plan: Plan, contenders: Sequence[Contender], key: str, say: Callable[[str], None]) -> int:
    """Say a table for each rate, and return how many requests failed.

    Args:
        contenders: the first is the back end asked directly.
    """
    asked = {one.name: Asked(Requests(one.path, key).made(), is_stub_answer) for one in contenders}
    return sum(run_at(rate_per_s, plan, contenders, asked, say) for rate_per_s in plan.rates_per_s)


def run_at(
    rate_per_s: int,
    plan: Plan,
    contenders: Sequence[Contender],
    asked: Mapping[str, Asked],
    say: Callable[[str], None],
) -> int:
    """Say the table of one rate, and return how many requests failed.

    Args:
        asked: by the contender's name.
    """
    takes = {one.name: partial(take, one, asked[one.name], rate_per_s, plan.slice_s) for one in contenders}
    slices = interleaved(takes, plan.passes)
    say(
        f"\nhop, open loop: {rate_per_s:,} requests/s at intended moments; {plan.passes} passes of {plan.slice_s:g} s "
        f"each, interleaved; added: beyond {contenders[0].name} in the same pass"
    )
    say(render(slices, contenders[0].name, peers.NGINX) + beyond(slices, OURS, peers.NGINX))
    return sum(one.failed for taken in slices.values() for one in taken)


def take(contender: Contender, asked: Asked, rate_per_s: int, slice_s: float) -> OpenSlice:
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
            make_request=asked.make_request,
            check=asked.is_right,
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


def render(slices: Mapping[str, Sequence[OpenSlice]], direct_name: str, reference_name: str) -> str:
    """Lay out one line per contender."""
    header = (
        *("", "p50 ms", "p99 ms", "added p50 µs", "95 %", "added p99 µs", "95 %"),
        *("CPU µs/req", f"× {reference_name}", "95 %", "failed", "n"),
    )
    direct, reference = slices[direct_name], slices.get(reference_name, ())
    rows = [_row(name, taken, () if name == direct_name else direct, reference) for name, taken in slices.items()]
    late_ms = spread([one.late_p99_s for taken in slices.values() for one in taken]).median * 1e3
    return f"{table(header, rows)}\nthe load itself sent 1 % of the requests more than {late_ms:.2f} ms late"


def _row(
    name: str, taken: Sequence[OpenSlice], direct: Sequence[OpenSlice], reference: Sequence[OpenSlice]
) -> tuple[str, ...]:
    p50_s, p99_s = [one.p50_s for one in taken], [one.p99_s for one in taken]
    costs_s = [one.cpu_per_request_s for one in taken]
    return (
        name,
        f"{spread(p50_s).median * 1e3:.2f}",
        f"{spread(p99_s).median * 1e3:.2f}",
        *_added_us(p50_s, [one.p50_s for one in direct]),
        *_added_us(p99_s, [one.p99_s for one in direct]),
        spread(costs_s).written(1, scale=1e6) if any(costs_s) else "-",
        *ratio(costs_s, [one.cpu_per_request_s for one in reference] if any(costs_s) else ()),
        str(sum(one.failed for one in taken)),
        str(len(taken)),
    )


def _added_us(values_s: Sequence[float], without_s: Sequence[float]) -> tuple[str, str]:
    """Return the median of what each pass adds, in microseconds, and its 95 % bound; dashes with nothing to add to."""
    if not without_s:
        return "-", "-"
    added_s = [value_s - one_s for value_s, one_s in zip(values_s, without_s, strict=True)]
    low_s, high_s = median_interval(added_s)
    return f"{spread(added_s).median * 1e6:.0f}", f"{low_s * 1e6:.0f}..{high_s * 1e6:.0f}"


def beyond(slices: Mapping[str, Sequence[OpenSlice]], name: str, reference_name: str) -> str:
    """Say how much more one adds to the slowest hundredth than another, with the goal; "" when one is not there."""
    ours, reference = slices.get(name), slices.get(reference_name)
    if not ours or not reference:
        return ""
    more_us, bound_us = _added_us([one.p99_s for one in ours], [one.p99_s for one in reference])
    return f"\n{name} adds {more_us} µs ({bound_us}) to p99 beyond what {reference_name} adds; goal: {GOAL_US} at most"
