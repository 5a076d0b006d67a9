"""F04: a gateway that is told to stop finishes all that it has, streams too, and then ends well."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import uvloop

from tests.faults.checker import check, health_tells_the_truth
from tests.faults.gateway import PATH, GatewayUnderTest, callers_of, running_gateway, static
from tests.faults.health import watched
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Ledger
from tests.faults.oracle.answers import Behaviour
from tests.faults.oracle.pods import LightPod, light_pods
from tests.faults.requests import Mix
from tests.faults.sizes import sized
from tests.system.conftest import Figure
from tests.system.mesh import eventually

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(1200)]

ROUNDS = sized(1, 20)
WHOLE = sized(100, 500)
STREAMS = sized(10, 50)
# Longer than it takes to begin all of them; so all are under way when the gateway is told.
LASTS_S = sized(5, 6)
PIECES = 20
DRAIN_DELAY_S = 2.0
SLACK_S = 15.0
# Not ready at once; on a machine that is busy with other things, while connections are still taken.
NOTICES_WITHIN_S = 1.5
_OPTIONS = ("--drain-delay-s", str(DRAIN_DELAY_S), "--drain-within-s", "30")


@pytest.mark.parametrize("nth", range(ROUNDS))
def test_what_is_under_way_when_it_is_told_to_stop_is_answered(nth: int, tmp_path: Path, figure: Figure) -> None:
    attempts, executions = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl"
    callers = callers_of()
    with light_pods(2, executions) as pods, Ledger(attempts) as ledger:
        for pod in pods:
            pod.behave(Behaviour(delay_s=LASTS_S, pause_s=LASTS_S / PIECES))
        running = running_gateway(tmp_path, static([pod.address for pod in pods]), callers=callers, options=_OPTIONS)
        with running as gateway:
            clients = [
                LedgerClient(name, gateway.url, PATH, ledger, callers, nth, Options(mix=mix, max_attempts=1))
                for name, mix in (("whole", Mix(keyed=0.0)), ("streams", Mix(streamed=1.0, pieces=PIECES)))
            ]
            with watched(gateway.url) as health:
                told_s = uvloop.run(_tell_under_way(gateway, clients, pods))
                assert gateway.wait_for_end() == 0
            took_s = time.monotonic() - told_s
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    assert check(evidence) == {}
    assert [client.progress.succeeded for client in clients] == [WHOLE, STREAMS]
    stops = [(told_s, math.inf)]
    assert health_tells_the_truth(health.samples, stops, notices_within_s=NOTICES_WITHIN_S) == []
    assert any(not sample.is_ready for sample in health.samples), "whoever balances saw it"
    assert took_s <= DRAIN_DELAY_S + LASTS_S + SLACK_S
    figure(
        f"F04 SIGTERM with {WHOLE} requests and {STREAMS} streams under way", f"failed 0, ended after {took_s:.1f} s"
    )


async def _tell_under_way(gateway: GatewayUnderTest, clients: list[LedgerClient], pods: Sequence[LightPod]) -> float:
    whole, streams = clients
    load = asyncio.gather(whole.closed_loop(WHOLE, WHOLE), streams.closed_loop(STREAMS, STREAMS))

    def are_under_way() -> bool:
        return sum(pod.seen().requests for pod in pods) == WHOLE + STREAMS

    await asyncio.to_thread(eventually, are_under_way, "every request is with a pod", within_s=LASTS_S)
    told_s = time.monotonic()
    gateway.terminate()
    await load
    return told_s
