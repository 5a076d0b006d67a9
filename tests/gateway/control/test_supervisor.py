"""A whole supervisor in this process, with true files and sockets and scripted workers, ended by its lifeline."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from gateway.control.audit.inspection import inspect, places_of
from gateway.control.config import SupervisorConfig
from gateway.control.desired_pods import DesiredPods
from gateway.control.ledger.sqlite_ledger import FILE_NAME as LEDGER
from gateway.control.policy_keeper import NoPolicy
from gateway.control.runtime_file import RunningMesh, publish
from gateway.control.slo_keeper import SloKeeper
from gateway.control.supervisor import supervise
from policies.snapshot.generation import Snapshot
from policies.snapshot.slos import Objective
from tests.demo_policies import lay_out_digits
from tests.fakes.told import Told
from tests.fakes.worker import THIRST
from tests.gateway.control.test_workers import FAKE

LOCAL_KEY = "5" * 64
OPENMETRICS = "application/openmetrics-text"
SOON_S = 20.0


class Mesh:
    """A running supervisor, as its surroundings see it."""

    def __init__(self, root: Path) -> None:
        self.told = Told()
        self.policies = root / "policies"
        self.state = root / "s"
        self.runtime_file = root / "run" / "mesh.json"
        lay_out_digits(self.policies)

    def rewrite(self, file: str, old: str, new: str) -> None:
        """Edit a policy file the way an editor does."""
        path = self.policies / file
        text = path.read_text()
        assert old in text
        path.with_suffix(".tmp~").write_text(text.replace(old, new))
        path.with_suffix(".tmp~").rename(path)

    def running(self) -> RunningMesh:
        """Return what commands find."""
        return msgspec.json.decode((self.state / "mesh.json").read_bytes(), type=RunningMesh)

    def desired(self) -> DesiredPods:
        """Return what should run."""
        return msgspec.json.decode((self.state / "desired-pods.json").read_bytes(), type=DesiredPods)

    async def admin(self, path: str) -> httpx.Response:
        """Ask the management API."""
        running = self.running()
        async with httpx.AsyncClient(base_url=running.management, trust_env=False) as client:
            return await client.get(path, headers={"authorization": f"Bearer {running.token}"})

    async def serve(self, story: Callable[[Mesh], Coroutine[None, None, None]], within_s: float | None = 60.0) -> None:
        """Run a supervisor, play the story once it accepts, and cut its lifeline."""
        reads, writes = os.pipe()
        config = SupervisorConfig(
            policies=self.policies,
            state=self.state,
            workers=1,
            runtime_file=self.runtime_file,
            local_key_sha256=LOCAL_KEY,
            lifeline_fd=reads,
            worker_program=FAKE,
        )
        self.told = Told()
        try:
            async with asyncio.timeout(within_s), asyncio.TaskGroup() as tasks:
                supervisor = tasks.create_task(supervise(config, self.told))
                try:
                    accepts = tasks.create_task(self.told.line("accepts requests"))
                    await asyncio.wait([accepts, supervisor], return_when=asyncio.FIRST_COMPLETED)
                    if accepts.done():
                        await story(self)
                    accepts.cancel()
                finally:
                    os.close(writes)
        finally:
            os.close(reads)


@pytest.fixture
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    interrupt = signal.getsignal(signal.SIGINT)  # ignored by a supervisor with a lifeline
    yield Mesh(tmp_path_factory.mktemp("m"))  # a short path, for the sockets in it
    signal.signal(signal.SIGINT, interrupt)


async def nothing(_: Mesh) -> None:
    return None


def test_it_publishes_where_it_is_serves_and_leaves_nothing_that_says_it_runs(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        status = (await mesh.admin("/admin/status")).json()
        assert status["generation"] == 1
        assert status["addresses"]["inference"] == [mesh.running().inference.removeprefix("http://")]
        assert status["readiness"]["is_ready"] is False
        assert status["ended_workers"] == {"requests": 0, "by_reason": {}}
        assert [pod.name for pod in mesh.desired().pods] == ["digits/1/0"]
        assert mesh.runtime_file.read_bytes() == (mesh.state / "mesh.json").read_bytes()

    asyncio.run(mesh.serve(story))
    assert mesh.told.lines[-2:] == ["draining: the parent process is gone", "drained"]
    assert not mesh.runtime_file.exists()
    assert not (mesh.state / "mesh.json").exists()


def test_workers_that_drain_get_more_of_a_quota_and_all_their_use_is_told(mesh: Mesh) -> None:
    mesh.rewrite("mesh.yaml", "name: demo", "name: thirsty")
    asyncio.run(mesh.serve(nothing))
    assert not any("did not finish" in line for line in mesh.told.lines)
    ledger = sqlite3.connect(mesh.state / LEDGER)
    assert ledger.execute("SELECT sum(used) FROM slot").fetchone() == (THIRST,)
    ledger.close()


def test_the_file_of_a_mesh_that_runs_already_is_left_to_it(mesh: Mesh) -> None:
    first = RunningMesh(os.getppid(), "", "http://127.0.0.1:1", "its-token", "/its/state", "then")
    publish(mesh.runtime_file, first)

    async def story(mesh: Mesh) -> None:
        assert mesh.running().state_dir == str(mesh.state)

    asyncio.run(mesh.serve(story))
    assert msgspec.json.decode(mesh.runtime_file.read_bytes(), type=RunningMesh) == first
    assert f"need `--state {mesh.state}`" in mesh.told.lines[0]


def test_a_good_edit_is_in_force_a_bad_one_is_told_and_changes_nothing(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        mesh.rewrite("limits.yaml", "60000/s", "5/s")
        assert "tenant demo: rate 60000/s -> 5/s" in await mesh.told.line("generation 2 in force")
        mesh.rewrite("limits.yaml", "5/s", "5")
        assert "limits.yaml:" in await mesh.told.line("policy refused")
        policy = (await mesh.admin("/admin/policy")).json()
        assert (policy["generation"], policy["errors"][0]["file"]) == (2, "limits.yaml")
        mesh.rewrite("limits.yaml", "rate: 5\n", "rate: 5/s\n")
        await mesh.told.line("good again")
        policy = (await mesh.admin("/admin/policy")).json()
        assert (policy["generation"], policy["errors"], policy["refused_at"]) == (2, [], None)

    asyncio.run(mesh.serve(story))


def test_starts_stops_and_what_became_of_the_files_are_in_an_audit_log_that_verifies(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        mesh.rewrite("limits.yaml", "rate: 60000/s", "rate: 5/s")
        await mesh.told.line("generation 2 in force")
        mesh.rewrite("limits.yaml", "rate: 5/s", "rate: 5")
        await mesh.told.line("policy refused")
        newest = (await mesh.admin("/admin/audit?limit=2")).json()["records"]
        assert [(record["actor"], record["action"]) for record in newest] == [
            ("files", "policy.refused"),
            ("files", "policy.in_force"),
        ]
        assert (newest[1]["from_generation"], newest[1]["to_generation"]) == (1, 2)
        assert "tenant demo: rate 60000/s -> 5/s" in newest[1]["detail"]["changes"]

    asyncio.run(mesh.serve(story))
    asyncio.run(mesh.serve(nothing))
    lines = (mesh.state / "audit" / "audit.jsonl").read_bytes().splitlines()
    actions = [msgspec.json.decode(line)["action"] for line in lines]
    once = ["gateway.stopped", "audit.checkpoint"]
    changed = ["policy.switch", "policy.in_force"]
    first = ["gateway.started", "policy.in_force", *changed, "policy.refused", *once]
    assert actions == [*first, "gateway.started", "policy.refused", "policy.recalled", *once]
    assert inspect(places_of(mesh.state / "audit")).fault is None


def test_a_generation_whose_limits_find_no_room_is_refused(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(mesh: Mesh) -> None:
        monkeypatch.setattr("gateway.control.limit_rows.MAX_ROWS", 4)
        mesh.rewrite("tenants/demo.yaml", "name: device-day", "name: devices-a-day")
        assert "more rows of the limit table" in await mesh.told.line("policy refused")
        assert (await mesh.admin("/admin/status")).json()["generation"] == 1

    asyncio.run(mesh.serve(story))


def test_a_generation_that_workers_refuse_is_told_and_changes_nothing(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        mesh.rewrite("mesh.yaml", "name: demo", "name: refuse")
        assert "not to my taste" in await mesh.told.line("policy refused")
        mesh.rewrite("mesh.yaml", "name: refuse", "name: other")
        await mesh.told.line("generation 3 in force")

    asyncio.run(mesh.serve(story))


def test_a_changed_address_is_said_to_wait_for_the_next_start(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        before = mesh.running().inference
        mesh.rewrite("mesh.yaml", "127.0.0.1:0", "127.0.0.2:0")
        await mesh.told.line("take effect at the next start")
        assert mesh.running().inference == before

    asyncio.run(mesh.serve(story))


def test_a_new_version_is_desired_once_its_generation_is_in_force(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        mesh.rewrite("routes/digits.yaml", "count: 1", "count: 2")
        await mesh.told.line("generation 2 in force")
        assert (await mesh.admin("/admin/pods")).json()["generation"] == 2
        assert (mesh.desired().generation, len(mesh.desired().pods)) == (2, 2)

    asyncio.run(mesh.serve(story))


def test_a_start_with_refused_files_uses_the_last_good_policy_loudly(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        policy = (await mesh.admin("/admin/policy")).json()
        assert (policy["generation"], policy["from_last_good"]) == (1, True)
        assert policy["errors"]

    asyncio.run(mesh.serve(nothing))
    mesh.rewrite("limits.yaml", "60000/s", "60000")
    asyncio.run(mesh.serve(story))
    assert any("THE POLICY DIRECTORY IS REFUSED" in line for line in mesh.told.lines)


def test_a_first_start_with_refused_files_says_the_errors_and_ends(mesh: Mesh) -> None:
    mesh.rewrite("limits.yaml", "60000/s", "60000")
    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(mesh.serve(nothing))
    assert raised.group_contains(NoPolicy, match="no earlier policy")
    assert "limits.yaml:" in mesh.told.lines[0]


def test_generations_and_the_token_go_on_over_restarts(mesh: Mesh) -> None:
    async def edit(mesh: Mesh) -> None:
        mesh.rewrite("limits.yaml", "60000/s", "5/s")
        await mesh.told.line("generation 2 in force: ")

    async def look(mesh: Mesh) -> None:
        assert (await mesh.admin("/admin/policy")).json()["generation"] == 2

    asyncio.run(mesh.serve(edit))
    token = (mesh.state / "admin-token").read_bytes()
    asyncio.run(mesh.serve(look))
    assert (mesh.state / "admin-token").read_bytes() == token
    assert LOCAL_KEY.encode() not in (mesh.state / "last-good-policy.msgpack").read_bytes()


async def until(mesh: Mesh, path: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask the management API until its answer is as expected."""
    async with asyncio.timeout(SOON_S):
        while True:  # what a worker told is on its way
            answer: dict[str, Any] = (await mesh.admin(path)).json()
            if holds(answer):
                return answer


