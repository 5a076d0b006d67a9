"""Whole requests are read from bytes however they are cut, and over true connections everything is bounded."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar import http as http_module
from telemetry.sidecar.http import (
    BODY_BYTES,
    HEAD_BYTES,
    Answer,
    Listener,
    Reading,
    Refused,
    Request,
    plain,
    written,
)

Port = int

THREE = (
    b"POST /v1/traces?a=b HTTP/1.1\r\nContent-Type: x\r\ncontent-length: 5\r\nx-a: 1\r\nX-A: 2\r\n\r\nhello"
    b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n"
)
READ = [
    Request(
        "POST", "/v1/traces?a=b", {"content-type": "x", "content-length": "5", "x-a": "1, 2"}, b"hello", is_last=False
    ),
    Request("POST", "/c", {"transfer-encoding": "chunked"}, b"abc", is_last=False),
    Request("GET", "/metrics", {"connection": "close"}, b"", is_last=True),
]


def all_of(reading: Reading) -> list[Request]:
    found = []
    while request := reading.next():
        found.append(request)
    return found


@given(st.lists(st.integers(0, len(THREE))))
def test_requests_are_read_however_their_bytes_are_cut(cuts: list[int]) -> None:
    reading, found = Reading(), []
    edges = [0, *sorted(cuts), len(THREE)]
    for start, end in pairwise(edges):
        if end > start:
            reading.feed(THREE[start:end])
        found += all_of(reading)
    assert found == READ
    assert reading.is_between


def refusal(*pieces: bytes) -> HTTPStatus | None:
    reading = Reading()
    try:
        for piece in pieces:
            reading.feed(piece)
    except Refused as refused:
        return refused.status
    return None


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"WAT\r\n\r\n", 400),
        (b"\x16\x03\x01\x00", 400),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 505),
        (b"GET / HTTP/0.9\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\nx: " + b"x" * HEAD_BYTES, 431),
        (b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (BODY_BYTES + 1) + b"x" * (BODY_BYTES + 1), 413),
    ],
)
def test_what_is_no_request_of_ours_is_refused(data: bytes, status: int) -> None:
    assert refusal(data) == status


def test_a_body_may_be_as_long_as_allowed() -> None:
    assert refusal(b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % BODY_BYTES + b"x" * BODY_BYTES) is None


@given(st.lists(st.binary(max_size=100), max_size=5))
def test_bytes_of_anybody_do_no_more_than_be_refused(pieces: list[bytes]) -> None:
    assert refusal(*(piece for piece in pieces if piece)) in (None, 400, 505)


def test_an_answer_says_its_length_and_whether_the_connection_goes_on() -> None:
    assert written(plain(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", "GET")), is_last=False) == (
        b"HTTP/1.1 405 Method Not Allowed\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 19\r\n"
        b"cache-control: no-store\r\nconnection: keep-alive\r\nallow: GET\r\n\r\nmethod not allowed\n"
    )


def echo(request: Request) -> Answer:
    """Answer with the target and the body."""
    return Answer(200, "text/plain", request.target.encode() + request.body)


def served(scenario: Callable[[Port], Awaitable[list[bytes]]]) -> list[bytes]:
    """Run a scenario beside a listener on loopback."""

    async def beside() -> list[bytes]:
        listening = socket.create_server(("127.0.0.1", 0))
        async with await Listener(echo).listen(listening):
            return await scenario(listening.getsockname()[1])

    return asyncio.run(beside())


async def exchange(port: Port, request: bytes) -> bytes:
    """Return all that is answered until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_connection_goes_on_until_the_caller_says_it_is_the_last() -> None:
    async def scenario(port: Port) -> list[bytes]:
        return [await exchange(port, THREE)]

    (answered,) = served(scenario)
    assert answered.count(b"HTTP/1.1 200 OK") == 3
    assert b"/v1/traces?a=bhelloHTTP/1.1 " in answered
    assert answered.endswith(b"connection: close\r\n\r\n/metrics")


def test_a_caller_that_waits_for_a_100_gets_one() -> None:
    async def scenario(port: Port) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /x HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 1\r\nconnection: close\r\n\r\n")
        go_on = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"y")
        rest = await reader.read()
        writer.close()
        return [go_on, rest]

    go_on, rest = served(scenario)
    assert go_on == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.endswith(b"\r\n\r\n/xy")


