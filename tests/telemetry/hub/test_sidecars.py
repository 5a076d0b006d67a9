"""Asking many sidecars at once: within bounds, once for all who look, and silence is said."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from telemetry.hub import sidecars as module
from telemetry.hub.sidecars import BadList, Heard, Place, Sidecars, read_places


class Told(ThreadingHTTPServer):
    """A sidecar that answers every path alike, and counts."""

    def __init__(self, status: int = 200, body: bytes = b'{"a": 1}') -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.status, self.body = status, body
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Told)
        self.server.asked.append(self.path)
        self.send_response(self.server.status)
        self.send_header("content-length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def told() -> Iterator[Told]:
    server = Told()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def listed(directory: Path, **addresses: str) -> Path:
    path = directory / "targets.json"
    groups = [{"targets": [address], "labels": {"penstock_sidecar": name}} for name, address in addresses.items()]
    path.write_text(json.dumps(groups))
    return path


def with_sidecars(path: Path | None, use: Callable[[Sidecars], Awaitable[None]]) -> None:
    async def run() -> None:
        asking = Sidecars(path)
        await use(asking)
        await asking.close()

    asyncio.run(run())


def test_a_list_is_read_as_prometheus_reads_it() -> None:
    groups = [
        {"targets": ["b:9464"], "labels": {"penstock_sidecar": "digits/1/0"}},
        {"targets": ["a:9464", "user@c:1", "/etc/passwd", "a:port", "[::1]:9"]},
    ]
    assert read_places(json.dumps(groups).encode()) == [
        Place("[::1]:9", "[::1]:9"),
        Place("a:9464", "a:9464"),
        Place("digits/1/0", "b:9464"),
    ]
    for wrong in (b"", b"{}", b"[1]", b"\xff"):
        with pytest.raises(BadList):
            read_places(wrong)


def test_each_is_heard_and_who_is_silent_is_named(tmp_path: Path, told: Told) -> None:
    async def use(asking: Sidecars) -> None:
        asked = await asking.ask("/machine", {"last": "2"})
        assert asked.heard == (Heard("a", {"a": 1}), Heard("gone", error="It does not answer."))
        assert (asked.error, asked.left_out) == ("", 0)
        assert await asking.ask("/machine", {"last": "2"}) is asked
        assert told.asked == ["/machine?last=2"]
        assert await asking.ask_one("a", "/machine") == Heard("a", {"a": 1})
        assert await asking.ask_one("nobody", "/machine") is None

    with_sidecars(listed(tmp_path, a=told.address, gone="127.0.0.1:1"), use)


def test_many_who_look_at_once_ask_once(tmp_path: Path, told: Told) -> None:
    async def use(asking: Sidecars) -> None:
        await asyncio.gather(*(asking.ask("/telemetry") for _ in range(20)))
        assert told.asked == ["/telemetry"]

    with_sidecars(listed(tmp_path, a=told.address), use)


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (404, b"", "answers 404"),
        (200, b"nonsense", "something else than JSON"),
        (200, b"[]", "something else than JSON"),
    ],
)
def test_what_is_no_answer_is_said(tmp_path: Path, told: Told, status: int, body: bytes, words: str) -> None:
    told.status, told.body = status, body

    async def use(asking: Sidecars) -> None:
        (heard,) = (await asking.ask("/machine")).heard
        assert heard.answer is None
        assert words in heard.error

    with_sidecars(listed(tmp_path, a=told.address), use)


def test_an_answer_without_an_end_is_broken_off(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_BYTES", 100)
    told.body = b" " * 101

    async def use(asking: Sidecars) -> None:
        (heard,) = (await asking.ask("/machine")).heard
        assert "more than 100 bytes" in heard.error

    with_sidecars(listed(tmp_path, a=told.address), use)


def test_without_a_list_a_sentence_says_how_to_give_one(tmp_path: Path) -> None:
    async def no_option(asking: Sidecars) -> None:
        asked = await asking.ask("/machine")
        assert (asked.heard, "--sidecars" in asked.error) == ((), True)
        one = await asking.ask_one("a", "/machine")
        assert one is not None
        assert one.answer is None

    async def no_file(asking: Sidecars) -> None:
        assert "No such file" in (await asking.ask("/machine")).error

    with_sidecars(None, no_option)
    with_sidecars(tmp_path / "absent.json", no_file)


def test_so_many_are_asked_at_most_and_the_others_are_counted(
    tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 2)

    async def use(asking: Sidecars) -> None:
        asked = await asking.ask("/machine")
        assert ([heard.name for heard in asked.heard], asked.left_out) == (["a", "b"], 1)

    with_sidecars(listed(tmp_path, a=told.address, b=told.address, c=told.address), use)


def test_those_for_whom_no_time_is_left_are_named(tmp_path: Path, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_WITHIN_S", 0.0)

    async def use(asking: Sidecars) -> None:
        (heard,) = (await asking.ask("/machine")).heard
        assert "no time to ask it" in heard.error
        assert told.asked == []

    with_sidecars(listed(tmp_path, a=told.address), use)
