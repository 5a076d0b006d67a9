"""A gateway that is told to stop answers everything that it took, streams included, and leaves in time.

PENSTOCK_DRAINS makes so many rounds at full size: 500 requests in flight and 50 open streams.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
import uvloop

from tests.fakes.pod import Answering, Seen
from tests.system.conftest import Figure
from tests.system.gateway_alone import GatewayAlone, gateway_alone

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("PENSTOCK_DRAINS", "0"))
WHOLE, STREAMS = (500, 50) if ROUNDS else (60, 10)
# A request takes so long at the pod that every one of them is in flight when the gateway is told to stop.
TOLD_AFTER_S = 1.0
WHOLE_S = 5.0
PIECES = 40
PIECE_EVERY_S = 0.15
# Whoever asks for readiness meanwhile is told, however busy the machine is; all of the above takes longer than this.
DELAY_S = 3.0
WITHIN_S = 30.0


async def pod(seen: Seen, answering: Answering) -> None:
    """Be ready; answer a request late, or piece by piece, or for ever."""
    if not seen.line.startswith("POST"):
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
    elif seen.body.startswith(b"whole"):
        await asyncio.sleep(WHOLE_S)
        answering.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(seen.body), seen.body))
    else:
        answering.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: text/plain\r\n\r\n")
        pieces = PIECES if seen.body.startswith(b"stream") else 10_000
        for _ in range(pieces):
            answering.write(b"%x\r\n%b\r\n" % (len(seen.body), seen.body))
            await asyncio.sleep(PIECE_EVERY_S)
        answering.write(b"0\r\n\r\n")


async def ask(gateway: GatewayAlone, body: bytes) -> bytes:
    """Return everything that comes back until the gateway closes, or the answer is whole."""
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(gateway.request(body))
    answer = await reader.readuntil(b"\r\n\r\n")
    try:
        if b"chunked" in answer.lower():
            while not answer.endswith(b"0\r\n\r\n") and (piece := await reader.read(65536)):
                answer += piece
        else:
            answer += await reader.readexactly(len(body))
    finally:
        writer.transport.abort()
    return answer


async def whole(gateway: GatewayAlone, number: int) -> bytes:
    """Return what came instead of the right answer, b"" when that came."""
    body = b"whole-%d" % number
    answer = await ask(gateway, body)
    return b"" if answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(body) else answer


async def stream(gateway: GatewayAlone, number: int) -> bytes:
    """Do the same with an answer in pieces."""
    body = b"stream-%d;" % number
    answer = await ask(gateway, body)
    is_whole = answer.count(body) == PIECES and answer.endswith(b"0\r\n\r\n")
    return b"" if answer.startswith(b"HTTP/1.1 200 ") and is_whole else answer


async def readiness(gateway: GatewayAlone) -> bytes:
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(b"GET /readyz HTTP/1.1\r\nhost: mesh\r\n\r\n")
    line = await reader.readline()
    writer.transport.abort()
    return line


async def drained(home: Path) -> tuple[list[bytes], float]:
    """Stop a gateway in the middle of its work; return what came of the requests, and how long it took to end."""
    options = ("--drain-delay-s", str(DELAY_S), "--drain-within-s", str(WITHIN_S))
    async with gateway_alone(home, pod, *options) as gateway:
        under_way = [asyncio.create_task(whole(gateway, number)) for number in range(WHOLE)]
        under_way += [asyncio.create_task(stream(gateway, number)) for number in range(STREAMS)]
        await asyncio.sleep(TOLD_AFTER_S)
        told_s = time.monotonic()
        gateway.signal(signal.SIGTERM)
        while (await readiness(gateway)).startswith(b"HTTP/1.1 200 "):  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.02)
        assert time.monotonic() - told_s < DELAY_S  # it is still accepting, and says that it will not for long
        late = asyncio.create_task(whole(gateway, WHOLE))
        outcomes = await asyncio.gather(*under_way, late)
        assert await gateway.ended() == 0
        return outcomes, time.monotonic() - told_s


@pytest.mark.parametrize("number", range(max(1, ROUNDS)))
def test_nothing_that_was_taken_fails_when_the_gateway_is_told_to_stop(
    number: int, tmp_path_factory: pytest.TempPathFactory, figure: Figure
) -> None:
    outcomes, took_s = uvloop.run(drained(tmp_path_factory.mktemp("d")))
    assert len(outcomes) == WHOLE + STREAMS + 1
    assert [outcome for outcome in outcomes if outcome] == []
    assert took_s < WITHIN_S
    figure(
        f"SIGTERM with {WHOLE} in flight and {STREAMS} streams, round {number}", f"failed 0, ended in {took_s:.1f} s"
    )


def test_a_stream_without_an_end_is_cut_when_its_time_is_over(tmp_path_factory: pytest.TempPathFactory) -> None:
    async def story(home: Path) -> None:
        async with gateway_alone(home, pod, "--drain-within-s", "1") as gateway:
            reader, writer = await asyncio.open_connection(*gateway.address)
            writer.write(gateway.request(b"endless"))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            gateway.signal(signal.SIGTERM)
            answer = await reader.read()
            writer.transport.abort()
            assert not answer.endswith(b"0\r\n\r\n")  # no end that looks like one
            assert await gateway.ended() == 0

    uvloop.run(story(tmp_path_factory.mktemp("d")))