async def send_requests(mesh: Mesh, count: int) -> None:
    """Connect to the scripted worker, which tallies each connection as a request."""
    for _ in range(count):
        reader, writer = await asyncio.open_connection("127.0.0.1", int(mesh.running().inference.rpartition(":")[2]))
        await reader.read()
        writer.close()
        await writer.wait_closed()


def bad_events(report: dict[str, Any]) -> int:
    """Return how many requests were bad for the objective of availability."""
    return int(next(slo["bad"] for slo in report["slos"] if slo["name"] == "digits-availability"))


def test_what_workers_tally_is_counted_shown_and_kept_over_a_restart(mesh: Mesh) -> None:
    async def break_it(mesh: Mesh) -> None:
        await send_requests(mesh, 5)
        await until(mesh, "/admin/slo", lambda report: bad_events(report) == 5)

    async def look(mesh: Mesh) -> None:
        report = (await mesh.admin("/admin/slo")).json()
        slo = next(slo for slo in report["slos"] if slo["name"] == "digits-availability")
        assert (slo["good"], slo["bad"], slo["remaining_ratio"]) == (0, 5, pytest.approx(-199.0))
        await send_requests(mesh, 1)
        await until(mesh, "/admin/slo", lambda report: bad_events(report) == 6)
        history = (await mesh.admin("/admin/slo/history?slo=digits-availability&model=digits")).json()
        assert sum(point["bad"] for point in history["points"]) == 6

    mesh.rewrite("mesh.yaml", "name: demo", "name: broken")
    asyncio.run(mesh.serve(break_it))
    asyncio.run(mesh.serve(look))


