"""wrk's command line, its script and what it says."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import httptools
import pytest

from tests.benchmarks import wrk
from tests.benchmarks.heads import Requests
from tests.benchmarks.large_policy import key_of


def test_the_command_line_says_what_is_asked() -> None:
    requests = Requests("/predictions/model-%04d", "msk_%043d", 1000, 10, 65536)
    line = wrk.command("wrk", "http://127.0.0.1:80", requests, 64, 2)
    assert line[:7] == ["wrk", "--threads", "1", "--connections", "64", "--duration", "2s"]
    assert line[-7:] == [
        *("http://127.0.0.1:80", "--", "/predictions/model-%04d", "1000", "msk_%043d", "10", "65536"),
    ]


def test_what_the_script_says_is_read_from_the_last_line() -> None:
    said = wrk.read(
        'Running 1s test\n  2 threads\n\n{"requests": 3, "took_us": 5, "failed": 1, "p50_us": 7, "p99_us": 9}\n'
    )
    assert said == wrk.Said(3, 5, 1, 7, 9)


def test_an_end_without_figures_is_told_with_its_reason() -> None:
    with pytest.raises(wrk.WrkFailed, match="unable to connect"):
        wrk.read("Running 1s test\n", "unable to connect to 127.0.0.1:1 Connection refused")


class Seen(asyncio.Protocol):
    """Keeps what was asked, and answers it with nothing."""

    def __init__(self, paths: set[bytes], fields: dict[bytes, set[bytes]]) -> None:
        self._paths = paths
        self._fields = fields
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._paths.add(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.setdefault(name, set()).add(value)

    def on_body(self, body: bytes) -> None:
        assert json.loads(body)["data"] == "1" * 188

    def on_message_complete(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.system
@pytest.mark.alone
@pytest.mark.needs_program("wrk")
def test_the_script_asks_what_our_own_client_asks() -> None:
    paths: set[bytes] = set()
    fields: dict[bytes, set[bytes]] = {}
    requests = Requests("/predictions/model-%04d", "msk_%043d", 3, 2)

    async def load() -> wrk.Said:
        server = await asyncio.get_running_loop().create_server(lambda: Seen(paths, fields), "127.0.0.1", 0)
        address = "{}:{}".format(*server.sockets[0].getsockname())
        async with server:
            return await asyncio.to_thread(wrk.drive, "wrk", address, requests, 2, 1)

    said = asyncio.run(load())
    assert said.failed == 0
    assert said.requests > 100
    assert paths == {f"/predictions/model-{number:04}".encode() for number in range(3)}
    assert fields[b"authorization"] == {f"Bearer {key_of(number)}".encode() for number in range(2)}
    assert len(fields[b"traceparent"]) >= said.requests
    assert len({len(user) for user in fields[b"x-user-id"]}) > 10
    ours: dict[bytes, set[bytes]] = {}
    httptools.HttpRequestParser(_FieldsOf(ours)).feed_data(requests.made()(0))
    assert fields.keys() == ours.keys()
    assert fields[b"content-length"] == ours[b"content-length"] == {b"200"}


class _FieldsOf:
    def __init__(self, fields: dict[bytes, set[bytes]]) -> None:
        self._fields = fields

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.setdefault(name, set()).add(value)
