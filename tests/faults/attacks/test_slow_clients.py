"""Clients that send slowly or read slowly: each is bounded in time and memory, and the others notice nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
import uvloop

from gateway.dataplane.pace import MIN_BODY_BYTES_PER_S
from tests.fakes.pod import Answering, Seen, echo
from tests.faults.attacks.ground import FIELDS, Ground, asked, good_client, ground, request
from tests.faults.gateway import PATH
from tests.faults.sizes import IS_FULL, sized
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

SLOW_HEADS = sized(100, 1000)
SLOW_BODIES = sized(60, 500)
SLOW_READERS = sized(20, 500)
ANSWER_BYTES = 10 * 2**20
BYTES_PER_SLOW_HEAD = 64 * 1024
BYTES_PER_SLOW_READER = 128 * 1024
# Of a worker that has been idle: its first hundred connections make it grow by what it keeps for the next.
USUAL_GROWTH_BYTES = 4 * 2**20
HEADER_S = 10.0 if IS_FULL else 4.0
BODY_S = 15.0 if IS_FULL else 2.0
BOUNDS = f"header_timeout: {HEADER_S:g}s, body_timeout: {BODY_S:g}s"
# So much of a body has come that it keeps its pace for 20 s: what is judged is that it stands still.
BODY_BEGUN = b"a" * 20 * MIN_BODY_BYTES_PER_S
# The wheel looks as often as the shortest wait is long, so a time-out comes after twice its length at the latest, and
# later on a busy machine.
LATE = 5.0
_PIECE = bytes(64 * 1024)


async def slowly(on: Ground, begun: bytes, rest: bytes, every_s: float) -> tuple[bytes, float]:
    """Send a beginning, then a byte now and then; return the answer, and when it came after the beginning."""
    begun_s = time.monotonic()  # the gateway may have the connection before we hear of it
    reader, writer = await on.connect()
    writer.write(begun)
    sending = asyncio.create_task(_send_slowly(writer, rest, every_s))
    try:
        return await reader.read(), time.monotonic() - begun_s
    finally:
        sending.cancel()
        writer.transport.abort()


async def _send_slowly(writer: asyncio.StreamWriter, rest: bytes, every_s: float) -> None:
    for at in range(len(rest)):
        await asyncio.sleep(every_s)
        writer.write(rest[at : at + 1])


def test_f12_heads_that_never_end_are_refused_and_cost_others_nothing(tmp_path: Path, figure: Figure) -> None:
    async def body() -> None:
        async with ground(tmp_path, echo, BOUNDS) as on:
            before_bytes, sockets = on.worker_bytes, on.worker_sockets
            async with good_client(on) as good:
                begun = b"POST %b HTTP/1.1\r\n" % PATH.encode()
                heads = [slowly(on, begun, b"X-A: " + b"a" * 1000, HEADER_S / 4) for _ in range(SLOW_HEADS)]
                answering = asyncio.gather(*heads)
                await on.until(lambda: on.worker_sockets >= sockets + SLOW_HEADS, "all slow heads have begun")
                growth_bytes = on.worker_bytes - before_bytes
                answers = await answering
            for answer, took_s in answers:
                assert answer.startswith(b"HTTP/1.1 408 "), answer[:100]
                assert b"penstock-reason: head_too_slow" in answer
                assert HEADER_S <= took_s <= HEADER_S * LATE
            assert growth_bytes <= SLOW_HEADS * BYTES_PER_SLOW_HEAD + USUAL_GROWTH_BYTES
            await on.until(lambda: on.worker_sockets <= sockets + 2, "every slow connection is gone")
            figure(f"F12: {SLOW_HEADS} slow heads, p99 of others", f"{good.p99_s * 1000:.1f} ms")
            figure(f"F12: {SLOW_HEADS} slow heads, memory of each", f"{growth_bytes / SLOW_HEADS / 1024:.1f} KiB")

    uvloop.run(body())


def test_f13_bodies_that_stand_still_are_refused_and_never_run(tmp_path: Path, figure: Figure) -> None:
    head = b"POST %b HTTP/1.1\r\n%bContent-Length: 1048576\r\n\r\n" % (PATH.encode(), FIELDS)

    async def body() -> None:
        async with ground(tmp_path, echo, BOUNDS) as on:
            async with good_client(on) as good:
                answers = await asyncio.gather(*(slowly(on, head + BODY_BEGUN, b"", 1.0) for _ in range(SLOW_BODIES)))
            for answer, took_s in answers:
                assert answer.startswith(b"HTTP/1.1 408 "), answer[:100]
                assert b"penstock-reason: body_too_slow" in answer
                assert b"nothing of the body came" in answer
                assert BODY_S <= took_s <= BODY_S * LATE
            assert {seen.body for seen in asked(on.pod)} == {b"{}"}  # the good client's
            figure(f"F13: {SLOW_BODIES} slow bodies, p99 of others", f"{good.p99_s * 1000:.1f} ms")

    uvloop.run(body())


@pytest.mark.skipif(not IS_FULL, reason="a body falls behind only after 10 s; PENSTOCK_FAULTS=full runs it")
def test_f13_bodies_that_drip_are_refused_for_their_pace(tmp_path: Path) -> None:
    head = b"POST %b HTTP/1.1\r\n%bContent-Length: 1048576\r\n\r\n" % (PATH.encode(), FIELDS)

    async def body() -> None:
        async with ground(tmp_path, echo) as on:
            answers = await asyncio.gather(*(slowly(on, head, b"a" * 100, 1.0) for _ in range(SLOW_BODIES)))
            assert all(b"penstock-reason: body_too_slow" in answer for answer, _ in answers)
            assert asked(on.pod) == []

    uvloop.run(body())


def test_f14_readers_that_stop_hold_the_pod_back_and_cost_little(tmp_path: Path, figure: Figure) -> None:
    sent_bytes = 0

    async def large(seen: Seen, to: Answering) -> None:
        nonlocal sent_bytes
        if seen.body == b"{}":
            await echo(seen, to)
            return
        to.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % ANSWER_BYTES)
        for _ in range(ANSWER_BYTES // len(_PIECE)):
            await to.drain()
            to.write(_PIECE)
            sent_bytes += len(_PIECE)

    async def body() -> None:
        async with ground(tmp_path, large) as on:
            before_bytes = on.worker_bytes
            writers = []
            async with good_client(on) as good:
                for _ in range(SLOW_READERS):
                    _, writer = await on.connect()
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport of sockets has it
                    writer.write(request(b"large"))
                    writers.append(writer)
                await on.until(lambda: len(asked(on.pod)) >= SLOW_READERS, "all of them are being answered")
                await still(on)
                growth_bytes = on.worker_bytes - before_bytes
                assert sent_bytes < SLOW_READERS * ANSWER_BYTES, "nothing held the pod back"
            assert growth_bytes <= SLOW_READERS * BYTES_PER_SLOW_READER + USUAL_GROWTH_BYTES
            for writer in writers:
                writer.transport.abort()
            figure(f"F14: {SLOW_READERS} slow readers, memory of each", f"{growth_bytes / SLOW_READERS / 1024:.1f} KiB")
            figure(f"F14: {SLOW_READERS} slow readers, p99 of others", f"{good.p99_s * 1000:.1f} ms")

    uvloop.run(body())


async def still(on: Ground) -> None:
    """Wait until the worker's memory does not change any more."""
    was_bytes = -1
    while (now_bytes := on.worker_bytes) != was_bytes:
        was_bytes = now_bytes
        await asyncio.sleep(0.5)
