"""A light pod for large counts: one process that answers as the oracle, over the link or over HTTP/1.1.

It inherits its listening socket, so that connections wait in it while the pod is started again. Like a pod of ours it
says so on its status path, runs what has a key on when its caller is gone, and drops what waits without one.
"""

from __future__ import annotations

import argparse
import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import cast

import httptools
import msgspec
import uvloop

from model_pod.wire.status import STATUS_PATH
from tests.faults.ledgers import Ledger, Told
from tests.faults.oracle import answers
from tests.faults.oracle.answers import Behaviour, Seen
from tests.faults.oracle.link import LinkEnd, Preface
from tests.faults.oracle.oracle import Oracle, Row


class HttpReply:
    """Answers one request of a connection."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def told(self, told: Told, *, is_replay: bool) -> None:
        self._write(answers.told_answer(told, is_replay=is_replay))

    def refuse(self, reason: str, request_id: str) -> None:
        self._write(answers.refusal(reason, request_id))

    def begin(self) -> None:
        self._write(answers.STREAM_HEAD)

    def more(self, piece: bytes) -> None:
        self._write(answers.chunk(piece))

    def end(self, told: Told) -> None:
        self._write(answers.chunk(msgspec.json.encode(told)) + answers.STREAM_END)


class Connection(asyncio.Protocol):
    """One connection: a link, or one request of HTTP/1.1 after the other."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self._transport = cast(asyncio.Transport, None)
        self._preface: Preface | None = Preface()
        self._link: LinkEnd | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._fields: dict[str, str] = {}
        self._body: list[bytes] = []
        self._path = b""
        self._row: Row | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._row is not None:
            self._row.is_wanted = False
        if self._link is not None:
            self._link.lost()

    def data_received(self, data: bytes) -> None:
        if self._preface is not None:
            judged = self._preface.take(data)
            if judged is None:
                return
            self._preface = None
            is_link, data = judged
            if is_link:
                self._link = LinkEnd(self._oracle, self._transport.write)
        if self._link is not None:
            self._link.feed(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        self._path = url
        self._fields, self._body = {}, []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        if self._path == STATUS_PATH.encode():
            self._say(self._oracle.status)
        elif self._path == answers.SEEN_PATH:
            self._say(Seen(self._oracle.requests, self._oracle.refused))
        elif self._path == answers.BEHAVIOUR_PATH:
            self._oracle.behaviour = msgspec.json.decode(body, type=Behaviour)
            self._say(self._oracle.behaviour)
        else:
            self._row = Row(self._fields, body, HttpReply(self._transport.write))
            self._oracle.submit(self._row)

    def _say(self, what: msgspec.Struct) -> None:
        self._transport.write(answers.answer(200, [("content-type", "application/json")], msgspec.json.encode(what)))


async def serve(oracle: Oracle, listening: socket.socket) -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(oracle), sock=listening)
    await server.serve_forever()


def main() -> None:
    """Read the options and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--listen-fd", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--http-only", action="store_true", help="say that it does not speak the link")
    options = parser.parse_args()
    with Ledger(options.ledger) as lines:
        oracle = Oracle(options.name, lines, model=options.model, speaks_link=not options.http_only)
        uvloop.run(serve(oracle, socket.socket(fileno=options.listen_fd)))


if __name__ == "__main__":
    main()
