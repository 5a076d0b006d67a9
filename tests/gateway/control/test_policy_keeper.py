"""The policy of a true directory, in surroundings whose pods and workers do what the test says."""

from __future__ import annotations

import asyncio
import errno
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import NoReturn

import pytest

from gateway.control import generation_archive, handover, last_good, policy_keeper
from gateway.control.desired import pod_places, pod_places_meanwhile
from gateway.control.generation_switch import NobodyPrepared
from gateway.control.handover import Handover
from gateway.control.mesh_pods import MeshPods
from gateway.control.pod_table import PodTable
from gateway.control.policy_changes import PolicyChange
from gateway.control.policy_keeper import PolicyKeeper, Surroundings
from gateway.control.workers import GenerationBlob
from model_pod.wire.status import PodState, PodStatus
from policies.snapshot.generation import Snapshot
from tests.demo_policies import lay_out_digits
from tests.fakes.told import Told

SECOND = '  # "2": {pods:'


class Town:
    """A keeper at work, and what it knows and moves."""

    def __init__(self, root: Path) -> None:
        self.told = Told()
        self.policies = root / "policies"
        lay_out_digits(self.policies)
        (root / "state").mkdir()
        self.keeper = PolicyKeeper(self.policies, root / "state", "", self.told)
        self.pods = MeshPods(self.told, lambda _: None)
        self.switched: list[int] = []
        self.failing_switches = 0
        self.followed: list[int] = []
        self.failure: Exception | None = None

    def edit(self, *changes: tuple[str, str]) -> None:
        """Change the route's file, as an editor does."""
        path = self.policies / "routes" / "digits.yaml"
        text = path.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        beside = path.with_name(".new")
        beside.write_text(text)
        beside.replace(path)

    def pod(self, version: str, state: PodState, message: str = "") -> None:
        """Let the version's only pod say this of itself."""
        place = next(r.place for r in self.pods.table.values() if r.place.version == version)
        self.pods.probed(place, PodStatus("digits", version, state, message=message), 1.0)

    async def _switch(self, generation: GenerationBlob) -> None:
        self.switched.append(generation.number)
        if self.failing_switches:
            self.failing_switches -= 1
            raise NobodyPrepared("no worker lived")

    def _follow(self, in_force: Snapshot, waiting: Handover | None) -> None:
        if self.failure is not None:
            raise self.failure
        self.followed.append(in_force.generation)
        here = Path("/s")
        places = pod_places(in_force, here)
        if waiting is not None:
            awaited = {(one.model, one.version) for one in waiting.awaited}
            places = pod_places_meanwhile(in_force, waiting.snapshot, awaited, here)
        self.pods.follow(places)

    def _table(self) -> PodTable:
        return self.pods.table

    async def play(self, story: Callable[[Town], Coroutine[None, None, None]]) -> None:
        """Follow the directory while the story runs; version 1 is ready."""
        self._follow((await self.keeper.load_first()).snapshot, None)
        self.pod("1", PodState.READY)
        mesh = Surroundings(self._table, lambda: 1, self._switch, self._follow)
        following = asyncio.create_task(self._keep_following(mesh))
        try:
            await story(self)
        finally:
            following.cancel()

    async def _keep_following(self, mesh: Surroundings) -> None:
        """A defect costs a restart, as it does in the supervisor."""
        while True:
            try:
                await self.keeper.follow(mesh)
            except ZeroDivisionError:
                self.told("the policy watch failed")

    @property
    def versions(self) -> list[str]:
        """Versions whose pods run."""
        return sorted(record.place.version for record in self.pods.table.values())


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


MAKE_SECOND_STABLE = ((SECOND, '  "2": {pods:'), ('stable: "1"', 'stable: "2"'))
REMOVE_FIRST = ('  "1": {pods:', '  # "1": {pods:')


def test_requests_move_to_a_new_stable_version_when_it_is_ready_and_the_old_pods_go_then(town: Town) -> None:
    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE, REMOVE_FIRST)
        await town.told.line("generation 2 waits for digits/2 to be ready")
        assert (town.switched, town.versions) == ([], ["1", "2"])
        town.pod("2", PodState.READY)
        await town.told.line("generation 2 in force")
        assert (town.switched, town.versions, town.keeper.waiting) == ([2], ["2"], None)

    asyncio.run(town.play(story))


