"""What keeping a decision record costs a worker, the thread that writes, and the disk, busy and quiet."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from gateway.dataplane.usage import Usage
from gateway.decide.credentials import KeyShown
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.decisions.gathering import Gathering
from gateway.decisions.merging import merged_content
from gateway.decisions.records import framed
from gateway.trial.memory_counters import Costs, MemoryCounters
from tests.benchmarks.large_policy import key_of, large_policy, model_name
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
            f"decision log, {tenant_count:,} tenants in {REQUESTS:,} requests: {shown.written(2)} us of CPU a request "
            f"in the worker, {beside.written(2)} in its thread, n={shown.count}; goal {GOAL_US:g}"
        )
    apart_bytes, merged_bytes, took_s = quiet_hour()
    say(
        f"decision log, one request a second for an hour: {apart_bytes} bytes a request as written, {merged_bytes} "
        f"once the file is full and merged, which takes its thread {took_s * 1e3:.0f} ms of CPU"
    )


def measure(plan: Plan, tenant_count: int) -> tuple[list[float], list[float]]:
    """Return CPU microseconds per request of each slice, in the worker's loop and in the thread that writes."""
    requests = decided(tenant_count)
    kept_us: list[float] = []
    written_us: list[float] = []
    gathering = Gathering()
    for _ in range(plan.slices):
        began_s = time.thread_time()
        for facts, decision in requests:
            gathering.add(facts, decision, _ID, 0.01, 200, "", _USED)
        taken = gathering.take(0.0)
        kept_s = time.thread_time()
        assert taken is not None
        framed(*taken)
        kept_us.append((kept_s - began_s) / REQUESTS * 1e6)
        written_us.append((time.thread_time() - kept_s) / REQUESTS * 1e6)
    return kept_us, written_us


def quiet_hour() -> tuple[int, int, float]:
    """Return bytes per request in blocks of one, then merged, and the seconds of CPU that merging took."""
    gathering, content = Gathering(), bytearray()
    requests = decided(10)
    for number in range(3600):
        facts, decision = requests[number % REQUESTS]
        gathering.add(replace(facts, wall_s=float(number)), decision, secrets.token_hex(16), 0.01, 200, "", _USED)
        taken = gathering.take(0.0)
        assert taken is not None
        content += framed(*taken)
    began_s = time.thread_time()
    merged = merged_content(bytes(content))
    took_s = time.thread_time() - began_s
    assert merged is not None
    return len(content) // 3600, len(merged) // 3600, took_s


def decided(tenant_count: int) -> list[tuple[RequestFacts, Decision]]:
    """Return requests of so many tenants in turns, and what was decided, as they settle: not quite in that order."""
    snapshot = large_policy(tenant_count, 100, rate_per_s=float(REQUESTS))
    tables, counters = Tables(snapshot), MemoryCounters(snapshot, Costs())
    found: list[tuple[RequestFacts, Decision]] = []
    for number in range(REQUESTS):
        tenant = number % tenant_count
        path = f"/predictions/{model_name(tenant % 100)}"
        credential = KeyShown(hashlib.sha256(key_of(tenant).encode()).digest())
        facts = RequestFacts("POST", path, credential, "", "", 100, 1_800_000_000.0 + number / REQUESTS)
        counters.at(facts.wall_s)
        found.append((facts, decide(tables, facts, counters, facts.wall_s)))
    return [found[number ^ 7] for number in range(REQUESTS)]
