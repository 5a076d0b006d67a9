"""What readers get, from heads as they come and over true connections."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar import http as http_module
from telemetry.sidecar.http import CONNECTIONS, HEAD_BYTES, Listener, respond

Port = int


def accepted(accept: str) -> tuple[str, bytes]:
    """Show what the reader accepts."""
    return "text/plain", accept.encode("latin-1")


def answered(head: str) -> tuple[str, str]:
    """Return the status line's end and the body."""
    first, _, body = respond(head.encode("latin-1"), accepted).decode("latin-1").partition("\r\n\r\n")
    return first.split("\r\n")[0].removeprefix("HTTP/1.1 "), body


@pytest.mark.parametrize(
    ("head", "status", "body"),
    [
        ("GET /metrics HTTP/1.1\r\naccept: a\r\n\r\n", "200 OK", " a"),
        ("GET /metrics HTTP/1.1\r\nAccept: a\r\nhost: h\r\nACCEPT: b\r\n\r\n", "200 OK", " a, b"),
        ("GET /metrics?name[]=x HTTP/1.0\r\n\r\n", "200 OK", ""),
        ("GET /livez HTTP/1.1\r\n\r\n", "200 OK", "ok\n"),
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found", "not found\n"),
        ("GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found", "not found\n"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", "method not allowed\n"),
        ("GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request", "bad request\n"),
        ("GET  /metrics HTTP/1.1\r\n\r\n", "400 Bad Request", "bad request\n"),
        ("\r\n\r\n", "400 Bad Request", "bad request\n"),
    ],
)
def test_a_head_has_its_answer(head: str, status: str, body: str) -> None:
    assert answered(head) == (status, body)


@given(st.binary())
def test_no_head_does_more_than_be_refused(head: bytes) -> None:
    answer = respond(head + b"\r\n\r\n", accepted)
    length = answer.partition(b"content-length: ")[2].partition(b"\r\n")[0]
    assert int(length) == len(answer.partition(b"\r\n\r\n")[2])


def served(scenario: Callable[[Port], Awaitable[list[bytes]]]) -> list[bytes]:
    """Run a scenario beside a listener on loopback."""

    async def beside() -> list[bytes]:
        listening = socket.create_server(("127.0.0.1", 0))
        async with await Listener(accepted).listen(listening):
            return await scenario(listening.getsockname()[1])

    return asyncio.run(beside())


async def exchange(port: Port, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


def test_a_connection_is_closed_after_its_answer() -> None:
    async def scenario(port: Port) -> list[bytes]:
        return [await exchange(port, b"GET /livez HTTP/1.1\r\n\r\n")]

    assert served(scenario)[0].endswith(b"connection: close\r\n\r\nok\n")


def test_a_head_without_end_is_refused() -> None:
    async def scenario(port: Port) -> list[bytes]:
        return [await exchange(port, b"GET /livez HTTP/1.1\r\n".ljust(HEAD_BYTES + 4, b"x"))]

    assert served(scenario)[0].startswith(b"HTTP/1.1 431 ")


def test_a_reader_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "REQUEST_WITHIN_S", 0.05)

    async def scenario(port: Port) -> list[bytes]:
        try:
            return [await exchange(port, b"GET /livez")]
        except ConnectionResetError:
            return [b""]

    assert served(scenario) == [b""]


def test_a_reader_too_many_is_told_so_and_the_others_are_answered() -> None:
    async def scenario(port: Port) -> list[bytes]:
        waiting = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]
        too_many = await exchange(port, b"")
        answers = []
        for reader, writer in waiting:
            writer.write(b"GET /livez HTTP/1.1\r\n\r\n")
            answers.append(await reader.read())
            writer.close()
        return [too_many, *answers]

    too_many, *answers = served(scenario)
    assert too_many.startswith(b"HTTP/1.1 503 ")
    assert {answer[:12] for answer in answers} == {b"HTTP/1.1 200"}
