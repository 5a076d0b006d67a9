"""The policy of a true directory, in surroundings whose pods and workers do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest

from gateway.control import handover
from gateway.control.desired import pod_places, pod_places_meanwhile
from gateway.control.generation_switch import NobodyPrepared
from gateway.control.mesh_pods import MeshPods
from gateway.control.pod_table import PodTable
from gateway.control.policy_keeper import PolicyKeeper, Surroundings
from gateway.control.workers import GenerationBlob
from model_pod.wire.status import PodState, PodStatus
from policies.snapshot import Snapshot
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

    def _follow(self, in_force: Snapshot, waiting: Snapshot | None) -> None:
        here = Path("/s")
        self.pods.follow(pod_places_meanwhile(in_force, waiting, here) if waiting else pod_places(in_force, here))

    def _table(self) -> PodTable:
        return self.pods.table

    async def play(self, story: Callable[[Town], Coroutine[None, None, None]]) -> None:
        """Follow the directory while the story runs; version 1 is ready."""
        self._follow((await self.keeper.load_first()).snapshot, None)
        self.pod("1", PodState.READY)
        mesh = Surroundings(self._table, lambda: 1, self._switch, self._follow)
        following = asyncio.create_task(self.keeper.follow(mesh))
        try:
            await story(self)
        finally:
            following.cancel()

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


def test_a_refused_edit_leaves_the_generation_that_waits_and_is_told(town: Town) -> None:
    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
        await town.told.line("generation 2 waits for")
        town.edit(("max_rows: 32", "max_rows: many"))
        await town.told.line("policy refused")
        town.pod("2", PodState.READY)
        await town.told.line("generation 2 in force")
        assert town.keeper.refusal is not None

    asyncio.run(town.play(story))


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


def test_at_the_limit_a_slow_version_is_stable_all_the_same_and_that_is_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "LIMIT_S", 0.3)

    async def story(town: Town) -> None:
        town.edit(*MAKE_SECOND_STABLE)
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
