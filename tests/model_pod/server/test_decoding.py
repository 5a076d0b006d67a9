"""Decoding beside the loop: in order, counted, and without anybody being told who has left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from model_pod.server.decoding import Decoding
from model_pod.server.dispatch import Dispatcher
from model_pod.server.queue import RequestQueue
from model_pod.wire.refusals import Refused
from tests.model_pod.server.harness import run


def _waits_for(gate: threading.Event, answer: str) -> Callable[[], str]:
    def decode() -> str:
        assert gate.wait(5.0)
        return answer

    return decode


def test_bodies_are_decoded_in_order_and_counted_until_they_are() -> None:
    async def scenario() -> None:
        dispatcher = Dispatcher(RequestQueue(10, 100))
        decoding, gate, told = Decoding(dispatcher), threading.Event(), list[str]()
        for name in ("first", "second"):
            decoding.start(40, _waits_for(gate, name), lambda decoded: told.append(decoded.result()))
        with pytest.raises(Refused, match="as many bytes as it may"):
            decoding.start(40, _waits_for(gate, "third"), lambda decoded: told.append(decoded.result()))
        assert (dispatcher.queue.byte_count, dispatcher.idle.is_set(), told) == (80, False, [])
        gate.set()
        await dispatcher.idle.wait()
        assert (told, dispatcher.queue.byte_count) == (["first", "second"], 0)

    run(scenario())


def test_who_has_left_is_not_told_and_bytes_are_held_while_the_thread_has_them() -> None:
    async def scenario() -> None:
        dispatcher = Dispatcher(RequestQueue(10, 100))
        decoding, gate, begun = Decoding(dispatcher), threading.Event(), threading.Event()
        told, ran = list[str](), list[str]()

        def decode_slowly() -> str:
            begun.set()
            assert gate.wait(5.0)
            raise Refused("malformed_body", "nobody is left to hear this")

        leave_running = decoding.start(40, decode_slowly, lambda decoded: told.append(decoded.result()))
        leave_waiting = decoding.start(40, lambda: ran.append("second"), lambda _: told.append("second"))
        await asyncio.to_thread(begun.wait, 5.0)
        leave_waiting()
        leave_running()
        async with asyncio.timeout(5):
            while dispatcher.queue.byte_count == 80:  # noqa: ASYNC110  the thread pool has no events for tests
                await asyncio.sleep(0)
        assert dispatcher.queue.byte_count == 40
        gate.set()
        await dispatcher.idle.wait()
        assert (told, ran, dispatcher.queue.byte_count) == ([], [], 0)

    run(scenario())
