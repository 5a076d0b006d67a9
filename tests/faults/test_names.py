"""F58: a name that stands for other addresses moves the traffic, and one that cannot be resolved costs nothing."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import uvloop

from tests.faults.checker import check
from tests.faults.gateway import PATH, callers_of, running_gateway
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Execution, Ledger
from tests.faults.named_gateway import Names, tell
from tests.faults.oracle.pods import light_pods
from tests.faults.requests import Mix
from tests.faults.sizes import IS_FULL, sized
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

NAME = "oracles.invalid"  # no name server knows it (RFC 2606)
RATE_PER_S = 100.0
BEFORE_S = 1.0
# Names are asked every 5 s; TTL and 5 s are allowed, and the lowest TTL is taken to be 5 s.
MOVED_WITHIN_S = 10.0
MOVES_S = float(sized(8, 10))
# Long enough for a name to be asked again, whatever it was asked last.
UNRESOLVED_S = float(sized(9, 30))
# Longer than the gateway waits for an answer.
SLOW_S = 8.0


def test_traffic_follows_a_name_and_goes_on_when_it_cannot_be_resolved(tmp_path: Path, figure: Figure) -> None:
    attempts, executions, names = tmp_path / "attempts.jsonl", tmp_path / "executions.jsonl", tmp_path / "names.json"
    tell(names, Names({NAME: ["127.0.0.1"]}))
    callers = callers_of()
    command = (sys.executable, "-m", "tests.faults.named_gateway", str(names))
    with light_pods(2, executions, hosts=("127.0.0.1", "127.0.0.2")) as pods, Ledger(attempts) as ledger:
        where = f'dns: "{NAME}:{pods[0].listening.getsockname()[1]}"'
        with running_gateway(tmp_path, where, callers=callers, command=command) as gateway:
            options = Options(mix=Mix(keyed=0.0), max_attempts=1)
            client = LedgerClient("named", gateway.url, PATH, ledger, callers, 1, options)
            changed_s = uvloop.run(_while_names_change(client, names))
    evidence = gateway.evidence(attempts=attempts, executions=executions)
    first, second = ([run for run in evidence.executions if run.pod == f"light-{index}"] for index in range(2))
    moved_s = _last_s(first) - changed_s
    figure("F58 a name stands for another address", f"all traffic moved after {moved_s:.1f} s")
    assert check(evidence) == {}
    assert [end.why for end in evidence.ends if end.told is None] == []
    assert moved_s <= MOVED_WITHIN_S
    assert _last_s(second) > changed_s + MOVES_S
    assert "cannot be resolved" in str(gateway)


async def _while_names_change(client: LedgerClient, names: Path) -> float:
    """Return when the name got its other address."""
    load = asyncio.create_task(client.open_loop(RATE_PER_S, 300.0))
    await asyncio.sleep(BEFORE_S)
    tell(names, Names({NAME: ["127.0.0.2"]}))
    changed_s = time.monotonic()
    await asyncio.sleep(MOVES_S)
    tell(names, Names({NAME: []}))
    await asyncio.sleep(UNRESOLVED_S)
    if IS_FULL:
        tell(names, Names({NAME: ["127.0.0.2"]}, wait_s=SLOW_S))
        await asyncio.sleep(2 * SLOW_S)
    client.stop()
    await load
    return changed_s


def _last_s(runs: Sequence[Execution]) -> float:
    return max(run.at_s for run in runs)
