"""I6: a limit holds in every interval, while workers that charge it are killed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import uvloop

from tests.faults.checker import check, limits_hold
from tests.faults.gateway import PATH, GatewayUnderTest, callers_of, running_gateway, static, tenant
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Ledger
from tests.faults.oracle.pods import light_pods
from tests.faults.requests import Mix
from tests.faults.sizes import sized
from tests.system.conftest import Figure
from tests.system.mesh import eventually

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

RATE_PER_S, BURST = 50.0, 10
# Records tell moments of the wall's clock, limits go by another: between the two readings a worker may lose its turn.
BETWEEN_CLOCKS_S = 0.03
ASKED_PER_S = 300.0
KILLS = sized(3, 30)
_LIMITS = f"kind: limits/v1\ntiers:\n  usual: {{rate: 1000000/s}}\n  few: {{rate: {RATE_PER_S:g}/s, burst: {BURST}}}\n"


def test_no_interval_is_overspent_while_workers_die(tmp_path: Path, figure: Figure) -> None:
    attempts, executions = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl"
    callers = callers_of()[:1]
    files = {"limits.yaml": _LIMITS, f"tenants/{callers[0].tenant}.yaml": tenant(callers[0], "few")}
    with light_pods(2, executions) as pods, Ledger(attempts) as ledger:
        where = static([pod.address for pod in pods])
        with running_gateway(tmp_path, where, callers=callers, files=files) as gateway:
            options = Options(mix=Mix(keyed=0.0), max_attempts=1)
            client = LedgerClient("limited", gateway.url, PATH, ledger, callers, 1, options)
            uvloop.run(_while_workers_die(client, gateway))
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    assert evidence.audited is not None
    admitted_s = [record.at_s for record in evidence.audited if not record.refusal]
    span_s = max(admitted_s) - min(admitted_s)
    figure(
        f"I6 a limit of {RATE_PER_S:g}/s, asked for {ASKED_PER_S:g}/s, {KILLS} workers killed",
        f"{len(admitted_s)} admitted in {span_s:.1f} s",
    )
    assert check(evidence) == {}
    assert limits_hold(admitted_s, rate_per_s=RATE_PER_S, burst=BURST, excess=RATE_PER_S * BETWEEN_CLOCKS_S) == []
    assert any(end.reason == "rate_limited" for end in evidence.ends)


async def _while_workers_die(client: LedgerClient, gateway: GatewayUnderTest) -> None:
    load = asyncio.create_task(client.open_loop(ASKED_PER_S, 300.0))
    try:
        await asyncio.sleep(0.5)
        for _ in range(KILLS):
            await asyncio.to_thread(gateway.kill, gateway.serving()[:1])
            await asyncio.to_thread(eventually, gateway.is_whole, "the worker is replaced")
            await asyncio.sleep(0.5)
    finally:
        client.stop()
    await load
