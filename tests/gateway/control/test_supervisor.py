"""A whole supervisor in this process, with true files and sockets and scripted workers, ended by its lifeline."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import httpx
import msgspec
import pytest

from gateway.control.desired_pods import DesiredPods
from gateway.control.policy_keeper import NoPolicy
from gateway.control.runtime_file import RunningMesh, publish
from gateway.control.supervisor import SupervisorConfig, supervise
from tests.fakes.told import Told
from tests.gateway.control.test_workers import FAKE

DEMO = Path(__file__).parents[3] / "policies" / "demo"
LOCAL_KEY = "5" * 64


class Mesh:
    """A running supervisor, as its surroundings see it."""

    def __init__(self, root: Path) -> None:
        self.told = Told()
        self.policies = root / "policies"
        self.state = root / "s"
        self.runtime_file = root / "run" / "mesh.json"
        shutil.copytree(DEMO, self.policies)
        mesh = self.policies / "mesh.yaml"
        mesh.write_text(mesh.read_text().replace(":8080", ":0").replace(":8081", ":0"))

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

    async def serve(self, story: Callable[[Mesh], Coroutine[None, None, None]]) -> None:
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
            async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
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
        mesh.rewrite("limits.yaml", "rate: 5", "rate: 5/s")
        await mesh.told.line("good again")
        policy = (await mesh.admin("/admin/policy")).json()
        assert (policy["generation"], policy["errors"], policy["refused_at"]) == (2, [], None)

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
