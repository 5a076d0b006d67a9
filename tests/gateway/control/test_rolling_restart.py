"""Successors for workers that live: true processes with a scripted program, and connections all the while."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine

import pytest

from gateway.control import generations, rolling_restart, worker_process
from gateway.control.rolling_restart import RollingRestart
from tests.fakes.told import Told
from tests.gateway.control.test_workers import Crew, both_accept, generation, with_crew

SOON_S = 20.0
DONE = "every worker was replaced"


def restarting(story: Callable[[Crew, RollingRestart], Coroutine[None, None, None]]) -> Told:
    """Play a story on two workers with a spare, and a rolling restart that waits to be asked."""

    async def play(crew: Crew) -> None:
        await both_accept(crew)
        await crew.spare_is_ready()
        rolling = RollingRestart(crew.workers, crew.switch, crew.told)
        running = asyncio.create_task(rolling.run())
        try:
            async with asyncio.timeout(SOON_S):
                await story(crew, rolling)
        finally:
            running.cancel()

    return with_crew(play)


def test_every_worker_and_the_spare_are_replaced_and_never_fewer_accept() -> None:
    async def story(crew: Crew, rolling: RollingRestart) -> None:
        assert crew.workers.spare is not None
        old = {worker.pid for worker in (*crew.workers.running, crew.workers.spare)}
        done = asyncio.create_task(crew.told.line(DONE))
        assert rolling.ask() == 2
        while not done.done():
            assert len(crew.workers.accepting) >= 2
            await crew.ask()
        assert rolling.left == 0
        assert not old & {worker.pid for worker in crew.workers.running}
        assert len(crew.workers.running) == 2
        await crew.spare_is_ready()
        assert crew.workers.spare.pid not in old
        assert crew.workers.restarts == 0

    said = restarting(story).lines
    assert sum("its place was taken before" in line for line in said) == 2


def test_one_that_is_asked_for_meanwhile_replaces_those_that_are_new_by_then_as_well() -> None:
    async def story(crew: Crew, rolling: RollingRestart) -> None:
        rolling.ask()
        await crew.told.line("its place was taken before")
        replaced = {worker.pid for worker in crew.workers.running}
        rolling.ask()
        await crew.told.line(DONE)
        while rolling.left:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        assert not replaced & {worker.pid for worker in crew.workers.running}

    restarting(story)


def test_a_worker_that_dies_before_its_turn_leaves_no_one_too_many() -> None:
    async def story(crew: Crew, rolling: RollingRestart) -> None:
        last = crew.workers.running[-1]
        rolling.ask()
        os.kill(last.pid, signal.SIGKILL)
        await crew.told.line(DONE)
        await crew.spare_is_ready()
        assert len(crew.workers.running) == 2
        assert last.pid not in {worker.pid for worker in crew.workers.running}

    restarting(story)


def test_a_successor_that_dies_is_followed_by_another_and_nobody_gives_way_before() -> None:
    async def story(crew: Crew, rolling: RollingRestart) -> None:
        old = {worker.pid for worker in crew.workers.running}
        rolling.ask()
        while len(crew.workers.running) < 3:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        successor = next(worker for worker in crew.workers.running if worker.pid not in old)
        os.kill(successor.pid, signal.SIGSTOP)  # it can do nothing before it is killed
        if not successor.is_accepting:
            assert old <= {worker.pid for worker in crew.workers.running}
        os.kill(successor.pid, signal.SIGKILL)
        await crew.told.line(DONE)
        assert len(crew.workers.running) == 2
        assert not old & {worker.pid for worker in crew.workers.running}

    restarting(story)


def test_a_successor_that_never_accepts_is_told_and_killed_and_another_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling_restart, "ACCEPT_WITHIN_S", 0.3)

    async def story(crew: Crew, rolling: RollingRestart) -> None:
        old = {worker.pid for worker in crew.workers.running}
        crew.workers.put_in_force(generation(2, "aloof"))
        rolling.ask()
        await crew.told.line("does not accept within 0.3 s and is killed; 2 are left")
        assert old <= {worker.pid for worker in crew.workers.running}
        monkeypatch.setattr(rolling_restart, "ACCEPT_WITHIN_S", SOON_S)  # one that does accept may take its time
        crew.workers.put_in_force(generation(3))
        await crew.told.line(DONE)
        assert not old & {worker.pid for worker in crew.workers.running}
        assert len(crew.workers.running) == 2

    restarting(story)


def test_no_worker_gives_way_while_a_generation_is_being_prepared() -> None:
    async def story(crew: Crew, rolling: RollingRestart) -> None:
        first, silent = crew.workers.running
        os.kill(silent.pid, signal.SIGSTOP)  # the switch waits for it, and kills it in the end
        switch = asyncio.create_task(crew.switch.to(generation(2)))
        rolling.ask()
        while not switch.done():
            assert first in crew.workers.running
            await asyncio.sleep(0)
        await switch
        await crew.told.line(DONE)
        assert "generation=2" in await crew.ask()

    restarting(story)


def test_a_worker_that_dies_beside_a_successor_that_waits_leaves_no_one_too_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generations, "ANSWER_WITHIN_S", SOON_S)  # the switch lasts as long as the story wants

    async def story(crew: Crew, rolling: RollingRestart) -> None:
        old = {worker.pid for worker in crew.workers.running}
        silent = crew.workers.running[-1]
        os.kill(silent.pid, signal.SIGSTOP)
        switch = asyncio.create_task(crew.switch.to(generation(2)))
        rolling.ask()
        while len(crew.workers.running) < 3:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        await crew.spare_is_ready()  # which is started once the successor accepts
        os.kill(silent.pid, signal.SIGKILL)
        await switch
        await crew.told.line(DONE)
        assert len(crew.workers.running) == 2
        assert not old & {worker.pid for worker in crew.workers.running}

    restarting(story)


def test_a_worker_that_leaves_in_order_is_not_killed_on_its_way_out() -> None:
    async def story(crew: Crew, rolling: RollingRestart) -> None:
        await crew.switch.to(generation(2, "linger"))
        rolling.ask()
        await crew.told.line(DONE)

    said = restarting(story).lines
    assert sum("exited with status 0; its place was taken before" in line for line in said) == 2


def test_a_worker_that_closes_its_channel_and_never_ends_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "LEAVE_WITHIN_S", 0.1)

    async def story(crew: Crew, rolling: RollingRestart) -> None:
        await crew.switch.to(generation(2, "stuck"))
        rolling.ask()
        await crew.told.line(DONE)

    said = restarting(story).lines
    assert sum("died of SIGKILL; its place was taken before" in line for line in said) == 2
