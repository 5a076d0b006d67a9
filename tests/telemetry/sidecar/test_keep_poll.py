"""A pod's sidecar asks a true listener what the gateway's keeps."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from telemetry.sidecar.config import Address
from telemetry.sidecar.http import Answer, Listener, Request
from telemetry.sidecar.judgement import Kept
from telemetry.sidecar.keep_poll import KeepPoll
from telemetry.sidecar.kept import Keep, KeepList, Keeps
from tests.cut_off import cut_off_next

PATIENT_S = 60.0  # a machine that halts for seconds answers late, which is not what is asked here


def beside(answer: Callable[[Request], Answer], story: Callable[[KeepPoll], Awaitable[None]]) -> list[Keep]:
    """Run a story beside a listener; return what was taken."""
    taken: list[Keep] = []

    def take(keeps: Keeps) -> None:
        taken.extend(keeps.traces)

    async def run() -> None:
        listening = socket.create_server(("127.0.0.1", 0))
        poll = KeepPoll(Address(host="127.0.0.1", port=listening.getsockname()[1]), take, PATIENT_S)
        async with await Listener(answer).listen(listening):
            await story(poll)
        await poll.ask()
        assert not poll.is_heard  # the listener is gone

    asyncio.run(run())
    return taken


def test_what_is_new_is_taken_once() -> None:
    listed = KeepList(first=5)
    targets: list[str] = []

    def answer(request: Request) -> Answer:
        targets.append(request.target)
        keeps = listed.after(int(request.target.partition("=")[2]), 0.0)
        return Answer(200, "application/json", msgspec.json.encode(keeps))

    async def story(poll: KeepPoll) -> None:
        listed.add(Keep("a" * 32, Kept.ERROR), 0.0)
        assert not poll.is_heard
        await poll.ask()
        assert poll.is_heard
        listed.add(Keep("b" * 32, Kept.SLOW), 0.0)
        await poll.ask()
        await poll.ask()

    assert beside(answer, story) == [Keep("a" * 32, Kept.ERROR), Keep("b" * 32, Kept.SLOW)]
    assert targets == ["/keep?after=0", "/keep?after=6", "/keep?after=7"]


@pytest.mark.parametrize("status", [200, 404, 503])
@pytest.mark.parametrize("body", [b"", b"{}", b'{"next": 1, "traces": [["a", "whim"]]}', b"[" * 500_000])
def test_an_answer_that_is_no_list_is_not_heard(status: int, body: bytes) -> None:
    async def story(poll: KeepPoll) -> None:
        await poll.ask()
        assert not poll.is_heard

    assert beside(lambda request: Answer(status, "application/json", body), story) == []


def test_a_list_that_is_long_in_coming_is_not_waited_for() -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            poll = KeepPoll(Address(host="127.0.0.1", port=mute.getsockname()[1]), lambda keeps: None, 0.05)
            await poll.ask()
            assert not poll.is_heard

    asyncio.run(run())


def test_a_question_that_is_cut_off_anywhere_leaves_the_next_one_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[bool] = []

    async def story(poll: KeepPoll) -> None:
        while len(heard) < 60 or not heard[-1]:  # a busy machine may take more turns to carry the answer over
            cut_off_next(monkeypatch, PATIENT_S, turns=len(heard))
            await poll.ask()
            heard.append(poll.is_heard)
            await poll.ask()
            assert poll.is_heard

    beside(lambda request: Answer(200, "application/json", msgspec.json.encode(Keeps(1, ()))), story)
    assert (heard[0], heard[-1]) == (False, True)


def test_the_last_question_waits_neither_long_nor_for_the_one_before_it() -> None:
    async def run() -> float:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            poll = KeepPoll(Address(host="127.0.0.1", port=mute.getsockname()[1]), lambda keeps: None, PATIENT_S)
            before = asyncio.create_task(poll.ask())
            await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            asked_s = loop.time()
            await poll.ask(0.05)
            took_s = loop.time() - asked_s
            before.cancel()
            await asyncio.wait({before})
            return took_s

    assert asyncio.run(run()) < PATIENT_S / 2
