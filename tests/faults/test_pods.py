"""F25 and F60 with pods of our own: their servers, inference processes and sidecars die while requests come in.

The mesh is the demo's, with the oracle in the place of its model.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import uvloop

from gateway.decisions.folder import FOLDER
from tests.faults.checker import Evidence, check, keyed_requests_succeed
from tests.faults.gateway import known_reasons
from tests.faults.ledger_client import LedgerClient, Options
from tests.faults.ledgers import Death, Ledger, Outcome, read_audited, read_executions, read_sent
from tests.faults.oracle.archive import oracle_archive
from tests.faults.requests import Caller, Mix
from tests.faults.sizes import sized
from tests.system.conftest import Figure
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.processes import kill_now, stopped

pytestmark = [pytest.mark.system, pytest.mark.timeout(1200)]

PODS = 2
RATE_PER_S = 100.0
# Who dies soon after its start is started again ever later, so that many deaths in a row take long.
KILLS = {"pod": sized(1, 25), "inference": sized(1, 8)}
BACK_WITHIN_S = 120.0
# What waited for the one that came back is answered by then.
CALM_S = 0.5
SERVER, INFERENCE = "penstock pod digits/1 server", "penstock pod digits/1 inference"
SIDECAR = r"penstock sidecar.*"
# Long enough that a kill meets requests that run.
BATCH_S = 0.01
AWAY_S = 3.0
_ROUTE = f"""\
kind: route/v1
model: digits
owner: demo-team
slo: [digits-availability, digits-latency]
versions:
  "1": {{pods: {{launch: {{archive: oracle.mar, count: {PODS}, device: cpu}}}}}}
batching: {{max_rows: 4, max_wait: 2ms}}
stable: "1"
"""


@pytest.fixture(scope="module")
def executions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ledger of all pods."""
    return tmp_path_factory.mktemp("executions") / "executions.jsonl"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, executions: Path) -> Iterator[MeshUnderTest]:
    home = tmp_path_factory.mktemp("oracle")
    store = home / "models"
    store.mkdir()
    (store / "oracle.mar").write_bytes(oracle_archive(executions, delay_s=BATCH_S))
    with running_mesh(home, store, policies={"routes/digits.yaml": _ROUTE}) as running:
        eventually(lambda: _ready_pods(running) == PODS, "every pod is ready")
        yield running


def _ready_pods(mesh: MeshUnderTest) -> int:
    return sum(pod["state"] == "ready" for pod in mesh.admin("pods")["pods"])


def _killer(mesh: MeshUnderTest, title: str, kind: str, deaths: list[Death]) -> Callable[[], None]:
    """Return what kills one such process after the other, each once the pods are whole again."""
    draws = random.Random(title)

    def kill_all() -> None:
        for _ in range(KILLS[kind]):
            pid = draws.choice(mesh.pids(title))
            killed = kill_now([pid])
            deaths.append(Death(kind, pid, killed.at_s, killed.gone_s))
            mesh.said.line("is ready again", after_s=killed.at_s, within_s=BACK_WITHIN_S)
            eventually(lambda: _ready_pods(mesh) == PODS, "every pod is ready again")
            time.sleep(CALM_S)

    return kill_all


def _through(mesh: MeshUnderTest, name: str, ledger: Ledger, harm: Callable[[], None]) -> None:
    """Send requests while harm is done, and a little longer on either side."""
    caller = Caller("demo", mesh.key)
    client = LedgerClient(name, mesh.inference, "/predictions/digits", ledger, [caller], 1, Options(mix=Mix()))

    async def run() -> None:
        load = asyncio.create_task(client.open_loop(RATE_PER_S, 900.0))
        try:
            await asyncio.sleep(1.0)
            await asyncio.to_thread(harm)
            await asyncio.sleep(1.0)
        finally:
            client.stop()
        await load

    uvloop.run(run())