def test_an_edit_takes_the_place_of_the_generation_that_waits_and_its_undoing_ends_the_wait(town: Town) -> None:
    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
        await town.told.line("generation 2 waits for")
        town.edit(("max_rows: 32", "max_rows: 8"))
        await town.told.line("generation 3 waits for")
        town.edit(("max_rows: 8", "max_rows: 32"), *((new, old) for old, new in MAKE_SECOND_STABLE))
        await town.told.line("generation 3 is withdrawn")
        assert (town.switched, town.versions, town.keeper.waiting) == ([], ["1"], None)

    asyncio.run(town.play(story))


def test_a_refused_edit_ends_the_wait_of_the_one_before_for_no_file_says_it_any_more(town: Town) -> None:
    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
        await town.told.line("generation 2 waits for")
        town.edit(("max_rows: 32", "max_rows: many"))
        await town.told.line("generation 2 is withdrawn")
        await town.told.line("generation 1 stays in force")
        assert (town.switched, town.versions, town.keeper.waiting) == ([], ["1"], None)
        assert town.keeper.refusal is not None
        town.edit(("max_rows: many", "max_rows: 32"))
        await town.told.line("generation 3 waits for")

    asyncio.run(town.play(story))


def test_a_switch_on_a_full_disk_is_followed_kept_and_archived_once_it_has_room(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_keeper, "_AGAIN_AFTER_S", 0.05)
    archive, kept_file = (town.keeper.state_dir / name for name in (generation_archive.FOLDER, last_good.FILE_NAME))

    async def story(town: Town) -> None:
        town.failure = OSError(errno.ENOSPC, "No space left on device")
        archive.rename(archive.with_name("away"))
        archive.touch()
        kept_file.unlink()
        kept_file.mkdir()
        town.edit(("max_rows: 32", "max_rows: 8"))
        await town.told.line("pods cannot follow the policy yet: No space left on device")
        await town.told.line("the policy cannot be kept for the next start yet")
        await town.told.line("the policy cannot be kept for explanations yet")
        assert (town.switched, town.followed) == ([2], [1])
        archive.unlink()
        kept_file.rmdir()
        town.failure = None
        for duty in policy_keeper.Duty:
            await town.told.line(f"no longer: {duty}")
        assert (town.followed, generation_archive.highest(town.keeper.state_dir)) == ([1, 2], 2)
        kept = last_good.recall(town.keeper.state_dir)
        assert kept is not None
        assert kept.snapshot.generation == 2

    asyncio.run(town.play(story))
    assert sum("cannot" in line for line in town.told.lines) == 2 * len(policy_keeper.Duty)


def test_what_a_defect_kept_from_following_follows_after_the_watch_starts_again(town: Town) -> None:
    async def story(town: Town) -> None:
        town.failure = ZeroDivisionError()
        town.edit(("max_rows: 32", "max_rows: 8"))
        await town.told.lines_with("the policy watch failed", 2)
        town.failure = None
        town.edit(("max_rows: 8", "max_rows: 16"))
        await town.told.line("generation 3 in force")
        assert town.followed == [1, 2, 3]

    asyncio.run(town.play(story))


def test_a_switch_is_recorded_before_the_workers_hear_of_it_and_its_outcome_after(town: Town) -> None:
    happened: list[str] = []

    def record(change: PolicyChange) -> None:
        numbers = f"{change.from_generation}->{change.to_generation}"
        happened.append(f"{change.action} {numbers} at {change.generation}, after {len(town.switched)} switches")

    async def story(town: Town) -> None:
        town.edit(("max_rows: 32", "max_rows: 8"))
        await town.told.line("generation 2 in force")
        town.failing_switches = 2
        town.edit(("max_rows: 8", "max_rows: 16"))
        await town.told.line("policy refused")

    town.keeper.changed = record
    asyncio.run(town.play(story))
    assert happened == [
        "policy.in_force 0->1 at 1, after 0 switches",
        "policy.switch 1->2 at 1, after 0 switches",
        "policy.in_force 1->2 at 2, after 1 switches",
        "policy.switch 2->3 at 2, after 1 switches",
        "policy.switch 2->3 at 2, after 2 switches",
        "policy.refused 2->2 at 2, after 3 switches",
    ]


def test_a_recalled_policy_that_the_files_say_again_is_theirs(town: Town, tmp_path: Path) -> None:
    mesh, away = town.policies / "mesh.yaml", tmp_path / "away"

    async def story(town: Town) -> None:
        assert town.keeper.in_force.is_recalled
        away.rename(mesh)
        await town.told.line("policy files are good again: generation 1 stays in force")
        assert not town.keeper.in_force.is_recalled

    asyncio.run(town.keeper.load_first())
    mesh.rename(away)
    asyncio.run(town.play(story))


