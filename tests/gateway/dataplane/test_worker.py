"""A whole worker in this process, told what to do as its supervisor would; clients and their handshakes are true."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import Callable, Coroutine, Iterator

import msgspec
import pytest

from gateway.control.messages import Commit, Drain, Pods, PodView, Prepare, ShowCertificate
from gateway.dataplane.gateway import Share
from gateway.dataplane.rests import Rests
from gateway.dataplane.shared_limits import SharedLimits
from gateway.dataplane.tls import Doors
from gateway.dataplane.waiting import Tried
from gateway.dataplane.worker import Worker
from gateway.decide.decision import Decision, Refusal
from model_pod.wire.status import PodState
from tests.certificates import Authority, client_context
from tests.gateway.policy import limits_memory, policy

SOON_S = 20.0
LONG_S = 600.0
AUTHORITY = Authority()
SERVER = AUTHORITY.server("mesh.example")
READY = b"GET /readyz HTTP/1.1\r\nhost: mesh\r\n\r\n"
ASK = (
    b"POST /predictions/digits HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer msk_test\r\ncontent-length: 2\r\n\r\n{}"
)


class Circle:
    """Something that only the collector can free."""

    def __init__(self) -> None:
        self.itself = self


class Place:
    """A worker behind one listening socket, without TLS or with it."""

    def __init__(self, limits_fd: int, *, is_secured: bool) -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        self.address: tuple[str, int] = listening.getsockname()
        self.doors = Doors([], [listening]) if is_secured else Doors([listening])
        loop = asyncio.get_running_loop()
        self.worker = Worker(loop, self.doors, SharedLimits(limits_fd), Share(), Rests(limits_fd, 1))
        if is_secured:
            told = ShowCertificate(listening.fileno(), SERVER.cert, SERVER.key, b"", False, "")
            self.worker.on_message(told, [])
        self.prepare(1)
        self.worker.on_message(Commit(1), [])
        # A pod that takes a request and never answers: the kernel does that much.
        self.pod = socket.create_server(("127.0.0.1", 0))
        address = f"127.0.0.1:{self.pod.getsockname()[1]}"
        pod = PodView("digits/1/0", "digits", "1", address, PodState.READY, was_ready=True)
        self.worker.on_message(Pods((pod,)), [])

    def prepare(self, generation: int) -> None:
        """Have it build a generation."""
        blob = msgspec.msgpack.encode(policy(generation=generation))
        self.worker.on_message(Prepare(generation), [memoryview(blob)])

    def drain(self, within_s: float, *, delay_s: float = 0.0, is_replaced: bool = False) -> None:
        """Tell it to leave."""
        self.worker.on_message(Drain(delay_s, within_s, is_replaced), [])


def at_a_worker(story: Callable[[Place], Coroutine[None, None, None]], *, is_secured: bool = False) -> None:
    async def play() -> None:
        descriptor = limits_memory()
        place = Place(descriptor, is_secured=is_secured)
        try:
            async with asyncio.timeout(SOON_S):
                await story(place)
        finally:
            place.drain(0.0)
            await place.worker.done
            place.worker.on_message(Pods(()), [])
            place.pod.close()
            await some_turns()  # every end is noticed
            os.close(descriptor)

    asyncio.run(play())


async def some_turns() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Leave this process's own objects to the collector again."""
    yield
    gc.unfreeze()


@pytest.mark.parametrize("delay_s", [0.0, LONG_S])
def test_a_later_and_shorter_drain_counts_and_what_runs_is_answered(delay_s: float) -> None:
    async def story(place: Place) -> None:
        reader, writer = await asyncio.open_connection(*place.address)
        writer.write(READY)
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ASK)
        gateway = place.worker._gateway
        while gateway is None or not gateway.in_flight:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        place.drain(LONG_S, delay_s=delay_s, is_replaced=True)
        await some_turns()
        assert not place.worker.done.done()
        place.drain(0.2)
        place.drain(LONG_S)  # a longer one changes nothing
        answer = await reader.read()
        assert b"HTTP/1.1 503 " in answer
        assert b"gateway_stopped" in answer  # it may have been run
        await place.worker.done
        writer.transport.abort()

    at_a_worker(story)


def test_a_drain_without_anything_under_way_is_over_at_once() -> None:
    async def story(place: Place) -> None:
        place.drain(LONG_S)
        await place.worker.done

    at_a_worker(story)


def test_a_drain_waits_for_a_connection_in_its_handshake_and_for_its_request() -> None:
    async def story(place: Place) -> None:
        raw = socket.create_connection(place.address)
        raw.setblocking(False)
        while not any(acceptor.is_admitting for acceptor in place.worker._acceptors):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
        place.drain(LONG_S, is_replaced=True)
        await some_turns()
        assert not place.worker.done.done()
        reader, writer = await asyncio.open_connection(
            sock=raw, ssl=client_context(AUTHORITY), server_hostname="mesh.example"
        )
        writer.write(READY)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 ")
        await place.worker.done
        writer.transport.abort()

    at_a_worker(story, is_secured=True)


def test_what_is_garbage_when_a_generation_comes_is_freed_and_not_kept_for_good(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def story(place: Place) -> None:
        monkeypatch.undo()
        assert left() is None
        later = weakref.ref(Circle())
        place.prepare(2)
        await some_turns()  # it is built in several
        assert later() is not None
        place.worker.on_message(Commit(2), [])
        assert later() is None

    gc.disable()
    try:
        left = weakref.ref(Circle())
        at_a_worker(story)
    finally:
        gc.enable()


class Waiting:
    """A request that waits, and goes nowhere."""

    asked = 0

    def resume(self, now_s: float) -> Tried:
        self.asked += 1
        return Tried.NO_ROOM

    def lane(self, now_s: float) -> str:
        return ""

    def refuse(self, refusal: Refusal) -> None:
        """It waits no more."""


def test_who_waits_is_asked_as_soon_as_the_pods_have_changed_and_before_any_newcomer() -> None:
    async def story(place: Place) -> None:
        gateway = place.worker._gateway
        assert gateway is not None
        waiting, now_s = Waiting(), gateway.now_s()
        gateway.wait(waiting, Decision(1, None, "ads", "gold", model="digits", version="1"), now_s + LONG_S, now_s)
        assert waiting.asked == 0
        place.worker.on_message(Pods(()), [])
        assert waiting.asked == 1

    at_a_worker(story)


def test_a_worker_says_ready_by_what_was_ready_before_it_came() -> None:
    async def story(place: Place) -> None:
        reader, writer = await asyncio.open_connection(*place.address)

        async def readyz() -> bytes:
            writer.write(READY)
            head = await reader.readuntil(b"\r\n\r\n")
            return head + await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))

        assert b"secret/1: no pod" in await readyz()
        pod = PodView("digits/1/0", "digits", "1", "127.0.0.1:1", PodState.READY, was_ready=True)
        place.worker.on_message(Pods((pod,), (("digits", "1"), ("secret", "1"))), [])
        assert (await readyz()).startswith(b"HTTP/1.1 200 ")
        writer.transport.abort()

    at_a_worker(story)