def _evidence(attempts: Path, executions: Path, deaths: Sequence[Death]) -> Evidence:
    sent, ends = read_sent(attempts)
    payloads = {attempt.payload_sha256 for attempt in sent}
    ran = [run for run in read_executions(executions) if run.payload_sha256 in payloads]
    return Evidence(sent, ends, ran, None, known_reasons(), range(1, 1000), deaths=deaths)


@pytest.mark.parametrize(
    ("title", "kind", "reason"),
    [(SERVER, "pod", "pod_lost"), (INFERENCE, "inference", "inference_lost")],
    ids=["server", "inference"],
)
def test_a_pod_that_dies_costs_at_most_what_it_had(
    title: str, kind: str, reason: str, mesh: MeshUnderTest, executions: Path, tmp_path: Path, figure: Figure
) -> None:
    attempts, deaths = tmp_path / "attempts.jsonl", list[Death]()
    with Ledger(attempts) as ledger:
        _through(mesh, kind, ledger, _killer(mesh, title, kind, deaths))
    evidence = _evidence(attempts, executions, deaths)
    figure(f"F25 {KILLS[kind]} times kill -9 of a pod's {title.rpartition(' ')[2]}", _told(evidence))
    assert len(deaths) == KILLS[kind]
    assert check(evidence) == {}
    refused = {end.reason for end in evidence.ends if end.outcome is Outcome.WHOLE and end.status >= 400}
    assert refused <= {reason}
    if kind == "pod":  # what an inference process had is answered for good: its key says the same ever after
        assert keyed_requests_succeed(evidence) == []


def test_sidecars_that_hang_or_die_cost_no_request(
    mesh: MeshUnderTest, executions: Path, tmp_path: Path, figure: Figure
) -> None:
    attempts = tmp_path / "attempts.jsonl"

    def hang_then_die() -> None:
        sidecars = mesh.pids(SIDECAR)
        assert sidecars
        with stopped(sidecars):
            time.sleep(AWAY_S)
        kill_now(mesh.pids(SIDECAR))
        eventually(lambda: len(mesh.pids(SIDECAR)) >= len(sidecars), "the sidecars are started again")

    with Ledger(attempts) as ledger:
        _through(mesh, "sidecar", ledger, hang_then_die)
    evidence = _evidence(attempts, executions, ())
    figure("F60 sidecars stopped for 3 s, then killed", _told(evidence))
    assert check(evidence) == {}
    assert all(end.told is not None for end in evidence.ends)
    assert "penstock_telemetry_dropped_total" in _metrics(mesh)


def _metrics(mesh: MeshUnderTest) -> str:
    return mesh.api.get(f"{mesh.published().metrics}/metrics").raise_for_status().text


def test_the_gateways_records_agree_with_what_clients_saw(
    mesh: MeshUnderTest, executions: Path, tmp_path: Path
) -> None:
    attempts = tmp_path / "attempts.jsonl"
    with Ledger(attempts) as ledger:
        _through(mesh, "records", ledger, lambda: None)
    evidence = _evidence(attempts, executions, ())
    answered = {end.request_id for end in evidence.ends}
    folder = next(mesh.state.rglob(FOLDER))

    def are_written() -> bool:
        return answered <= {record.request_id for record in read_audited(folder)[0]}

    eventually(are_written, "every request is on record")
    audited = [record for record in read_audited(folder)[0] if record.request_id in answered]
    assert check(Evidence(
        evidence.attempts, evidence.ends, evidence.executions, audited, evidence.reasons, evidence.generations
    )) == {}  # fmt: skip


def _told(evidence: Evidence) -> str:
    outcomes = Counter(end.outcome for end in evidence.ends)
    refused = Counter(end.reason for end in evidence.ends if end.outcome is Outcome.WHOLE and end.status >= 400)
    said = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items())) or "0"
    counts = ", ".join(f"{outcome} {outcomes[outcome]}" for outcome in Outcome)
    return f"{len(evidence.attempts)} attempts, {counts}, refused {said}"