def test_files_that_no_process_could_be_had_for_are_read_once_one_can(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy_keeper, "_AGAIN_AFTER_S", 0.0)
    tries = 0

    def refuse(*_: object, **__: object) -> NoReturn:
        nonlocal tries
        tries += 1
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    async def story(town: Town) -> None:
        with monkeypatch.context() as crowded:
            crowded.setattr(subprocess, "Popen", refuse)
            town.edit(("max_rows: 32", "max_rows: 8"))
            await town.told.line("generation 2 in force")  # by the process that waited
            town.edit(("max_rows: 8", "max_rows: 4"))
            await town.told.line("policy refused: .:1:1: no process for the check can be had")
            at_first = tries
            async with asyncio.timeout(20.0):
                while tries < at_first + 3:  # noqa: ASYNC110 - no event tells
                    await asyncio.sleep(0)
            assert town.keeper.refusal is not None
        await town.told.line("generation 3 in force")
        assert town.keeper.refusal is None

    asyncio.run(town.play(story))
    assert sum("policy refused" in line for line in town.told.lines) == 1


ONE_TEST = """\
kind: tests/v1
tests:
  - name: the demo may ask
    request: {tenant: demo, model: digits}
    expect: {status: 200}
"""


def test_tests_are_taken_without_a_generation_and_told_of_once(town: Town) -> None:
    added = 'test "the demo may ask" of tests/more.yaml added'

    async def story(town: Town) -> None:
        (town.policies / "tests" / "more.yaml").write_text(ONE_TEST)
        await town.told.line(f"generation 1 stays in force: {added}")
        town.edit(("max_rows: 32", "max_rows: 8"))
        await town.told.line("generation 2 in force: ")
        kept = last_good.recall(town.keeper.state_dir)
        assert kept is not None
        assert "the demo may ask" in {test.name for test in kept.snapshot.tests}

    asyncio.run(town.play(story))
    assert sum(added in line for line in town.told.lines) == 1


def test_a_number_is_not_given_again_when_the_last_good_policy_is_lost(town: Town) -> None:
    asyncio.run(town.keeper.load_first())
    (town.keeper.state_dir / last_good.FILE_NAME).unlink()
    town.edit(("max_rows: 32", "max_rows: 8"))
    first = asyncio.run(town.keeper.load_first())
    assert first.snapshot.generation == 2
    of_before = generation_archive.recall(town.keeper.state_dir, 1)
    assert of_before is not None
    assert of_before.digest != first.snapshot.digest
    town.keeper.close()


def test_a_new_stable_version_that_fails_to_the_limit_is_refused_and_its_pods_go(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LIMIT_S", 0.3)

    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
        await town.told.line("generation 2 waits for")
        town.pod("2", PodState.FAILED, "no such archive")
        await town.told.line("policy refused", "version 2 cannot be made stable", "no such archive")
        await town.told.line("generation 1 stays in force")
        assert (town.switched, town.versions, town.keeper.waiting) == ([], ["1"], None)
        assert town.keeper.refusal is not None

    asyncio.run(town.play(story))


def test_a_version_that_does_not_come_to_the_limit_takes_nothing_from_the_one_that_serves(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LIMIT_S", 0.3)

    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
        await town.told.line("policy refused", "version 2 cannot be made stable", "not probed yet")
        await town.told.line("generation 1 stays in force")
        assert (town.switched, town.versions, town.keeper.waiting) == ([], ["1"], None)

    asyncio.run(town.play(story))


def test_at_the_limit_a_version_takes_over_from_one_that_is_gone_and_that_is_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LIMIT_S", 0.3)

    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
        await town.told.line("generation 2 waits for")
        town.pod("1", PodState.FAILED, "it ran out of memory")
        await town.told.line("generation 2 goes in force although digits/2 is not ready: not probed yet")
        await town.told.line("generation 2 in force")

    asyncio.run(town.play(story))


@pytest.mark.parametrize(("failing_switches", "outcome"), [(1, "generation 2 in force"), (2, "policy refused")])
def test_a_generation_that_no_worker_lived_to_prepare_is_tried_once_more(
    town: Town, failing_switches: int, outcome: str
) -> None:
    async def story(town: Town) -> None:
        town.failing_switches = failing_switches
        town.edit(("max_rows: 32", "max_rows: 8"))
        await town.told.line("it is tried again when a worker accepts")
        await town.told.line(outcome)
        assert town.switched == [2, 2]

    asyncio.run(town.play(story))
