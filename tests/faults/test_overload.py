"""F10 and F11: more than the pods can do, and pods that refuse all: the work that can be done is done, and no more."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from tests.faults.checker import check
from tests.faults.gateway import PATH, TENANTS, callers_of, running_gateway, static
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import End, Ledger, Outcome
from tests.faults.oracle.answers import Behaviour
from tests.faults.oracle.pods import LightPod, light_pods
from tests.faults.requests import Mix
from tests.faults.sizes import sized
from tests.stood_still import Times, noting_halts, worked_s
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

# Slow pods, so that it is not the machine that is overloaded: 2 pods, 16 at a time each, 0.2 s: 160 requests a second.
PODS, AT_ONCE, DELAY_S = 2, 16, 0.2
CAPACITY_PER_S = PODS * AT_ONCE / DELAY_S
OVERLOAD = 5.0
GREEDY = TENANTS[0]
LOAD_S = float(sized(6, 120))
# While queues fill, and until the last are answered, it is not in balance.
_EDGE_S = 1.5
# In a few seconds a moment in which the machine is busy with other things counts for much.
GOODPUT = sized(70, 90) / 100
FAIR = 0.8
# The retry budget, and what a little traffic may always have.
_RETRIES_PER_REQUEST, _RETRIES_PER_S = 0.2, 10.0

_ONCE = Options(mix=Mix(keyed=0.0, chunked=0.0), max_attempts=1, max_connections=2048)
# Each worker is fair to those whose connections it has; so that all have the same workers, none is kept.
_FRESH = replace(_ONCE, keeps_connections=False)


def test_under_five_times_its_capacity_all_of_it_is_used_and_shared_fairly(tmp_path: Path, figure: Figure) -> None:
    attempts, executions = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl"
    callers = callers_of()
    with light_pods(PODS, executions) as pods, Ledger(attempts) as ledger:
        for pod in pods:
            pod.behave(Behaviour(delay_s=DELAY_S, at_once=AT_ONCE))
        where = f"{static([pod.address for pod in pods])}, in_flight: {AT_ONCE}"
        with running_gateway(tmp_path, where, callers=callers) as gateway:
            clients = {
                caller.tenant: LedgerClient(caller.tenant, gateway.url, PATH, ledger, [caller], 1, _FRESH)
                for caller in callers
            }
            began_s, halts = uvloop.run(_overload(clients))
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    since_s, until_s = began_s + _EDGE_S, began_s + LOAD_S - _EDGE_S
    served = _served(evidence.ends, since_s, until_s)
    per_s = {tenant: served[tenant] / worked_s(since_s, until_s, halts) for tenant in TENANTS}
    figure(
        f"F10 {OVERLOAD:g} times {CAPACITY_PER_S:g} requests/s, {GREEDY} alone as much as all others",
        f"{sum(per_s.values()):.0f}/s, " + ", ".join(f"{tenant} {rate:.0f}/s" for tenant, rate in per_s.items()),
    )
    assert check(evidence) == {}
    assert {end.status for end in evidence.ends} <= {200, 429, 503, 504}
    assert sum(per_s.values()) >= GOODPUT * CAPACITY_PER_S
    assert min(per_s.values()) >= FAIR * sum(per_s.values()) / len(TENANTS)


async def _overload(clients: dict[str, LedgerClient]) -> tuple[float, Times]:
    """Have one tenant ask for as much as all others together; return when that began, and when all stood still."""
    offered_per_s = OVERLOAD * CAPACITY_PER_S
    began_s = time.monotonic()
    rates = {tenant: offered_per_s / 2 / (len(clients) - 1) for tenant in clients} | {GREEDY: offered_per_s / 2}
    async with noting_halts() as halts:
        await asyncio.gather(*(client.open_loop(rates[tenant], LOAD_S) for tenant, client in clients.items()))
    return began_s, halts


def _served(ends: Sequence[End], since_s: float, until_s: float) -> Counter[str]:
    """Count answers of the model by client, which is a tenant, in the middle of the load."""
    return Counter(end.client for end in ends if end.told is not None and since_s <= end.at_s < until_s)


def test_pods_that_refuse_all_are_not_asked_over_and_over(tmp_path: Path, figure: Figure) -> None:
    attempts, executions = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl"
    callers = callers_of()
    rate_per_s, lasts_s = 200.0, float(sized(3, 30))
    with light_pods(4, executions) as pods, Ledger(attempts) as ledger:
        for pod in pods:
            pod.behave(Behaviour(refuse="queue_full"))
        with running_gateway(tmp_path, static([pod.address for pod in pods]), callers=callers) as gateway:
            client = LedgerClient("storm", gateway.url, PATH, ledger, callers, 1, _ONCE)
            uvloop.run(client.open_loop(rate_per_s, lasts_s))
        asked = _asked(pods)
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    sent = len(evidence.attempts)
    figure("F11 pods that refuse all", f"{sent} requests, {asked} attempts at pods: {asked / sent:.2f} times")
    assert check(evidence) == {}
    assert all(end.outcome is Outcome.WHOLE and end.status == 503 for end in evidence.ends)
    # As long as it lasted, which is longer than it should where the machine was held up.
    lasted_s = max(end.at_s for end in evidence.ends) - min(attempt.at_s for attempt in evidence.attempts)
    assert asked <= (1 + _RETRIES_PER_REQUEST) * sent + _RETRIES_PER_S * max(lasts_s, lasted_s)


def _asked(pods: Sequence[LightPod]) -> int:
    return sum(pod.seen().requests for pod in pods)