def test_prometheus_reads_the_mesh_in_both_of_its_formats(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        await send_requests(mesh, 3)
        await until(mesh, "/admin/slo", lambda report: any(slo["good"] == 3 for slo in report["slos"]))
        plain = {sample.name: sample for family in parse_text(await scrape(mesh, "")) for sample in family.samples}
        assert plain["penstock_generation"].value == 1
        assert plain["Requests2XX"].value == 3
        openmetrics = parse_openmetrics(await scrape(mesh, OPENMETRICS))  # type: ignore[no-untyped-call]  # theirs
        samples = [sample for family in openmetrics for sample in family.samples]
        requests = {"model": "digits", "version": "1", "tenant": "demo", "code_class": "2xx", "reason": ""}
        assert [s.value for s in samples if s.name == "penstock_requests_total" and s.labels == requests] == [3]
        assert any(s.exemplar is not None and s.exemplar.labels == {"trace_id": "a" * 32} for s in samples)
        lost = {"what": "records", "why": "ring_full"}
        assert [s.value for s in samples if s.name == "penstock_telemetry_dropped_total" and s.labels == lost] == [3]

    asyncio.run(mesh.serve(story))


async def scrape(mesh: Mesh, accept: str) -> str:
    """Read the metrics as Prometheus does."""
    async with httpx.AsyncClient(base_url=mesh.running().metrics, trust_env=False) as client:
        answer = await client.get("/metrics", headers={"accept": accept})
    assert answer.status_code == 200
    return answer.text


def test_pods_sidecars_find_the_objectives_of_the_generation_in_force(mesh: Mesh) -> None:
    def published() -> dict[str, list[Objective]]:
        return msgspec.json.decode((mesh.state / "slos.json").read_bytes(), type=dict[str, list[Objective]])

    async def story(mesh: Mesh) -> None:
        assert {model: len(objectives) for model, objectives in published().items()} == {"digits": 2}
        mesh.rewrite("slos.yaml", "99.5%", "99.6%")
        await mesh.told.line("generation 2 in force: ")
        async with asyncio.timeout(SOON_S):
            while published()["digits"][0].target != 0.996:  # noqa: ASYNC110 - no event tells of a file
                await asyncio.sleep(0)

    asyncio.run(mesh.serve(story))


def test_a_damaged_file_of_budgets_is_told_set_aside_and_costs_nothing_else(mesh: Mesh) -> None:
    asyncio.run(mesh.serve(nothing))
    (mesh.state / "slo.db").write_bytes(b"no database, though as long as the head of one would be. " * 100)
    asyncio.run(mesh.serve(nothing))
    assert any("slo.db is damaged and now lies in slo.db.broken" in line for line in mesh.told.lines)
    assert (mesh.state / "slo.db.broken").read_bytes().startswith(b"no database")


def test_workers_start_beside_the_reading_of_budgets_which_are_added(mesh: Mesh) -> None:
    async def break_it(mesh: Mesh) -> None:
        await send_requests(mesh, 5)
        await until(mesh, "/admin/slo", lambda report: bad_events(report) == 5)

    mesh.rewrite("mesh.yaml", "name: demo", "name: broken")
    asyncio.run(mesh.serve(break_it))
    other = sqlite3.connect(mesh.state / "slo.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    async def look(mesh: Mesh) -> None:
        await send_requests(mesh, 1)
        await until(mesh, "/admin/slo", lambda report: bad_events(report) == 1)
        other.close()
        await until(mesh, "/admin/slo", lambda report: bad_events(report) == 6)

    asyncio.run(mesh.serve(look))


def test_objectives_of_a_new_generation_are_expected_before_workers_go_over_to_it(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, int]] = []
    expect, follow = SloKeeper.expect, SloKeeper.follow

    def expected(keeper: SloKeeper, snapshot: Snapshot) -> None:
        steps.append(("expect", snapshot.generation))
        expect(keeper, snapshot)

    def followed(keeper: SloKeeper, snapshot: Snapshot) -> None:
        steps.append(("follow", snapshot.generation))
        follow(keeper, snapshot)

    monkeypatch.setattr(SloKeeper, "expect", expected)
    monkeypatch.setattr(SloKeeper, "follow", followed)

    async def story(mesh: Mesh) -> None:
        mesh.rewrite("slos.yaml", "99.5%", "99.6%")
        await mesh.told.line("generation 2 in force: ")

    asyncio.run(mesh.serve(story))
    assert steps == [("follow", 1), ("expect", 2), ("follow", 2)]


def test_a_mesh_without_a_listener_for_metrics_has_none(mesh: Mesh) -> None:
    path = mesh.policies / "mesh.yaml"
    text = path.read_text()
    path.write_text(re.sub(r"  - address: \S+\n    serves: metrics\n", "", text))
    assert path.read_text() != text

    async def story(mesh: Mesh) -> None:
        assert mesh.running().metrics == ""

    asyncio.run(mesh.serve(story))


def test_a_hangup_replaces_every_worker_and_is_in_the_audit_log(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        await until(mesh, "/admin/status", lambda status: bool(status["workers"]))
        old = (await mesh.admin("/admin/status")).json()["workers"][0]["pid"]
        os.kill(os.getpid(), signal.SIGHUP)
        await mesh.told.line("every worker was replaced")
        status = await until(mesh, "/admin/status", lambda status: status["workers_to_replace"] == 0)
        assert [worker["pid"] for worker in status["workers"]] != [old]
        assert not status["is_draining"]

    asyncio.run(mesh.serve(story))
    lines = (mesh.state / "audit" / "audit.jsonl").read_bytes().splitlines()
    assert "worker.restart" in [msgspec.json.decode(line)["action"] for line in lines]


def test_pods_are_found_by_name_before_workers_accept(mesh: Mesh) -> None:
    async def story(mesh: Mesh) -> None:
        pods = (await mesh.admin("/admin/pods")).json()["pods"]
        assert [(pod["name"], pod["address"]) for pod in pods] == [("digits/1/127.0.0.1:9", "127.0.0.1:9")]

    mesh.rewrite(
        "routes/digits.yaml", "{launch: {archive: digits-1.mar, count: 1, device: auto}}", '{dns: "localhost:9"}'
    )
    asyncio.run(mesh.serve(story))
