"""Answers that come in pieces, from a scripted inference process through the true pod server to raw clients."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from model_pod.server.http import HttpConnection
from model_pod.server.opened_model import OpenedModel
from model_pod.server.request_span import RequestSpans
from model_pod.wire.frames import Buffer
from model_pod.wire.inference import (
    PIECE_BYTES,
    STREAM_WINDOW_BYTES,
    Cut,
    FromInference,
    Gone,
    Partial,
    Piece,
    Run,
    Taken,
)
from model_pod.wire.rows import Row, RowAnswer, RowOutcome, RowRefused
from telemetry.record import Recorder
from telemetry.records import PodRequest, Source
from tests.fakes.inference_process import FakeInference
from tests.fakes.sidecar import FakeSidecar
from tests.model_pod.server.harness import CONFIG, MODEL, Client, Served, run, served
from tests.model_pod.server.test_dispatch import SIGNATURE

HEAD = RowAnswer(content_type="text/event-stream", headers=(("x-model", "m"),))
PATH = "/predictions/digits"
Scenario = Callable[[Served, FakeInference], Awaitable[None]]


def scene(scenario: Scenario, model: OpenedModel = MODEL, spans: RequestSpans | None = None) -> None:
    """Run a scenario with a pod that is ready."""

    async def body() -> None:
        async with served(lambda _: model, CONFIG, spans=spans) as pods:
            await scenario(pods, await pods.loaded())

    run(body())


async def give(fake: FakeInference, batch_id: int, pieces: dict[int, bytes], head: RowAnswer | None = None) -> None:
    """Send a piece to each of these rows."""
    sent = [
        Piece(row, blob, None if head is None else msgspec.structs.replace(head, blob=blob))
        for blob, row in enumerate(pieces)
    ]
    await fake.send(Partial(batch_id, tuple(sent)), list(pieces.values()))


def ends_with(last: bytes) -> Callable[[Row, Sequence[Buffer]], tuple[RowOutcome, Sequence[Buffer]]]:
    """Return a handler that answers every row so."""
    return lambda _, __: (RowAnswer(blob=0), [last])


async def asked(pods: Served, fake: FakeInference, *fields: str) -> tuple[list[Client], Run, list[memoryview]]:
    """Let clients ask, each with its own fields, until they share a batch."""
    clients = [await pods.client() for _ in fields]
    for client, mine in zip(clients, fields, strict=True):
        client.request(PATH, b"hello", mine)
    batch, blobs = await fake.received_run()
    assert len(batch.rows) == len(fields)
    return clients, batch, blobs


async def read_head(client: Client) -> bytes:
    """Read the head of an answer."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await client.part(1)
    return head


def test_pieces_are_chunks_and_the_connection_goes_on() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        (client,), batch, blobs = await asked(pods, fake, "")
        await give(fake, batch.batch_id, {0: b"one "}, HEAD)
        head = await read_head(client)
        assert head.startswith(b"HTTP/1.1 200 OK\r\nx-model: m\r\ncontent-type: text/event-stream\r\n")
        assert b"\r\nserver-timing: queue;dur=" in head
        assert b"\r\ntransfer-encoding: chunked\r\n" in head
        assert b"content-length" not in head
        assert await client.part(9) == b"4\r\none \r\n"
        await give(fake, batch.batch_id, {0: b""})
        await give(fake, batch.batch_id, {0: b"two"})
        assert await client.part(8) == b"3\r\ntwo\r\n"
        await fake.answer(batch, blobs, ends_with(b"last"))
        assert await client.part(14) == b"4\r\nlast\r\n0\r\n\r\n"
        assert (await client.exchange("/ping", method="GET")).status == 200

    scene(scenario)


def test_a_client_without_chunks_reads_until_the_end() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await pods.client()
        client.send(f"POST {PATH} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n".encode())
        batch, blobs = await fake.received_run()
        await give(fake, batch.batch_id, {0: b"one "}, HEAD)
        await fake.answer(batch, blobs, ends_with(b"last"))
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head
        assert b"connection: close" in head
        assert body == b"one last"

    scene(scenario)


