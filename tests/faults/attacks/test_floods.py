"""Clients that send too much: refused before it is read, at a bounded cost of memory and processor time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from tests.fakes.pod import Answering, Seen, echo
from tests.faults.attacks.ground import FIELDS, Ground, asked, good_client, ground, request
from tests.faults.gateway import PATH
from tests.faults.sizes import sized
from tests.system.conftest import Figure

pytestmark = [pytest.mark.system, pytest.mark.timeout(1800)]

FLOODS = sized(10, 100)
# A scripted pod reads chunks far more slowly than the gateway does.
CHUNK_FLOODS = sized(1, 100)
CHUNKS = 1_000_000
MOST_GROWTH_BYTES = 2**20
MOST_CPU_S = 0.05
CHURN = sized(1000, 200_000)
CHURN_AT_A_TIME = 16
_CHUNKS_PER_WRITE = 10_000
_LINE = b"POST %b HTTP/1.1\r\n" % PATH.encode()


async def chunks_without_end(on: Ground) -> bytes:
    """Send a million chunks of a byte, as far as they are taken; return the answer."""
    reader, writer = await on.connect()
    writer.write(_LINE + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n")
    answering = asyncio.ensure_future(reader.read())
    try:
        for _ in range(CHUNKS // _CHUNKS_PER_WRITE):
            if answering.done():
                break
            writer.write(b"1\r\nx\r\n" * _CHUNKS_PER_WRITE)
            await writer.drain()
    except ConnectionError:
        pass  # it was refused long ago
    try:
        return await answering
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def test_f15_a_million_chunks_are_refused_and_leave_nothing_behind(tmp_path: Path, figure: Figure) -> None:
    async def body() -> None:
        async with ground(tmp_path, echo) as on:
            await chunks_without_end(on)  # what the worker keeps for later is not of one attack
            before_bytes = on.worker_bytes
            async with good_client(on):
                for _ in range(CHUNK_FLOODS):
                    answer = await chunks_without_end(on)
                    assert answer.startswith(b"HTTP/1.1 413 "), answer[:100]
                    assert b"penstock-reason: body_too_large" in answer
            growth_bytes = on.worker_bytes - before_bytes
            assert growth_bytes < MOST_GROWTH_BYTES
            assert {seen.body for seen in asked(on.pod)} == {b"{}"}  # the good client's
            figure(f"F15: {CHUNK_FLOODS} x {CHUNKS} chunks, memory left", f"{growth_bytes / 1024:.0f} KiB")

    uvloop.run(body())


def test_f15_a_body_of_10_gib_is_refused_before_a_byte_of_it_is_read(tmp_path: Path) -> None:
    head = _LINE + FIELDS + b"Content-Length: 10737418240\r\n"

    async def body() -> None:
        async with ground(tmp_path, echo) as on:
            answers = [
                await on.exchange(head + b"\r\n"),
                await on.exchange(head + b"Expect: 100-continue\r\n\r\n"),
            ]
            for answer in answers:
                assert answer.startswith(b"HTTP/1.1 413 "), answer[:100]
            assert asked(on.pod) == []

    uvloop.run(body())


FLOODED = {
    "ten thousand fields": (_LINE + FIELDS + b"X-A: a\r\n" * 10_000 + b"\r\n", b"431"),
    "a field of 1 MiB": (_LINE + FIELDS + b"X-A: " + b"a" * 2**20 + b"\r\n\r\n", b"431"),
    "a target of 64 KiB": (b"POST /" + b"a" * 2**16 + b" HTTP/1.1\r\n" + FIELDS + b"\r\n", b"414"),
    "a line between chunks without end": (
        _LINE + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n1;a=" + b"b" * 2**20,
        b"400",
    ),
    "trailers without end": (
        _LINE + FIELDS + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: a\r\n" * 100_000,
        b"431",
    ),
    "blank lines without end": (b"\r\n" * 2**19, b"400"),
}


@pytest.mark.parametrize(("data", "status"), FLOODED.values(), ids=FLOODED.keys())
def test_f16_a_flood_in_a_head_costs_little(data: bytes, status: bytes, tmp_path: Path, figure: Figure) -> None:
    async def body() -> None:
        async with ground(tmp_path, echo) as on:
            before_s = on.worker_cpu_s
            for _ in range(FLOODS):
                answer = await on.exchange(data)
                assert answer.startswith(b"HTTP/1.1 %b " % status), answer[:100]
                assert b"\r\nconnection: close\r\n" in answer
            cpu_s = (on.worker_cpu_s - before_s) / FLOODS
            assert cpu_s < MOST_CPU_S
            assert asked(on.pod) == []
            figure(f"F16: {data[:6]!r}... of {len(data)} bytes, CPU of each", f"{cpu_s * 1000:.1f} ms")

    uvloop.run(body())


def test_f21_fifty_pipelined_requests_are_answered_in_order_up_to_the_invalid_one(tmp_path: Path) -> None:
    slow, invalid = 10, 40
    requests = [request(b"%d" % number) for number in range(50)]
    requests[invalid] = request(b"x", b"Content-Length: 1")

    async def slow_once(seen: Seen, to: Answering) -> None:
        if seen.body == b"%d" % slow:
            await asyncio.sleep(0.2)
        await echo(seen, to)

    async def body() -> None:
        async with ground(tmp_path, slow_once) as on:
            answers = (await on.exchange(b"".join(requests))).split(b"HTTP/1.1 ")[1:]
            assert [answer.partition(b" ")[0] for answer in answers] == [b"200"] * invalid + [b"400"]
            bodies = [answer.partition(b"\r\n\r\n")[2] for answer in answers]
            assert bodies[:invalid] == [b"%d" % number for number in range(invalid)]
            assert [seen.body for seen in asked(on.pod)] == bodies[:invalid]

    uvloop.run(body())


def test_f24_short_connections_are_all_answered_and_few_connections_to_the_pod_serve_them(
    tmp_path: Path, figure: Figure
) -> None:
    async def churn(on: Ground, count: int, on_failure: Callable[[bytes], None]) -> None:
        for _ in range(count):
            answer = await on.exchange(request(b"{}", b"Connection: close"))
            if not answer.startswith(b"HTTP/1.1 200 "):
                on_failure(answer)

    async def body() -> None:
        failures: list[bytes] = []
        async with ground(tmp_path, echo) as on:
            sockets = on.worker_sockets
            each = CHURN // CHURN_AT_A_TIME
            await asyncio.gather(*(churn(on, each, failures.append) for _ in range(CHURN_AT_A_TIME)))
            assert failures == []
            assert len(asked(on.pod)) == each * CHURN_AT_A_TIME
            assert len(on.pod.connections) <= 2 * CHURN_AT_A_TIME
            await on.until(lambda: on.worker_sockets <= sockets + CHURN_AT_A_TIME, "the sockets are gone")
            figure(f"F24: {CHURN} short connections, connections to the pod", str(len(on.pod.connections)))

    uvloop.run(body())
