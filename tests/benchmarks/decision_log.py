"""What keeping a decision record costs a worker, call by call, and what it costs the thread that writes."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from gateway.dataplane.usage import Usage
from gateway.decide.credentials import Recorded
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.decisions.gathering import Gathering
from gateway.decisions.records import framed
from gateway.trial.memory_counters import Costs, MemoryCounters
from tests.benchmarks.large_policy import large_policy, model_name, tenant_name
from tests.benchmarks.spread import spread

GOAL_US = 2.0
REQUESTS = 1_000  # of one slice: a second of a busy worker
_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
_USED = Usage(1000, 0, 100, 100)


class Plan(Struct, frozen=True):
    """How much is measured."""

    slices: int


QUICK, FULL = Plan(slices=20), Plan(slices=300)


def run(plan: Plan, say: Callable[[str], None]) -> None:
    """Measure for few and for many callers, and say a line each."""
    for tenant_count in (10, 100, REQUESTS):
        kept_us, written_us = measure(plan, tenant_count)
        shown, beside = spread(kept_us), spread(written_us)
        say(
            f"decision log, {tenant_count:,} tenants in {REQUESTS:,} requests: {shown.written(2)} us a request in the "
            f"worker, {beside.written(2)} in its thread, n={shown.count}; goal {GOAL_US:g}"
        )


def measure(plan: Plan, tenant_count: int) -> tuple[list[float], list[float]]:
    """Return microseconds per request of each slice, in the worker's loop and in the thread that writes."""
    requests = decided(tenant_count)
    kept_us: list[float] = []
    written_us: list[float] = []
    gathering = Gathering()
    for _ in range(plan.slices):
        began_s = time.perf_counter()
        for facts, decision in requests:
            gathering.add(facts, decision, _ID, 0.01, 200, "", _USED)
        taken = gathering.take(0.0)
        kept_s = time.perf_counter()
        assert taken is not None
        framed(*taken)
        kept_us.append((kept_s - began_s) / REQUESTS * 1e6)
        written_us.append((time.perf_counter() - kept_s) / REQUESTS * 1e6)
    return kept_us, written_us


def decided(tenant_count: int) -> list[tuple[RequestFacts, Decision]]:
    """Return requests of so many tenants in turns, and what was decided."""
    snapshot = large_policy(tenant_count, 100, rate_per_s=float(REQUESTS))
    tables, counters = Tables(snapshot), MemoryCounters(snapshot, Costs())
    found: list[tuple[RequestFacts, Decision]] = []
    for number in range(REQUESTS):
        tenant = number % tenant_count
        path = f"/predictions/{model_name(tenant % 100)}"
        credential = Recorded(tenant_name(tenant), f"key-{tenant}")
        facts = RequestFacts("POST", path, credential, "", "", 100, 1_800_000_000.0 + number / REQUESTS)
        counters.at(facts.wall_s)
        found.append((facts, decide(tables, facts, counters, facts.wall_s)))
    return found