def test_a_client_without_chunks_is_reset_when_its_stream_is_cut() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await pods.client()
        client.send(f"POST {PATH} HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
        batch, blobs = await fake.received_run()
        await give(fake, batch.batch_id, {0: b"one "}, HEAD)
        await read_head(client)
        await fake.answer(batch, blobs, lambda _, __: (RowRefused("handler_failed", "why"), []))
        with pytest.raises(ConnectionResetError):
            await client.rest()

    scene(scenario)


def test_a_stream_that_is_cut_does_not_end_and_its_batch_mate_does() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        clients, batch, blobs = await asked(pods, fake, "", "")
        await give(fake, batch.batch_id, {0: b"a", 1: b"b"}, HEAD)
        await fake.send(Cut(batch.batch_id, 0, "reader_too_slow", "why"))
        await read_head(clients[0])
        assert await clients[0].rest() == b"1\r\na\r\n"
        await fake.answer(batch, blobs, ends_with(b""))
        await read_head(clients[1])
        assert await clients[1].part(11) == b"1\r\nb\r\n0\r\n\r\n"

    scene(scenario)


def test_a_row_that_is_cut_before_its_first_piece_is_refused() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        (client,), batch, _ = await asked(pods, fake, "")
        await fake.send(Cut(batch.batch_id, 0, "reader_too_slow", "why"))
        assert (await client.answer()).status == 408

    scene(scenario)


def test_how_a_cut_stream_ended_is_recorded(tmp_path: Path) -> None:
    sidecar = FakeSidecar(tmp_path / "records")
    recorder = Recorder(str(sidecar.path), Source("penstock-pod", "digits/1", 7, "digits", "1"))

    async def scenario(pods: Served, fake: FakeInference) -> None:
        (client,), batch, blobs = await asked(pods, fake, "")
        await give(fake, batch.batch_id, {0: b"a"}, HEAD)
        await fake.answer(batch, blobs, lambda _, __: (RowRefused("handler_failed", "why"), []))
        await read_head(client)
        await client.rest()

    scene(scenario, spans=RequestSpans(recorder, 20.0))
    recorder.close()
    (request,) = [record for record in sidecar.records() if isinstance(record, PodRequest)]
    sidecar.close()
    assert (request.status, request.reason, request.parts[0].device_us) == (200, "handler_failed", 2000)


def test_a_process_that_dies_cuts_what_it_streamed_and_the_next_one_is_not_asked_again() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        (client,), batch, _ = await asked(pods, fake, "")
        await give(fake, batch.batch_id, {0: b"a"}, HEAD)
        await read_head(client)
        fake.die()
        assert await client.rest() == b"1\r\na\r\n"
        await pods.loaded()
        assert pods.pod.dispatcher.row_count == 0

    scene(scenario)


def test_the_handler_is_told_whose_caller_left_also_before_its_batch_begins() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        first, running, blobs = await asked(pods, fake, "", "")
        second, ready, _ = await asked(pods, fake, "")
        await give(fake, running.batch_id, {1: b"a"}, HEAD)
        await read_head(first[1])
        await first[1].close()
        assert (await fake.received())[0] == Gone(running.batch_id, (1,))
        await second[0].close()
        assert (await fake.received())[0] == Gone(ready.batch_id, (0,))
        await give(fake, running.batch_id, {1: b"nobody reads it"})
        await fake.answer(running, blobs, ends_with(b"last"))
        assert (await first[0].answer()).body == b"last"

    scene(scenario)


def test_a_deadline_cuts_what_has_begun() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        clients, batch, _ = await asked(pods, fake, "", "penstock-timeout-ms: 1000\r\n")
        await give(fake, batch.batch_id, {0: b"a", 1: b"b"}, HEAD)
        await read_head(clients[1])
        assert await clients[1].rest() == b"1\r\nb\r\n"
        assert (await fake.received())[0] == Gone(batch.batch_id, (1,))
        await give(fake, batch.batch_id, {0: b"more"})
        await read_head(clients[0])
        assert await clients[0].part(15) == b"1\r\na\r\n4\r\nmore\r\n"

    scene(scenario)


def test_a_head_that_cannot_be_sent_refuses_the_request_and_ends_its_stream() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        (client,), batch, blobs = await asked(pods, fake, "")
        await give(fake, batch.batch_id, {0: b"a"}, RowAnswer(headers=(("x", "a\r\nforged: yes"),)))
        assert (await client.answer()).headers["penstock-reason"] == "bad_output"
        assert (await fake.received())[0] == Gone(batch.batch_id, (0,))
        await fake.answer(batch, blobs, ends_with(b""))

    scene(scenario)


def test_a_reader_gives_credit_by_reading() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        _, batch, _ = await asked(pods, fake, "", "")
        await give(fake, batch.batch_id, {0: b"x" * (PIECE_BYTES - 1), 1: b"y" * PIECE_BYTES}, HEAD)
        assert (await fake.received())[0] == Taken(batch.batch_id, 1, PIECE_BYTES)
        await give(fake, batch.batch_id, {0: b"xx"})
        assert (await fake.received())[0] == Taken(batch.batch_id, 0, PIECE_BYTES + 1)

    scene(scenario)


def _wrong(batch: Run) -> list[FromInference]:
    piece = Piece(0, 0, HEAD)
    return [
        Partial(batch.batch_id + 1, (piece,)),
        Partial(batch.batch_id, (Piece(5, 0, HEAD),)),
        Partial(batch.batch_id, (Piece(0, 0),)),
        Cut(batch.batch_id, 5, "reader_too_slow", "why"),
    ]


@pytest.mark.parametrize("number", range(4))
def test_a_piece_that_belongs_nowhere_ends_the_process(number: int) -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        (client,), batch, _ = await asked(pods, fake, "")
        wrong = _wrong(batch)[number]
        await fake.send(wrong, [b"x"] if isinstance(wrong, Partial) else [])
        assert (await client.answer()).headers["penstock-reason"] == "inference_lost"
        assert fake.was_killed

    scene(scenario)


def test_a_piece_for_a_row_of_tensors_ends_the_process() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await pods.client()
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [0.5]}
        client.request("/v2/models/digits/infer", msgspec.json.encode({"inputs": [tensor]}))
        batch, _ = await fake.received_run()
        await give(fake, batch.batch_id, {0: b"x"}, HEAD)
        assert (await client.answer()).status == 502

    scene(scenario, replace(MODEL, signature=SIGNATURE))


