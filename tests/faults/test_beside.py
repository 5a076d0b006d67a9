"""I8: what is beside a fault notices nothing: callers of another model than the silent one, and of other workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvloop

from tests.fakes.records import quantile
from tests.faults.chaos_proxy import HARMLESS, Toxics
from tests.faults.checker import check, nobody_else_is_hurt, recovers_in_time
from tests.faults.gateway import PATH, callers_of, route, running_gateway, static
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Attempt, End, Ledger
from tests.faults.oracle.pods import light_pods
from tests.faults.requests import Mix
from tests.faults.scene import Proxies, Scene, a_worker_stopped_for_a_while, scene
from tests.faults.sizes import sized
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

RATE_PER_S = 100.0
BEFORE_S = 2.0
SILENT_S = float(sized(3, 30))
AFTER_S = 4.0
TIMEOUT_S = 1.0
# Shorter than the supervisor has patience with a worker.
STANDS_S = 2.0
NEARLY_S = 0.5
# Of three seconds, one moment in which a neighbour has the machine is the p99; whoever is hurt waits longer than this.
SLACK_S = sized(400, 50) / 1000
BESIDE = "beside"


@dataclass(frozen=True, slots=True)
class Moments:
    """When the pods fell silent, and when they spoke again."""

    silent_s: float
    healed_s: float


def test_silent_pods_of_one_model_cost_those_of_another_nothing(tmp_path: Path, figure: Figure) -> None:
    attempts, executions = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl"
    callers = callers_of()
    with (
        light_pods(2, executions) as pods,
        light_pods(1, executions, model=BESIDE) as others,
        Proxies([pod.address for pod in pods]) as proxies,
    ):
        silent, well = static([proxy.address for proxy in proxies.all]), static([others[0].address])
        files = {
            "routes/oracle.yaml": route("oracle", silent, f"timeout: {TIMEOUT_S:g}s\n"),
            f"routes/{BESIDE}.yaml": route(BESIDE, well),
        }
        with running_gateway(tmp_path, silent, callers=callers, files=files) as gateway, Ledger(attempts) as ledger:
            options = Options(mix=Mix(keyed=0.0), max_attempts=1)
            clients = [
                LedgerClient(name, gateway.url, path, ledger, callers, 1, options)
                for name, path in (("oracle", PATH), (BESIDE, f"/predictions/{BESIDE}"))
            ]
            moments = uvloop.run(_while_silent(clients, proxies))
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    baseline_s = [took_s for _, took_s in _of(BESIDE, evidence.attempts, evidence.ends, 0.0, moments.silent_s)]
    control = _of(BESIDE, evidence.attempts, evidence.ends, moments.silent_s, moments.healed_s)
    usual_s = quantile(sorted(baseline_s), 0.99)
    meanwhile_s = quantile(sorted(took_s for _, took_s in control), 0.99)
    figure("I8 beside silent pods", f"p99 {usual_s * 1e3:.0f} ms before, {meanwhile_s * 1e3:.0f} ms meanwhile")
    assert check(evidence) == {}
    assert nobody_else_is_hurt(control, usual_s, slack_s=SLACK_S) == []
    of_the_silent = _of("oracle", evidence.attempts, evidence.ends, 0.0, float("inf"))
    assert any(end.status == 504 for end, _ in of_the_silent)
    assert max(took_s for _, took_s in of_the_silent) < TIMEOUT_S + 5.0
    ends = [end for end, _ in of_the_silent]
    assert recovers_in_time(ends, healed_s=moments.healed_s, within_s=AFTER_S / 2) == []


def test_a_worker_whose_loop_stands_still_costs_those_of_others_nothing(tmp_path: Path, figure: Figure) -> None:
    attempts = tmp_path / "attempts.jsonl"
    options = Options(Mix(keyed=0.0), max_attempts=1, keeps_connections=False)
    with scene(tmp_path) as stage, Ledger(attempts) as ledger:
        client = LedgerClient("fresh", stage.gateway.url, PATH, ledger, stage.callers, 1, options)
        moments = uvloop.run(_while_one_stands_still(client, stage))
    evidence = stage.gateway.evidence(attempts=attempts, executions=stage.executions)
    before = _of("fresh", evidence.attempts, evidence.ends, 0.0, moments.silent_s - NEARLY_S)
    meanwhile = _of("fresh", evidence.attempts, evidence.ends, moments.silent_s, moments.healed_s)
    usual_s = quantile(sorted(took_s for _, took_s in before), 0.99)
    stood_still_s = quantile(sorted(took_s for _, took_s in meanwhile), 0.99)
    figure(
        "F07 beside a worker stopped for 2 s", f"p99 {usual_s * 1e3:.0f} ms before, {stood_still_s * 1e3:.0f} ms then"
    )
    assert check(evidence) == {}
    assert nobody_else_is_hurt(meanwhile, usual_s, slack_s=SLACK_S) == []


async def _while_one_stands_still(client: LedgerClient, stage: Scene) -> Moments:
    load = asyncio.create_task(client.open_loop(RATE_PER_S, 300.0))
    await asyncio.sleep(BEFORE_S)
    silent_s = time.monotonic()
    with a_worker_stopped_for_a_while(stage):
        await asyncio.sleep(STANDS_S)
        healed_s = time.monotonic()
    await asyncio.sleep(NEARLY_S)
    client.stop()
    await load
    return Moments(silent_s, healed_s)


async def _while_silent(clients: Sequence[LedgerClient], proxies: Proxies) -> Moments:
    load = asyncio.gather(*(client.open_loop(RATE_PER_S, 300.0) for client in clients))
    await asyncio.sleep(BEFORE_S)
    silent_s = time.monotonic()
    for proxy in proxies.all:
        proxy.to_client = Toxics(is_silent=True)
    await asyncio.sleep(SILENT_S)
    for proxy in proxies.all:
        proxy.to_client = HARMLESS
    healed_s = time.monotonic()
    await asyncio.sleep(AFTER_S)
    for client in clients:
        client.stop()
    await load
    return Moments(silent_s, healed_s)


def _of(
    client: str, attempts: Sequence[Attempt], ends: Sequence[End], since_s: float, until_s: float
) -> list[tuple[End, float]]:
    """Return a client's ends whose attempts were sent in a span, and how long each took."""
    sent = {(one.client, one.request, one.attempt): one.at_s for one in attempts}
    return [
        (end, end.at_s - at_s)
        for end in ends
        if end.client == client and since_s <= (at_s := sent[end.client, end.request, end.attempt]) < until_s
    ]
