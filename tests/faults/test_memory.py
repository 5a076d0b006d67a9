"""F09: a gateway whose memory is bounded refuses what it has no room for, and none of its processes is killed."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from tests.faults.checker import check, recovers_in_time
from tests.faults.gateway import COMMAND, PATH, callers_of, running_gateway, static
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Ledger, Outcome
from tests.faults.memory_group import MemoryGroup, may_make_one, memory_group
from tests.faults.oracle.answers import Behaviour
from tests.faults.oracle.pods import light_pods
from tests.faults.requests import Mix
from tests.faults.sizes import sized
from tests.system.conftest import Figure
from tests.system.mesh import eventually

pytestmark = [
    pytest.mark.system,
    pytest.mark.alone,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not may_make_one(), reason="bounding memory takes root and cgroup version 1"),
]

WORKERS = 2
BODIES = sized(100, 5000)
BODY_BYTES = 1024 * 1024
# How many at a time, and of how much memory, times what the gateway has when nobody asks it for anything. So many
# that begin at once would take all of it before it is looked at again.
CASES = [(16, 1.1), (500, 1.1), (500, 1.3)]
# Pods that are slow to take requests, so that bodies wait.
PODS, AT_ONCE, DELAY_S = 2, 8, 0.05
STEADY_BYTES = 256 * 1024
AFTER_S = 3.0
RECOVERS_WITHIN_S = 2.0


@pytest.mark.parametrize(("connections", "allowed"), CASES)
def test_a_gateway_short_of_memory_refuses_and_lives(
    connections: int, allowed: float, tmp_path: Path, figure: Figure
) -> None:
    bodies = max(BODIES, connections)
    attempts, executions = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl"
    callers = callers_of()
    with memory_group("penstock-faults") as group, light_pods(PODS, executions) as pods, Ledger(attempts) as ledger:
        for pod in pods:
            pod.behave(Behaviour(delay_s=DELAY_S, at_once=AT_ONCE))
        command = (*group.command, *COMMAND)
        where = f"{static([pod.address for pod in pods])}, in_flight: {AT_ONCE}"
        with running_gateway(tmp_path, where, callers=callers, workers=WORKERS, command=command) as gateway:
            eventually(lambda: len(gateway.everyone()) == WORKERS + 1, "all workers and the spare are there")
            eventually(gateway.is_whole, "all workers accept")
            at_rest_bytes = _at_rest(group)
            before = set(gateway.everyone())
            large = Options(Mix(keyed=0.0, payload_bytes=(BODY_BYTES, BODY_BYTES)), max_attempts=1)
            clients = [
                LedgerClient("large", gateway.url, PATH, ledger, callers, 1, large),
                LedgerClient("small", gateway.url, PATH, ledger, callers, 1, Options(Mix(keyed=0.0), max_attempts=1)),
            ]
            healed_s = uvloop.run(_fill(clients, group, round(at_rest_bytes * allowed), connections, bodies))
            assert set(gateway.everyone()) == before
            assert group.oom_kills == 0
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    refused = Counter(end.reason for end in evidence.ends if end.outcome is Outcome.WHOLE and end.status >= 400)
    figure(
        f"F09 {bodies} bodies of 1 MiB, {connections} at a time, with {allowed - 1:.0%} more memory than at rest",
        f"killed 0, refused {', '.join(f'{reason} {count}' for reason, count in refused.most_common())}",
    )
    assert check(evidence) == {}
    assert "overload_memory" in refused
    afterwards = [end for end in evidence.ends if end.client == "small"]
    assert recovers_in_time(afterwards, healed_s=healed_s, within_s=RECOVERS_WITHIN_S) == []


def _at_rest(group: MemoryGroup) -> int:
    """Return what the group has once that does not grow any more."""
    was_bytes = 0
    while (used_bytes := group.used_bytes) > was_bytes + STEADY_BYTES:
        was_bytes = used_bytes
        time.sleep(1.0)
    return used_bytes


async def _fill(
    clients: list[LedgerClient], group: MemoryGroup, bound_bytes: int, connections: int, bodies: int
) -> float:
    """Bound the memory while large bodies are sent, and ask a little longer; return when it was unbounded again.

    At rest the gateway has more of the bound than it waits for to take requests again, so that is not waited for.
    """
    large, small = clients
    group.bound(bound_bytes)
    await large.closed_loop(connections, bodies)
    group.bound(-1)
    healed_s = time.monotonic()
    await small.open_loop(20.0, AFTER_S)
    return healed_s
