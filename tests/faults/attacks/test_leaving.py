"""Clients that leave, fall silent or only stop sending: the pod learns of the first, the kernel finds the second."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from pathlib import Path

import pytest
import uvloop

from gateway.dataplane.vanished import ASK_AFTER_S
from tests.fakes.pod import Answering, Seen, echo, never
from tests.faults.attacks.ground import Ground, asked, good_client, ground, request
from tests.faults.sizes import sized
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

LEAVING = sized(50, 10_000)
HALF_CLOSING = sized(50, 1000)
# This test may share the machine with others, and of fifty the 99th in a hundred is the slowest.
LEARNS_WITHIN_S = sized(3000, 500) / 1000
_RESET_AT_CLOSE = struct.pack("ii", 1, 0)
_KEEPALIVE_TIMER = "02"


async def leave(on: Ground, body: bytes, *, reset: bool) -> float:
    """Send a request, leave once the pod has it, and return how long the pod took to learn of it."""
    _, writer = await on.connect()
    writer.write(request(body))
    on.pod.hung_up.clear()
    count = len(asked(on.pod))
    await on.until(lambda: len(asked(on.pod)) > count, "the pod has the request")
    if reset:
        client = writer.get_extra_info("socket")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_CLOSE)
    left_s = time.monotonic()
    writer.transport.abort()
    async with asyncio.timeout(60):
        await on.pod.hung_up.wait()
    return time.monotonic() - left_s


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_f17_a_client_that_leaves_is_cancelled_at_the_pod_and_leaves_nothing(
    reset: bool, tmp_path: Path, figure: Figure
) -> None:
    async def body() -> None:
        async with ground(tmp_path, never) as on:
            await leave(on, b"first", reset=reset)
            sockets = on.worker_sockets
            took_s = sorted([await leave(on, b"%d" % number, reset=reset) for number in range(LEAVING)])
            assert took_s[int(LEAVING * 0.99)] <= LEARNS_WITHIN_S
            await on.until(lambda: on.worker_sockets <= sockets, "nothing is left of them")
            how = "reset" if reset else "closed"
            figure(f"F17: {LEAVING} clients {how}, the pod learns within", f"{took_s[-1] * 1000:.1f} ms at most")

    uvloop.run(body())


def test_f17_a_client_that_leaves_before_its_body_is_whole_never_runs(tmp_path: Path) -> None:
    async def body() -> None:
        async with ground(tmp_path, echo) as on:
            whole = request(b"x" * 1000)
            for kept in range(100, len(whole), len(whole) // 20):
                _, writer = await on.connect()
                writer.write(whole[:kept])
                await writer.drain()
                writer.transport.abort()
            async with good_client(on) as good:
                await on.until(lambda: len(good.took_s) > 3, "others are served")
            assert {seen.body for seen in asked(on.pod)} == {b"{}"}  # the good client's

    uvloop.run(body())


def kept_alive(local_port: int) -> list[str]:
    """Return the timer that runs on each established connection of ours to that port, as the kernel tells it."""
    wanted = f":{local_port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [row[5].partition(":")[0] for row in rows if row[1].endswith(wanted) and row[3] == "01"]


def test_f19_the_kernel_asks_a_silent_client_whether_it_is_there(tmp_path: Path) -> None:
    async def body() -> None:
        async with ground(tmp_path, echo) as on:
            reader, writer = await on.connect()
            writer.write(request(b"{}"))
            await reader.readuntil(b"{}")
            assert set(kept_alive(on.port)) == {_KEEPALIVE_TIMER}, f"no question after {ASK_AFTER_S} s of silence"
            writer.transport.abort()

    uvloop.run(body())


def test_f20_a_client_that_stops_sending_is_answered(tmp_path: Path) -> None:
    async def slowly(seen: Seen, to: Answering) -> None:
        await asyncio.sleep(0.1)
        await echo(seen, to)

    async def half_close(on: Ground, number: int) -> bytes:
        reader, writer = await on.connect()
        writer.write(request(b"%d" % number))
        writer.write_eof()
        answer = await reader.read()
        writer.transport.abort()
        return answer

    async def body() -> None:
        async with ground(tmp_path, slowly) as on:
            answers = await asyncio.gather(*(half_close(on, number) for number in range(HALF_CLOSING)))
            for number, answer in enumerate(answers):
                head, _, told = answer.rpartition(b"\r\n\r\n")
                assert b"HTTP/1.1 200 " in head, answer[:100]
                assert told == b"%d" % number

    uvloop.run(body())
