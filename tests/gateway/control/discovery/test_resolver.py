"""Looking names up in threads, with a resolver that does what the test says."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from gateway.control.discovery import resolver
from gateway.control.discovery.resolver import AT_ONCE, NotResolved, ThreadedResolver, system_addresses


def test_the_system_knows_this_machine() -> None:
    assert "127.0.0.1" in system_addresses("localhost")


def test_what_the_resolver_says_is_returned_and_what_it_refuses_is_told() -> None:
    def look_up(name: str) -> tuple[str, ...]:
        if name == "good.local":
            return ("10.0.0.1",)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def play() -> None:
        resolve = ThreadedResolver(look_up)
        assert await resolve("good.local") == ("10.0.0.1",)
        with pytest.raises(NotResolved, match="Name or service not known"):
            await resolve("bad.local")

    asyncio.run(play())


def test_a_name_that_no_resolver_takes_is_told_like_any_other() -> None:
    async def play() -> None:
        with pytest.raises(NotResolved):
            await ThreadedResolver()("a" * 64 + ".local")

    asyncio.run(play())


def test_a_look_that_hangs_holds_up_nobody_and_is_not_begun_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "ANSWER_WITHIN_S", 0.05)
    begun: list[str] = []
    may_end = threading.Event()

    def look_up(name: str) -> tuple[str, ...]:
        begun.append(name)
        if name == "slow.local":
            may_end.wait()
        return ("10.0.0.1",)

    async def play() -> None:
        resolve = ThreadedResolver(look_up)
        for _ in range(2):
            with pytest.raises(NotResolved, match=r"no answer within 0\.05 s"):
                await resolve("slow.local")
        monkeypatch.setattr(resolver, "ANSWER_WITHIN_S", 20.0)
        assert await resolve("fast.local") == ("10.0.0.1",)
        assert begun == ["slow.local", "fast.local"]
        may_end.set()
        assert await resolve("slow.local") == ("10.0.0.1",)

    asyncio.run(play())


def test_no_more_names_than_may_be_are_looked_up_at_once() -> None:
    running: list[str] = []
    may_end, all_run = threading.Event(), threading.Event()

    def look_up(name: str) -> tuple[str, ...]:
        running.append(name)
        if len(running) >= AT_ONCE:
            all_run.set()
        may_end.wait()
        return (name,)

    async def play() -> None:
        resolve = ThreadedResolver(look_up)
        looks = [asyncio.create_task(resolve(f"{one}.local")) for one in range(AT_ONCE + 3)]
        await asyncio.to_thread(all_run.wait)
        assert len(running) == AT_ONCE
        may_end.set()
        assert len(await asyncio.gather(*looks)) == AT_ONCE + 3

    asyncio.run(play())


def test_a_thread_that_cannot_be_had_costs_one_look_and_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    real_start = threading.Thread.start
    no_room = [True] * (AT_ONCE + 1)

    def start(thread: threading.Thread) -> None:
        if no_room and thread.name.startswith("resolve"):
            no_room.pop()
            raise RuntimeError("can't start new thread")
        real_start(thread)

    monkeypatch.setattr(threading.Thread, "start", start)

    async def play() -> None:
        resolve = ThreadedResolver(lambda name: (name,))
        for _ in range(AT_ONCE + 1):
            with pytest.raises(NotResolved, match="can't start new thread"):
                await resolve("pods.local")
        assert await resolve("pods.local") == ("pods.local",)

    asyncio.run(play())


def test_a_look_that_fails_in_an_unheard_of_way_is_over_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "ANSWER_WITHIN_S", 20.0)
    outcomes = [MemoryError("no more"), None]

    def look_up(name: str) -> tuple[str, ...]:
        if error := outcomes.pop(0):
            raise error
        return (name,)

    async def play() -> None:
        resolve = ThreadedResolver(look_up)
        with pytest.raises(NotResolved, match="MemoryError: no more"):
            await resolve("pods.local")
        assert await resolve("pods.local") == ("pods.local",)

    asyncio.run(play())
