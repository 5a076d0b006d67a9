"""What a worker does about memory that is short and a loop that is late, with a control group in a folder."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

from gateway.dataplane.accepting import Acceptor, Reserve
from gateway.dataplane.memory import MemoryGauge
from gateway.dataplane.pressure import LOOK_EVERY_S, PressureWatch
from gateway.dataplane.rests import Rests
from gateway.dataplane.tls import Door
from gateway.decide.decision import Refusal
from tests.gateway.dataplane.test_memory import V2_MOUNT, lay_out, v2_group


class Worker:
    """A listening socket, its acceptor, and the watch over both: one worker of two, whose sibling is well."""

    def __init__(self, root: Path) -> None:
        self.root = root
        lay_out(root, "0::/", V2_MOUNT)
        self.use(0)
        self.locks = (root / "locks").open("wb")
        self.said: list[str] = []
        self.refusals: list[Refusal | None] = []
        loop = asyncio.get_running_loop()
        self.watch = self.watch_with(self.said.append, self.refusals.append)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.reserve = Reserve()
        self.acceptor = Acceptor(loop, Door(self.listening), asyncio.Protocol, self.reserve, bytes)
        self.watch.guard(self.acceptor)
        self.now_s = time.monotonic()
        self.watch.look(self.now_s)

    def watch_with(self, say: Callable[[str], None], on_refusal: Callable[[Refusal | None], None]) -> PressureWatch:
        rests = Rests(self.locks.fileno(), 2)
        return PressureWatch(asyncio.get_running_loop(), MemoryGauge(self.root), 2, rests, say, on_refusal)

    def use(self, percent: int) -> None:
        v2_group(self.root, "", used=percent, limit="100")

    def look(self, late_s: float = 0.0) -> None:
        self.now_s += LOOK_EVERY_S + late_s
        self.watch.look(self.now_s)

    @property
    def accepts(self) -> bool:
        """Whether the loop waits for connections: a reader that is there can be removed, and is put back."""
        loop = asyncio.get_running_loop()
        there = loop.remove_reader(self.listening)
        if there:
            loop.add_reader(self.listening, self.acceptor._on_readable)
        return there

    def close(self) -> None:
        self.acceptor.close()
        self.reserve.close()
        self.locks.close()


def test_short_memory_refuses_requests_then_connections_and_is_told_at_each_change(tmp_path: Path) -> None:
    async def play() -> None:
        worker = Worker(tmp_path)
        found = []
        for percent in (50, 93, 93, 96, 94, 91, 80):
            worker.use(percent)
            worker.look()
            found.append((percent, worker.watch.refusal is not None, worker.accepts))
        worker.close()
        assert found == [
            (50, False, True),
            (93, True, True),
            (93, True, True),
            (96, True, False),
            (94, True, False),
            (91, True, True),
            (80, False, True),
        ]
        reasons = [refusal and refusal.reason for refusal in worker.refusals]
        assert reasons == ["overload_memory", "overload_memory", "overload_memory", None]
        assert worker.said[0] == "93% of the memory is used: new requests are refused"

    asyncio.run(play())


def test_doors_that_are_shut_are_opened_again_though_nobody_can_be_told(tmp_path: Path) -> None:
    async def play() -> None:
        worker = Worker(tmp_path)

        def say(line: str) -> None:
            raise BrokenPipeError

        loop = asyncio.get_running_loop()
        failed: list[object] = []
        loop.set_exception_handler(lambda _, context: failed.append(context))
        watch = worker.watch_with(say, worker.refusals.append)
        watch.guard(worker.acceptor)
        watch.start()
        for percent, accepts in ((96, False), (10, True)):
            worker.use(percent)
            async with asyncio.timeout(60):
                while worker.accepts != accepts:
                    await asyncio.to_thread(int)
        assert [refusal and refusal.reason for refusal in worker.refusals] == ["overload_memory", None]
        assert failed == []
        worker.close()

    asyncio.run(play())


def test_a_look_that_fails_is_followed_by_the_next(tmp_path: Path) -> None:
    async def play() -> None:
        worker = Worker(tmp_path)
        told: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["exception"]))

        def fail_once(refusal: Refusal | None) -> None:
            worker.refusals.append(refusal)
            if len(worker.refusals) == 1:
                raise RuntimeError("a defect")

        watch = worker.watch_with(worker.said.append, fail_once)
        watch.start()
        for percent, count in ((96, 1), (10, 2)):
            worker.use(percent)
            async with asyncio.timeout(60):
                while len(worker.refusals) < count:
                    await asyncio.to_thread(int)
        assert len(told) == 1
        worker.close()

    asyncio.run(play())


def test_a_loop_that_was_late_leaves_connections_to_siblings_until_it_keeps_up(tmp_path: Path) -> None:
    async def play() -> None:
        worker = Worker(tmp_path)
        worker.look(late_s=1.5)
        assert not worker.accepts
        assert worker.watch.refusal is None
        worker.look()
        assert worker.accepts
        assert 1.4 < worker.watch.take_worst_lag_s() < 1.6
        worker.close()

    asyncio.run(play())


def test_bodies_have_what_room_memory_leaves_them(tmp_path: Path) -> None:
    async def play() -> None:
        worker = Worker(tmp_path)
        found = []
        for percent in (0, 52, 91, 93):
            worker.use(percent)
            worker.look()
            found.append(worker.watch.bodies.room_bytes)
        worker.close()
        assert found == [23, 10, 0, 0]

    asyncio.run(play())
