"""How long a million recorded requests take to be decided anew by two policies, from the file on, on one core."""

from __future__ import annotations

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from gateway.dataplane.usage import Usage
from gateway.decide.credentials import Recorded
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.decisions.folder import Read, read_blocks
from gateway.decisions.gathering import Gathering
from gateway.decisions.records import framed
from gateway.trial.memory_counters import Costs, MemoryCounters
from gateway.trial.plan import Plan, plan_of
from gateway.trial.replay import Replay
from gateway.trial.traffic import ordered
from policies.snapshot.generation import Snapshot
from tests.benchmarks.large_policy import large_policy, model_name, tenant_name

GOAL_S = 60.0
TENANTS, ROUTES = 1_000, 100
REQUESTS_PER_S = 1_000
_START_S = 1_800_000_000.0


class Size(Struct, frozen=True):
    """How much is replayed."""

    records: int


QUICK, FULL = Size(records=50_000), Size(records=1_000_000)


def run(size: Size, say: Callable[[str], None]) -> None:
    """Make traffic, replay it, and say how long that took."""
    before = large_policy(TENANTS, ROUTES, rate_per_s=5.0, requests_per_day=1_100)
    after = large_policy(TENANTS, ROUTES, rate_per_s=3.0, requests_per_day=1_000)
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as name:
        file = Path(name) / "traffic.rec"
        write_traffic(file, before, size.records)
        say(
            f"plan: {size.records:,} records of {TENANTS:,} tenants and {ROUTES} models, "
            f"{file.stat().st_size / size.records:.1f} bytes each"
        )
        began_s = time.process_time()
        plan = replayed(file, before, after)
        taken_s = time.process_time() - began_s
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    say(
        f"plan: replayed by two policies in {taken_s:.1f} s of one core ({taken_s / size.records * 1e6:.1f} us each), "
        f"Python {sys.version.split()[0]}; {plan.new_refusals:,} new refusals; peak memory {peak_mib:.0f} MiB; "
        f"goal {GOAL_S * size.records / FULL.records:g} s"
    )


def replayed(file: Path, before: Snapshot, after: Snapshot) -> Plan:
    """Return the plan for a file of traffic."""
    read = Read()
    replay = Replay(before, after)
    replay.run(ordered(read_blocks(file, 0.0, float("inf"), read)), lambda _: None)
    return plan_of(replay, read)


def write_traffic(file: Path, policy: Snapshot, count: int) -> None:
    """Write records as a worker does."""
    draw = random.Random(1)
    gathering, tables, counters = Gathering(), Tables(policy), MemoryCounters(policy, Costs())
    with file.open("wb") as out:
        for number in range(count):
            facts = _facts(draw, _START_S + number / REQUESTS_PER_S)
            counters.at(facts.wall_s)
            decision = decide(tables, facts, counters, facts.wall_s)
            used = Usage(draw.randrange(500, 5000), 0, 100, draw.randrange(50, 500))
            duration_s = draw.expovariate(100.0)
            if decision.refusal is None:
                counters.charge(decision.charges, None, facts.wall_s + duration_s)
            reason = decision.refusal.reason if decision.refusal else ""
            request_id = draw.getrandbits(128).to_bytes(16).hex()
            gathering.add(facts, decision, request_id, duration_s, 429 if reason else 200, reason, used)
            if number % REQUESTS_PER_S == REQUESTS_PER_S - 1 or number == count - 1:
                taken = gathering.take(facts.wall_s)
                assert taken is not None
                out.write(framed(*taken))


def _facts(draw: random.Random, wall_s: float) -> RequestFacts:
    number = draw.randrange(TENANTS)
    model = model_name(draw.randrange(ROUTES) if number % 10 == 0 else number % ROUTES)
    credential = Recorded(tenant_name(number), f"key-{number}")
    return RequestFacts("POST", f"/predictions/{model}", credential, "", "", draw.randrange(100, 2000), wall_s)
