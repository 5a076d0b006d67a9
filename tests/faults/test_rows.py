"""Each fault while requests come in: what clients saw, pods ran and the gateway recorded agrees, and it recovers."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvloop

from tests.faults.chaos_proxy import Toxics
from tests.faults.checker import (
    Evidence,
    Violations,
    check,
    health_tells_the_truth,
    keyed_requests_succeed,
    no_secret_is_shown,
    nothing_leaks,
    recovers_in_time,
)
from tests.faults.gateway import PATH, footprint_of
from tests.faults.health import watched
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import End, Ledger, Outcome
from tests.faults.requests import Mix
from tests.faults.scene import (
    Fault,
    Scene,
    a_pod_killed,
    a_pod_out_of_reach,
    a_pod_with,
    a_worker_killed,
    a_worker_stopped,
    a_worker_stopped_for_a_while,
    every_pod_refusing,
    every_worker_killed,
    every_worker_restarted,
    scene,
)
from tests.faults.sizes import sized
from tests.system.conftest import Figure
from tests.system.mesh import eventually, files_below

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

RATE_PER_S = 200.0
BEFORE_S = 1.0
AFTER_S = 1.0


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the matrix.

    Attributes:
        lasts_s: how long it is left as it is before it is healed.
        refusals: the only reasons that requests may be refused with meanwhile.
        recovers_within_s: from its healing on.
    """

    id: str
    name: str
    fault: Fault
    lasts_s: float = 1.0
    refusals: frozenset[str] = frozenset()
    recovers_within_s: float = 1.0

    @property
    def slug(self) -> str:
        """What tests and clients call it."""
        return f"{self.id}-{self.name.replace(' ', '-')}"


ROWS = [
    Row("F01", "a worker killed", a_worker_killed),
    Row("F02", "every worker killed", every_worker_killed),
    Row("F05", "every worker restarted", every_worker_restarted),
    Row("F06", "a worker stopped", a_worker_stopped, lasts_s=0.0),
    Row("F07", "a worker stopped for a while", a_worker_stopped_for_a_while, lasts_s=2.0),
    Row("F25", "a pod killed", a_pod_killed, refusals=frozenset({"pod_lost"})),
    # Where a key's pod cannot be reached, its request is sent nowhere else; its client asks again.
    Row("F25", "a pod out of reach", a_pod_out_of_reach, refusals=frozenset({"pod_lost", "no_pod_ready"})),
    Row("F31", "a pod slow", a_pod_with(Toxics(latency_s=0.3, jitter_s=0.1))),
    Row("F31", "a pod in slices", a_pod_with(Toxics(slice_bytes=40, slice_pause_s=0.01))),
    Row("F11", "every pod refusing", every_pod_refusing, refusals=frozenset({"queue_full"}), recovers_within_s=2.0),
]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One scene for all rows: each leaves it as it was."""
    with scene(tmp_path_factory.mktemp("rows")) as running:
        with a_worker_killed(running):  # what is made on first use is there when its footprint is taken
            running.gateway.metrics()
        eventually(running.gateway.has_spare, "all are there that cost the supervisor descriptors")
        running.supervisor_before = footprint_of(running.gateway.supervisor_pid)
        yield running


async def _through(row: Row, stage: Scene, ledger: Ledger, seed: int) -> float:
    """Send requests and ask for health before, during and after the fault; return when it was healed."""
    options = Options(mix=Mix(streamed=0.02))
    client = LedgerClient(row.slug, stage.gateway.url, PATH, ledger, stage.callers, seed, options)
    load = asyncio.create_task(client.open_loop(RATE_PER_S, 300.0))
    try:
        await asyncio.sleep(BEFORE_S)
        healed_s = await asyncio.to_thread(_do, row, stage)
        await asyncio.sleep(row.recovers_within_s + AFTER_S)
    finally:
        client.stop()
    await load
    return healed_s


def _do(row: Row, stage: Scene) -> float:
    with row.fault(stage):
        time.sleep(row.lasts_s)
    return time.monotonic()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_a_fault_loses_doubles_and_hangs_nothing(row: Row, stage: Scene, tmp_path: Path, figure: Figure) -> None:
    for seed in range(sized(1, 20)):
        path = tmp_path / f"{seed}.jsonl"
        began_s = time.monotonic()
        with Ledger(path) as ledger, watched(stage.gateway.url) as health:
            healed_s = uvloop.run(_through(row, stage, ledger, seed))
        evidence = _of_row(stage, path, began_s)
        ends = evidence.ends
        figure(f"{row.id} {row.name}", _told(ends))
        assert check(evidence) == {}
        assert keyed_requests_succeed(evidence) == []
        refused = [end for end in ends if end.outcome is Outcome.WHOLE and end.status >= 400]
        assert [(end.reason, end.why) for end in refused if end.reason not in row.refusals] == []
        assert recovers_in_time(ends, healed_s=healed_s, within_s=row.recovers_within_s) == []
        # In no row is all of it gone: siblings serve, or new connections wait for the next worker.
        assert health_tells_the_truth(health.samples, (), notices_within_s=0.0) == []


def _of_row(stage: Scene, attempts: Path, began_s: float) -> Evidence:
    """Return what belongs to one row; its records are not looked at, for those of the last second are not written."""
    whole = stage.gateway.evidence(attempts=attempts, executions=stage.executions, deaths=stage.deaths)
    ran = [execution for execution in whole.executions if execution.at_s >= began_s]
    deaths = [death for death in whole.deaths if death.gone_s >= began_s]
    return replace(whole, executions=ran, deaths=deaths, audited=None)


def _told(ends: Sequence[End]) -> str:
    outcomes = Counter(end.outcome for end in ends)
    refused = Counter(end.reason for end in ends if end.outcome is Outcome.WHOLE and end.status >= 400)
    said = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items())) or "0"
    counts = ", ".join(f"{outcome} {outcomes[outcome]}" for outcome in Outcome)
    return f"{len(ends)} attempts, {counts}, refused {said}"


def test_after_all_rows_nothing_has_leaked_and_no_key_was_shown(stage: Scene) -> None:
    supervisor = stage.gateway.supervisor_pid

    def leaks() -> Violations:
        return nothing_leaks({"supervisor": stage.supervisor_before}, {"supervisor": footprint_of(supervisor)})

    with suppress(AssertionError):  # what is left says more
        eventually(lambda: not leaks(), "the supervisor is as it was", within_s=60.0)
    assert leaks() == []
    outputs = {str(path): content for path, content in files_below(stage.gateway.state).items()}
    outputs |= {"log": stage.gateway.said.read_bytes(), "metrics": stage.gateway.metrics().encode()}
    assert no_secret_is_shown(outputs, [caller.key for caller in stage.callers]) == []
