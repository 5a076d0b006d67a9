"""Kill -9 of each kind of process under load: nothing is answered wrongly or twice, no queued connection is lost."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import uvloop

from gateway.errors import REASONS
from tests.fakes.ledger import Ledger, judge, read_entries
from tests.fakes.load import LoadOptions, open_loop
from tests.fakes.records import Outcome, Record, summarize
from tests.system.conftest import Figure
from tests.system.digits import Digit, known_digits, traffic
from tests.system.mesh import MeshUnderTest, running_mesh
from tests.system.processes import Killed, kill_now

pytestmark = [pytest.mark.system, pytest.mark.alone, pytest.mark.timeout(900)]

# Two loads at a time, one on kept connections and one with a connection per request: 200 requests a second.
RATE_PER_S = 100.0
KILL_AFTER_S = 1.5
LOAD_S = 6.0
# Once it is healed, everything must be as before the fault.
AFTERWARDS_S = 1.5
# A peer reads of a connection's end when its loop comes to it; what it writes before that is lost with the process.
# While the victim's successor starts, a loop may wait long for a processor.
UNNOTICED_S = 1.0
SLOW_S = 0.1
# With 200 requests a second and no pod, its queue is full after 5 s, what waits in it has waited too long, and the
# gateway has as many with the pod as it may, and then as many that wait.
OF_THE_QUEUE = frozenset({"queue_full", "waited_too_long", "pods_busy"})
KEPT = LoadOptions(keeps_headers=True)
FRESH = replace(KEPT, is_connection_per_request=True)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault.

    Attributes:
        victims: the processes to kill.
        refusals: the only reasons that a request in flight may be refused with. (Where a restart takes long on a
            swamped machine, those that wait for it are refused as well: see `OF_THE_QUEUE`.)
        loses_in_flight: whether what a victim was answering may end without an answer.
        healed: the line that says that it is as before; its number, if it has one, is the time in milliseconds.
    """

    name: str
    victims: Callable[[MeshUnderTest], Sequence[int]]
    refusals: frozenset[str]
    loses_in_flight: bool
    healed: str


def _one_worker(mesh: MeshUnderTest) -> list[int]:
    workers: list[dict[str, int]] = mesh.admin("status")["workers"]
    return [workers[0]["pid"]]


def _every_worker(mesh: MeshUnderTest) -> list[int]:
    # The spare that stands by goes with them.
    return mesh.pids(r"penstock gateway worker \d+")


def _pod_server(mesh: MeshUnderTest) -> list[int]:
    return mesh.pids("penstock pod digits/1 server")


def _inference_process(mesh: MeshUnderTest) -> list[int]:
    return mesh.pids("penstock pod digits/1 inference")


_REPLACED = r"replaced in (\d+) ms"
_READY_AGAIN = "pod digits/1/0 is ready again"
FAULTS = [
    Fault("a gateway worker", _one_worker, frozenset(), loses_in_flight=True, healed=_REPLACED),
    Fault("all gateway workers", _every_worker, frozenset(), loses_in_flight=True, healed=_REPLACED),
    Fault("the pod's server", _pod_server, frozenset({"pod_lost"}), loses_in_flight=False, healed=_READY_AGAIN),
    Fault(
        "the inference process",
        _inference_process,
        frozenset({"inference_lost"}),
        loses_in_flight=False,
        healed=_READY_AGAIN,
    ),
]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("faults"), model_store) as running:
        yield running


@pytest.fixture(scope="module")
def digits(mesh: MeshUnderTest) -> list[Digit]:
    return known_digits(mesh)


@dataclass(frozen=True, slots=True)
class Run:
    """What became of the requests on kept connections, and of those with a connection each."""

    killed: Killed
    kept: list[Record]
    fresh: list[Record]

    @property
    def all(self) -> list[Record]:
        """Every request."""
        return [*self.kept, *self.fresh]