def test_a_handler_that_waits_for_a_reader_or_still_sends_is_not_hung() -> None:
    limit_s = 1.5  # a loaded machine may be a fifth of it late

    async def scenario(pods: Served, fake: FakeInference) -> None:
        began_s = time.monotonic()
        (client,), batch, _ = await asked(pods, fake, "")
        await pods.until(lambda: time.monotonic() > began_s + 0.7 * limit_s)
        await give(fake, batch.batch_id, {0: b"a"}, HEAD)
        await read_head(client)
        await pods.until(lambda: time.monotonic() > began_s + 1.4 * limit_s)
        assert not fake.was_killed
        assert await client.rest() == b"1\r\na\r\n"
        assert fake.was_killed

    scene(scenario, replace(MODEL, response_timeout_s=limit_s))


def test_what_a_reader_is_too_slow_for_waits_and_is_bounded_by_its_credit() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            await loop.sock_connect(slow, ("127.0.0.1", pods.port))
            await loop.sock_sendall(slow, f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode())
            batch, blobs = await fake.received_run()
            (connection,) = pods.edge.connections
            assert isinstance(connection, HttpConnection)
            sent, untaken, is_first = 0, 0, True
            # Until a window lies untaken the reader's socket takes everything.
            while untaken + PIECE_BYTES <= STREAM_WINDOW_BYTES:
                await give(fake, batch.batch_id, {0: b"x" * PIECE_BYTES}, HEAD if is_first else None)
                is_first = False
                sent, untaken = sent + PIECE_BYTES, untaken + PIECE_BYTES
                try:
                    message, _ = await asyncio.wait_for(fake.received(), 0.2)
                    assert isinstance(message, Taken)
                    untaken -= message.byte_count
                except TimeoutError:
                    continue
            assert 0 < connection.unread_bytes <= STREAM_WINDOW_BYTES
            await fake.answer(batch, blobs, ends_with(b"last"))
            got = b""
            while not got.endswith(b"0\r\n\r\n"):
                got += await loop.sock_recv(slow, 2**20)
        assert got.count(b"x") == sent + got.partition(b"\r\n\r\n")[0].count(b"x")

    scene(scenario)


def test_a_request_for_the_head_alone_gets_no_piece_and_the_connection_goes_on() -> None:
    async def scenario(pods: Served, fake: FakeInference) -> None:
        client = await pods.client()
        client.request(PATH, b"", method="HEAD")
        batch, blobs = await fake.received_run()
        large = bytes(PIECE_BYTES)
        await give(fake, batch.batch_id, {0: b"HTTP/1.1 200 OK\r\n\r\n"}, HEAD)
        await give(fake, batch.batch_id, {0: large})
        assert isinstance((await fake.received())[0], Taken)
        await fake.answer(batch, blobs, ends_with(b"two"))
        head = await client.answer(is_head=True)
        assert (head.status, head.headers["content-type"]) == (200, "text/event-stream")
        assert (await client.exchange("/v2/health/live", method="GET")).json == {"live": True}

    scene(scenario)
