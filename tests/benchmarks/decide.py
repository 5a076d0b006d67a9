"""What one decision costs with 10,000 tenants and 1,000 models: API key, rate, requests in flight and a quota."""

from __future__ import annotations

import hashlib
import random
import sys
import time
from collections.abc import Callable

from msgspec import Struct

from gateway.decide.credentials import KeyShown
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.limits import Standing
from gateway.decide.tables import Tables
from gateway.trial.stated_counters import StatedCounters
from tests.benchmarks.large_policy import key_of, large_policy, model_name
from tests.benchmarks.spread import spread

GOAL_US = 6.0
TENANTS, ROUTES = 10_000, 1_000
DECISIONS = 5_000  # of one slice
_STANDING = Standing(10**6, 10**3, 10**9, 2_000_000.0, 1.0)


class Plan(Struct, frozen=True):
    """How much is measured."""

    slices: int


QUICK, FULL = Plan(slices=20), Plan(slices=200)


class _UsedQuotas(dict[str, Standing]):
    """Every quota stands alike."""

    def get(self, key: str, default: object = None) -> Standing:
        return _STANDING


def run(plan: Plan, say: Callable[[str], None]) -> None:
    """Measure, and say one line."""
    shown = spread(measure(plan))
    say(
        f"decide(), {TENANTS:,} tenants, {ROUTES:,} models, Python {sys.version.split()[0]}: "
        f"{shown.written(2)} us, n={shown.count} slices of {DECISIONS:,}; goal {GOAL_US:g}"
    )


def measure(plan: Plan) -> list[float]:
    """Return microseconds per decision of each slice."""
    tables = Tables(large_policy(TENANTS, ROUTES))
    facts = requests()
    counters = StatedCounters(_UsedQuotas())
    for one in facts:
        assert decide(tables, one, counters, 50.0).refusal is None
    taken_us: list[float] = []
    for _ in range(plan.slices):
        began_s = time.perf_counter()
        for one in facts:
            decide(tables, one, counters, 50.0)
        taken_us.append((time.perf_counter() - began_s) / len(facts) * 1e6)
    return taken_us


def requests() -> list[RequestFacts]:
    """Return requests of random tenants for random models, the same at every run."""
    draw = random.Random(1)
    return [
        RequestFacts(
            "POST",
            f"/predictions/{model_name(draw.randrange(ROUTES))}",
            KeyShown(hashlib.sha256(key_of(draw.randrange(TENANTS)).encode()).digest()),
            "",
            "",
            100,
            1_000_000.0,
        )
        for _ in range(DECISIONS)
    ]
