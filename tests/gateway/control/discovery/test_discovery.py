"""Names followed by a true task each, against a resolver that answers what the test says and a clock that it holds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from gateway.control.desired import PodPlace
from gateway.control.discovery import addresses
from gateway.control.discovery.discovery import Discovery
from gateway.control.discovery.resolver import NotResolved
from tests.fakes.told import Told

SOON_S = 20.0


def named(host: str) -> PodPlace:
    return PodPlace("digits/1/0", "digits", "1", f"{host}:8500", None)


class Names:
    """A resolver's records, and what was shown of them.

    Attributes:
        records: the addresses of each name; one that is not here does not exist.
        hanging: names whose look never ends.
        defects: names whose look fails as no resolver should.
    """

    def __init__(self) -> None:
        self.records: dict[str, tuple[str, ...]] = {}
        self.hanging: set[str] = set()
        self.defects: set[str] = set()
        self.told = Told()
        self.shown: list[list[str]] = []
        self._more = asyncio.Event()
        self.discovery = Discovery(self._show, self._resolve, self.told)

    async def _resolve(self, name: str) -> tuple[str, ...]:
        if name in self.hanging:
            await asyncio.Event().wait()
        if name in self.defects:
            raise RuntimeError("a defect")
        if name not in self.records:
            raise NotResolved("no such name")
        return self.records[name]

    def _show(self, places: tuple[PodPlace, ...]) -> None:
        self.shown.append([place.address for place in places])
        self._more.set()

    async def until_shown(self, *expected: str) -> None:
        """Wait until these pods, and no others, are what was shown last."""
        async with asyncio.timeout(SOON_S):
            while self.shown[-1] != list(expected):
                self._more.clear()
                await self._more.wait()


def play(story: Callable[[Names], Coroutine[None, None, None]], monkeypatch: pytest.MonkeyPatch) -> Names:
    """Play a story in which names are asked a hundred times as often."""
    monkeypatch.setattr(addresses, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(addresses, "FIRST_LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(addresses, "STAYS_S", 0.02)

    async def run() -> Names:
        names = Names()
        try:
            await story(names)
        finally:
            await names.discovery.stop()
        return names

    return asyncio.run(run())


def test_pods_move_with_the_addresses_of_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(names: Names) -> None:
        names.records["pods.local"] = ("10.0.0.1",)
        names.discovery.follow([named("pods.local")])
        await names.until_shown("10.0.0.1:8500")
        names.records["pods.local"] = ("10.0.0.2", "10.0.0.3")
        await names.until_shown("10.0.0.2:8500", "10.0.0.3:8500")

    play(story, monkeypatch)


def test_a_name_that_ceases_to_be_answered_keeps_its_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(names: Names) -> None:
        names.records["pods.local"] = ("10.0.0.1",)
        names.discovery.follow([named("pods.local")])
        await names.until_shown("10.0.0.1:8500")
        del names.records["pods.local"]
        await names.told.line("pods.local cannot be resolved: no such name; its 1 known addresses stay")
        assert names.shown[-1] == ["10.0.0.1:8500"]
        names.records["pods.local"] = ("10.0.0.1",)
        await names.told.line("pods.local is resolved again")

    names = play(story, monkeypatch)
    assert names.shown == [[], ["10.0.0.1:8500"]]


def test_a_name_that_hangs_keeps_no_other_name_from_moving(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(names: Names) -> None:
        names.hanging.add("slow.local")
        names.records["pods.local"] = ("10.0.0.1",)
        names.discovery.follow([named("slow.local"), named("pods.local")])
        await names.until_shown("10.0.0.1:8500")
        names.records["pods.local"] = ("10.0.0.2",)
        await names.until_shown("10.0.0.2:8500")

    play(story, monkeypatch)


def test_the_first_look_ends_with_the_first_answers_and_waits_for_no_slow_one_for_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(names: Names) -> None:
        names.records["pods.local"] = ("10.0.0.1",)
        names.discovery.follow([named("pods.local"), named("nowhere.local")])
        await names.discovery.first_look(SOON_S)
        assert names.shown[-1] == ["10.0.0.1:8500"]
        names.hanging.add("slow.local")
        names.discovery.follow([named("slow.local")])
        await names.discovery.first_look(0.01)
        assert names.shown[-1] == []

    play(story, monkeypatch)


def test_names_that_policy_no_longer_has_are_asked_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(names: Names) -> None:
        names.records |= {"old.local": ("10.0.0.1",), "new.local": ("10.0.0.2",)}
        names.discovery.follow([named("old.local")])
        await names.until_shown("10.0.0.1:8500")
        names.discovery.follow([named("new.local"), PodPlace("digits/2/0", "digits", "2", "unix:/p", None)])
        await names.until_shown("10.0.0.2:8500", "unix:/p")
        assert {task.get_name() for task in asyncio.all_tasks()} >= {"resolve new.local"}
        assert "resolve old.local" not in {
            task.get_name() for task in asyncio.all_tasks() if not task.done() and not task.cancelling()
        }

    play(story, monkeypatch)


def test_a_defect_of_the_resolver_is_told_and_the_name_is_asked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(names: Names) -> None:
        names.records["pods.local"] = ("10.0.0.1",)
        names.defects.add("pods.local")
        names.discovery.follow([named("pods.local")])
        await names.told.line("pods.local cannot be resolved: RuntimeError: a defect")
        names.defects.clear()
        await names.until_shown("10.0.0.1:8500")

    play(story, monkeypatch)
