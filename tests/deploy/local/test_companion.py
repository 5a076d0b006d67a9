"""One process of telemetry with true children: started again, begun anew, kept from running, killed when it hangs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable

import pytest

from deploy.local.companion import ENDS_WITHIN_S, NICENESS, CompanionProcess

SAID_WITHIN_S = 20.0
READY = (sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()")
DEAF = (
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); signal.pause()",
)


class Story:
    """A companion and what it has said."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._news = asyncio.Event()
        self.companion = CompanionProcess("hub", self._say, ())

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self._news.set()

    async def until(self, line: str) -> None:
        """Wait until it has said this, and forget what it said until then."""
        async with asyncio.timeout(SAID_WITHIN_S):
            while line not in self.lines:
                self._news.clear()
                await self._news.wait()
        del self.lines[: self.lines.index(line) + 1]


def told(story: Callable[[Story], Awaitable[None]]) -> None:
    """Live through a story; at its end no process is left."""

    async def live() -> None:
        begun = Story()
        try:
            await story(begun)
        finally:
            begun.companion.kill()
            async with asyncio.timeout(SAID_WITHIN_S):
                while begun.companion.pid:  # noqa: ASYNC110 - it is another process
                    await asyncio.sleep(0)

    asyncio.run(live())


def test_it_runs_with_its_command_and_gives_way_to_requests() -> None:
    async def story(it: Story) -> None:
        it.companion.tend(READY, now_s=0.0)
        await it.until("hub| up")
        assert os.getpriority(os.PRIO_PROCESS, it.companion.pid) == NICENESS

    told(story)


def test_one_that_dies_is_started_again_at_once_and_then_ever_later() -> None:
    async def story(it: Story) -> None:
        for again in ("at once", "in 0.5 s"):
            it.companion.tend(READY, time.monotonic())
            await it.until("hub| up")
            killed_s = time.monotonic()
            os.kill(it.companion.pid, signal.SIGKILL)
            await it.until(f"hub: died of SIGKILL, started again {again}")
        it.companion.tend(READY, killed_s + 0.49)
        assert it.companion.pid == 0
        it.companion.tend(DEAF, time.monotonic())
        await it.until("hub| deaf")  # another command waits for nothing

    told(story)


def test_one_that_does_not_end_for_its_new_command_is_killed() -> None:
    async def story(it: Story) -> None:
        it.companion.tend(DEAF, now_s=0.0)
        await it.until("hub| deaf")
        it.companion.tend(READY, now_s=10.0)
        it.companion.tend(READY, now_s=9.9 + ENDS_WITHIN_S)
        assert it.lines == []
        it.companion.tend(READY, now_s=10.0 + ENDS_WITHIN_S)
        await it.until("hub: did not finish in time, killed")
        await it.until("hub: stopped")
        it.companion.tend(READY, now_s=11.0 + ENDS_WITHIN_S)
        await it.until("hub| up")

    told(story)


def test_where_no_command_is_wanted_it_ends_and_it_comes_back_with_one() -> None:
    async def story(it: Story) -> None:
        it.companion.tend(None, now_s=0.0)
        assert it.companion.pid == 0
        it.companion.tend(READY, now_s=1.0)
        await it.until("hub| up")
        it.companion.tend(None, now_s=2.0)
        await it.until("hub: stopped")
        it.companion.tend(None, now_s=3.0)
        assert it.companion.pid == 0
        it.companion.tend(READY, now_s=4.0)
        await it.until("hub| up")

    told(story)


def test_a_program_that_is_not_there_is_said_and_waited_for() -> None:
    async def story(it: Story) -> None:
        it.companion.tend(["/nowhere/to/be/found"], time.monotonic())
        assert it.lines[0].startswith("hub: cannot be started: ")

    told(story)


def test_one_whose_priority_may_not_be_set_runs_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    async def story(it: Story) -> None:
        monkeypatch.setattr(os, "setpriority", refuse)
        it.companion.tend(READY, now_s=0.0)
        await it.until("hub| up")

    told(story)
