"""What the bodies of all requests of a worker may hold: taken when a head is read, given back however it ends."""

from __future__ import annotations

import asyncio
import json

from hypothesis import given
from hypothesis import strategies as st

from gateway.dataplane.bodies import Bodies
from gateway.decide.pressure import HELD_OF_BODY_BYTES, SMALL_BODY_BYTES
from tests.fakes.pod import die, echo, never
from tests.gateway.dataplane.mesh import Mesh, in_mesh, post

LARGE = bytes(SMALL_BODY_BYTES * 2)
HEAD_OF_1_MIB = post(body=bytes(2**20)).partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
HEAD_OF_CHUNKS = HEAD_OF_1_MIB.replace(b"Content-Length: 1048576", b"Transfer-Encoding: chunked")


@given(st.integers(0, 1000), st.lists(st.integers(1, 1000)))
def test_more_than_the_room_is_held_only_by_one_alone(room_bytes: int, bodies: list[int]) -> None:
    held, taken = Bodies(), list[int]()
    held.room_bytes = room_bytes
    for body in bodies:
        if held.take(body) is None:
            taken.append(body)
        assert held.held_bytes == sum(taken)
        assert held.held_bytes <= room_bytes or len(taken) == 1
    for body in taken:
        held.give(body)
    assert held.held_bytes == 0


async def _held(mesh: Mesh, byte_count: int) -> None:
    while mesh.gateway.bodies.held_bytes != byte_count:  # noqa: ASYNC110  what a caller does is noticed by the loop
        await asyncio.sleep(0)


def test_bodies_beyond_the_room_are_refused_when_their_heads_are_read_and_small_ones_are_not() -> None:
    async def body(mesh: Mesh) -> None:
        mesh.gateway.bodies.room_bytes = 2 * HELD_OF_BODY_BYTES
        coming = [await mesh.connect() for _ in range(2)]
        for caller, head in zip(coming, (HEAD_OF_1_MIB, HEAD_OF_CHUNKS), strict=True):
            caller.writer.write(head)
        await _held(mesh, 2 * HELD_OF_BODY_BYTES)
        refused = await mesh.ask(post(body=LARGE))
        assert (refused.status, json.loads(refused.body)["reason"]) == (503, "overload_memory")
        assert "retry-after" in refused.fields
        assert (await mesh.ask(post())).status == 200
        coming[0].writer.transport.abort()
        await _held(mesh, HELD_OF_BODY_BYTES)
        assert (await mesh.ask(post(body=LARGE))).status == 200
        coming[1].writer.write(b"2\r\n{}\r\n0\r\n\r\n")
        assert (await coming[1].answer()).status == 200
        await _held(mesh, 0)

    in_mesh(body, echo)


def test_however_a_request_ends_it_holds_nothing_any_more() -> None:
    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(post(body=LARGE, key="msk_unknown"))).status == 401
        assert (await mesh.ask(post(body=LARGE))).status == 502
        assert mesh.gateway.bodies.held_bytes == 0

    in_mesh(body, die)


def test_while_the_room_is_gone_one_large_body_at_a_time_is_served() -> None:
    async def body(mesh: Mesh) -> None:
        mesh.gateway.bodies.room_bytes = 0
        first = await mesh.connect()
        first.writer.write(post(body=LARGE))
        await _held(mesh, len(LARGE))
        assert (await mesh.ask(post(body=LARGE))).status == 503
        first.writer.transport.abort()
        await _held(mesh, 0)

    in_mesh(body, never)