@dataclass(frozen=True, slots=True)
class Load:
    """Requests with digits, on kept connections and on one each, written down in a ledger."""

    mesh: MeshUnderTest
    digits: Sequence[Digit]
    ledger: Path

    async def through(self, victims: Sequence[int]) -> Run:
        """Load the mesh, and kill the victims meanwhile."""
        with Ledger(self.ledger, "kept") as kept, Ledger(self.ledger, "fresh") as fresh:
            on_kept, on_fresh, killed = await asyncio.gather(
                self.run(LOAD_S, KEPT, kept), self.run(LOAD_S, FRESH, fresh), self._kill(victims)
            )
        return Run(killed, on_kept, on_fresh)

    async def run(self, duration_s: float, options: LoadOptions, watch: Ledger | None = None) -> list[Record]:
        """Send half of the load."""
        make_request, check = traffic(self.mesh, self.digits)
        return await open_loop(
            self.mesh.inference,
            rate_per_s=RATE_PER_S,
            duration_s=duration_s,
            make_request=make_request,
            check=check,
            options=options,
            watch=watch,
        )

    async def _kill(self, victims: Sequence[int]) -> Killed:
        await asyncio.sleep(KILL_AFTER_S)
        return await asyncio.to_thread(kill_now, victims)

    async def afterwards(self) -> list[Record]:
        """Load the healed mesh."""
        halves = await asyncio.gather(self.run(AFTERWARDS_S, KEPT), self.run(AFTERWARDS_S, FRESH))
        return [record for half in halves for record in half]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name.replace(" ", "-"))
def test_a_killed_process_costs_at_most_what_it_was_answering(
    fault: Fault, mesh: MeshUnderTest, digits: list[Digit], tmp_path: Path, figure: Figure
) -> None:
    load = Load(mesh, digits, tmp_path / "ledger.jsonl")
    run = uvloop.run(load.through(fault.victims(mesh)))
    healed_ms = _healed_ms(mesh, fault, run.killed)
    afterwards = uvloop.run(load.afterwards())
    _tell(figure, fault, run, healed_ms)

    verdict = judge(read_entries(load.ledger), reasons=REASONS)
    assert verdict.is_clean, verdict
    assert (verdict.attempts, verdict.unfinished) == (2 * RATE_PER_S * LOAD_S, 0)

    failed = [record for record in run.all if not record.is_right and _reason(record) not in OF_THE_QUEUE]
    assert [record for record in failed if record.outcome is Outcome.NOT_CONNECTED] == []
    assert {_reason(record) for record in failed if record.outcome is Outcome.WHOLE} <= fault.refusals
    assert fault.loses_in_flight or all(record.outcome is Outcome.WHOLE for record in failed)
    assert [record for record in failed if not _was_in_flight(record, run.killed)] == []
    assert all(record.is_right for record in afterwards), summarize(afterwards)


def _was_in_flight(record: Record, killed: Killed) -> bool:
    """Whether a process that is gone may have had this request in its hands."""
    if record.outcome is Outcome.WHOLE or record.connection_use:
        return record.intended_s <= killed.gone_s + UNNOTICED_S
    # A connection of its own that was made after the end waits in the kernel's queue, and must not be lost.
    return record.intended_s <= killed.gone_s


def _healed_ms(mesh: MeshUnderTest, fault: Fault, killed: Killed) -> float:
    """Return how long the replacement took: as the mesh says, or until it said that all is well."""
    line = mesh.said.line(fault.healed, after_s=killed.at_s)
    if fault.healed != _REPLACED:
        return (line.at_s - killed.at_s) * 1000
    told = (re.search(_REPLACED, text) for text in mesh.said.since(killed.at_s, _REPLACED))
    return max(float(match[1]) for match in told if match)


def _tell(figure: Figure, fault: Fault, run: Run, healed_ms: float) -> None:
    summary = summarize(run.all)
    refused = Counter(_reason(record) for record in run.all if record.status >= 400)
    lost = sum(record.outcome in (Outcome.LOST, Outcome.TRUNCATED) for record in run.all)
    troubled = [r.intended_s for r in run.all if not r.is_right or r.latency_s > SLOW_S]
    clean_s = max(0.0, max(troubled, default=run.killed.at_s) - run.killed.at_s)
    said = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items())) or "0"
    figure(
        f"kill -9 of {fault.name}",
        f"{summary.count} requests, {summary.right} right, {summary.wrong} wrong, refused {said}, "
        f"lost in flight {lost}, p99 {summary.p99_s * 1e3:.0f} ms, clean after {clean_s * 1e3:.0f} ms, "
        f"replaced in {healed_ms:.0f} ms",
    )


def _reason(record: Record) -> str:
    return record.headers.get(b"penstock-reason", b"").decode()


def test_the_mesh_is_whole_after_all_faults(mesh: MeshUnderTest) -> None:
    status = mesh.admin("status")
    assert status["readiness"]["is_ready"]
    assert [worker["is_accepting"] for worker in status["workers"]] == [True, True]
    assert [pod["state"] for pod in status["pods"]] == ["ready"]
