"""What a gateway logs at its most talkative: how each request ended, as JSON, and nothing that was in it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
import uvloop

from gateway.control.admin.log_routes import PATH
from tests.fakes.pod import Answering, Seen
from tests.system.gateway_alone import GatewayAlone, gateway_alone

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PLANTED = "planted-4f1c9a"
SOON_S = 120.0
_LOOK_EVERY_S = 0.05


async def pod(seen: Seen, answering: Answering) -> None:
    """Answer with a secret of its own; break off where that is asked for."""
    if seen.line.startswith("POST") and b"break" in seen.body:
        return
    body = f"{PLANTED}-answer".encode() if seen.line.startswith("POST") else b""
    answering.write(b"HTTP/1.1 200 OK\r\nx-planted: %b\r\ncontent-length: %d\r\n\r\n" % (body, len(body)) + body)


def requests(key: str) -> list[bytes]:
    """Return requests that carry secrets wherever a request has room for one."""
    body = f"{PLANTED}-body".encode()
    head = f"content-length: {len(body)}\r\ncookie: {PLANTED}-cookie\r\nx-secret: {PLANTED}-header\r\n\r\n".encode()
    path = f"/predictions/digits?token={PLANTED}-query".encode()
    wrong = f"msk_{'a' * 12}_{PLANTED}"
    return [
        b"POST %b HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer %b\r\n%b%b" % (path, key.encode(), head, body),
        b"POST %b HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer %b\r\n%b%b" % (path, wrong.encode(), head, body),
        b"POST /predictions/%b HTTP/1.1\r\nhost: mesh\r\nauthorization: Bearer %b\r\n%b%b"
        % (PLANTED.encode(), key.encode(), head, body),
        b"POST %b HTTP/1.1\r\nhost: %b\r\nx bad: %b\r\n\r\n" % (path, PLANTED.encode(), PLANTED.encode()),
        b"%b\x00\xff\r\n\r\n" % PLANTED.encode(),
    ]


async def send(gateway: GatewayAlone, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(*gateway.address)
    writer.write(data)
    try:
        return await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.transport.abort()


async def change_level(gateway: GatewayAlone, level: str, for_s: float) -> None:
    running = gateway.running()
    async with httpx.AsyncClient(base_url=running.management, trust_env=False, timeout=SOON_S) as client:
        wanted = {"level": level, "for_s": for_s, "reason": "looking"}
        answer = await client.post(PATH, headers={"authorization": f"Bearer {running.token}"}, json=wanted)
        answer.raise_for_status()


def settled(gateway: GatewayAlone) -> list[dict[str, object]]:
    whole, _, _ = gateway.said.rpartition("\n")  # the last line may just be being written
    records = [json.loads(line) for line in whole.splitlines()]
    return [record for record in records if record["event"] == "request.settled"]


async def until_told(gateway: GatewayAlone) -> None:
    """Ask until a worker tells of a request: each heeds a change within a second."""
    async with asyncio.timeout(SOON_S):
        while not settled(gateway):
            await send(gateway, requests(gateway.key)[0])
            await asyncio.sleep(_LOOK_EVERY_S)


async def is_told(gateway: GatewayAlone) -> bool:
    """Send a request; return whether the worker tells of it, soon or never."""
    before = len(settled(gateway))
    await send(gateway, requests(gateway.key)[0])
    await asyncio.sleep(0.5)
    return len(settled(gateway)) > before


def test_at_debug_each_request_is_told_and_nothing_that_was_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_LOG_FORMAT", "auto")

    async def story() -> None:
        async with gateway_alone(tmp_path, pod, workers=1) as gateway:
            assert settled(gateway) == []
            await change_level(gateway, "debug", 600.0)
            await until_told(gateway)
            for data in requests(gateway.key):
                await send(gateway, data)
            async with asyncio.timeout(SOON_S):
                while not {200, 401, 404} <= {record["status"] for record in settled(gateway)}:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(_LOOK_EVERY_S)
            await change_level(gateway, "usual", 1.0)
            told = settled(gateway)
            for record in told:
                assert (record["level"], record["process"], record["role"]) == ("debug", "gateway", "worker 0")
                assert record["request_id"]
            assert PLANTED not in gateway.said
            assert gateway.key not in gateway.said
            assert gateway.running().token not in gateway.said

    uvloop.run(story())


def test_a_level_goes_back_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_LOG_FORMAT", "json")

    async def story() -> None:
        async with gateway_alone(tmp_path, pod, workers=1) as gateway:
            await change_level(gateway, "debug", 2.0)
            await gateway.until_said("of the usual level again")
            async with asyncio.timeout(SOON_S):
                while await is_told(gateway):  # noqa: ASYNC110 - the worker looks once a second
                    await asyncio.sleep(_LOOK_EVERY_S)

    uvloop.run(story())