def test_a_head_without_end_is_refused_and_the_connection_ends() -> None:
    async def scenario(port: Port) -> list[bytes]:
        return [await exchange(port, b"GET /livez HTTP/1.1\r\n".ljust(HEAD_BYTES + 4, b"x"))]

    assert served(scenario)[0].startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("begun", [b"", b"GET /livez", b"GET /a HTTP/1.1\r\n\r\nGET /b"])
def test_a_caller_that_does_not_go_on_is_given_up(begun: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "REQUEST_WITHIN_S", 0.05)
    monkeypatch.setattr(http_module, "IDLE_S", 0.05)

    async def scenario(port: Port) -> list[bytes]:
        try:
            return [await exchange(port, begun)]
        except ConnectionResetError:
            return [b""]

    (answered,) = served(scenario)
    assert answered.count(b"HTTP/1.1 200") <= begun.count(b"/a")


CHUNKED = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"


@pytest.mark.parametrize(
    "endless",
    [
        b"0\r\nx-trailer: " + b"x" * 3 * HEAD_BYTES,
        b"0\r\n" + b"".join(b"x-%d: y\r\n" % number for number in range(HEAD_BYTES // 4)),
        b"3;extension=" + b"x" * 3 * HEAD_BYTES,
    ],
    ids=["a trailer", "trailers", "a chunk's extension"],
)
def test_what_follows_a_body_is_bounded_as_a_head_is(endless: bytes) -> None:
    pieces = [endless[start : start + HEAD_BYTES] for start in range(0, len(endless), HEAD_BYTES)]
    assert refusal(CHUNKED, *pieces) == 431


def test_a_trailer_says_nothing_of_a_request() -> None:
    reading = Reading()
    reading.feed(CHUNKED + b"0\r\nhost: elsewhere\r\nx-a: 1\r\n\r\n")
    (request,) = all_of(reading)
    assert (request.headers, request.body) == ({"transfer-encoding": "chunked"}, b"abc")


@given(st.integers(1, 3 * HEAD_BYTES), st.integers(1, HEAD_BYTES))
def test_many_small_chunks_are_one_body(length: int, chunk: int) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (chunk, b"x" * chunk) for _ in range(length // chunk + 1))
    whole = b"POST /c HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    assert refusal(*(whole[start : start + HEAD_BYTES] for start in range(0, len(whole), HEAD_BYTES))) is None


def test_an_answer_that_takes_its_time_holds_up_no_other() -> None:
    async def run() -> list[bytes]:
        may_go_on = asyncio.Event()

        async def slow(request: Request) -> Answer:
            await may_go_on.wait()
            return echo(request)

        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]

        def answer(request: Request) -> Answer | Awaitable[Answer]:
            return slow(request) if request.target == "/slow" else echo(request)

        async with await Listener(answer).listen(listening):
            first = asyncio.create_task(exchange(port, b"GET /slow HTTP/1.0\r\n\r\n"))
            second = await exchange(port, b"GET /quick HTTP/1.0\r\n\r\n")
            assert not first.done()
            may_go_on.set()
            return [await first, second]

    first, second = asyncio.run(run())
    assert (first[-5:], second[-6:]) == (b"/slow", b"/quick")


def test_what_is_refused_is_told_as_the_listener_is_asked_to() -> None:
    async def run() -> bytes:
        def refuse(refused: Refused) -> Answer:
            told = f"{refused.status:d} {refused.target} {refused.headers['content-type']}"
            return Answer(refused.status, "text/plain", told.encode())

        listening = socket.create_server(("127.0.0.1", 0))
        async with await Listener(echo, refuse).listen(listening):
            head = b"POST /v1/traces HTTP/1.1\r\ncontent-type: x\r\ncontent-length: %d\r\n\r\n" % (BODY_BYTES + 1)
            return await exchange(listening.getsockname()[1], head + bytes(BODY_BYTES + 1))

    assert asyncio.run(run()).endswith(b"413 /v1/traces x")


def test_a_caller_that_never_takes_its_last_answer_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "REQUEST_WITHIN_S", 0.2)

    async def run() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            theirs.setblocking(False)
            ours.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    ours.send(bytes(2**16))
            theirs.send(b"GET / HTTP/1.0\r\n\r\n")
            # The answer is less than makes a writer wait.
            await Listener(echo)._converse(*await asyncio.open_connection(sock=ours))
            await asyncio.sleep(0)  # the loop closes what was aborted
            assert ours.fileno() == -1

    asyncio.run(run())
