"""One HTTP/1.1 connection of the load client, carrying one exchange at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from tests.fakes.records import Outcome, Record

Check = Callable[[int, int, bytes], bool]  # (index, status, body) -> is this the right answer?


class Owner(Protocol):
    """Who is told what happens on a connection."""

    def on_settled(self, connection: ClientConnection, record: Record) -> None:
        """An exchange ended; the connection can carry the next one unless it is closing."""

    def on_unasked(self, record: Record) -> None:
        """Bytes came after this exchange's answer that nobody asked for; the connection is being cut."""

    def on_closed(self, connection: ClientConnection) -> None:
        """The connection is gone, and its last exchange settled."""


class ClientConnection(asyncio.Protocol):
    """Sends prepared bytes, reads one response strictly, and says how the exchange ended.

    It takes any request but HEAD and CONNECT, whose responses cannot be framed without knowing the method.

    Args:
        owner: told what happens on it.
        check: judges each whole answer.
        on_made: called once, when connected; the first ``send`` belongs here, so that no loss falls between.
    """

    def __init__(
        self,
        owner: Owner,
        check: Check,
        on_made: Callable[[ClientConnection], None],
    ) -> None:
        self._owner = owner
        self._check = check
        self._on_made = on_made
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._last: Record | None = None
        self._why = ""
        self._has_begun = self._is_complete = self._is_followed = False
        self._index = self._status = 0
        self._intended_s = self.started_s = 0.0
        self.headers: dict[bytes, bytes] = {}
        self.is_busy = self.is_closing = False
        self.use_count = 0
        self.transport: asyncio.Transport | None = None

    def send(self, index: int, intended_s: float | None, request: bytes) -> None:
        """Begin an exchange; without an intended start, now is it."""
        assert self.transport is not None
        assert not self.is_busy, "one exchange at a time"
        self.is_busy = True
        self._has_begun = self._is_complete = self._is_followed = False
        self._body = []
        self.headers = {}
        self._index = index
        self.started_s = time.monotonic()
        self._intended_s = self.started_s if intended_s is None else intended_s
        self.transport.write(request)

    def abandon(self, why: str) -> None:
        """Cut the connection; an exchange that runs is settled with this reason."""
        self._why = self._why or why
        self.is_closing = True
        if self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        """Close an idle connection."""
        self.is_closing = True
        if self.transport is not None:
            self.transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's does not derive from it
        self._on_made(self)

    def data_received(self, data: bytes) -> None:
        if not self.is_busy:
            self._take_unasked()
            return
        self._has_begun = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self._is_complete:
                self.abandon(f"not HTTP: {error}")
                return
            self._is_followed = True  # the answer itself is whole; what came behind it is not HTTP
        if self._is_complete:
            self._settle_whole()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closing = True
        if self.is_busy:
            outcome = Outcome.TRUNCATED if self._has_begun else Outcome.LOST
            self._settle(self._record(outcome, self._why or str(exc or "closed by the server")))
        self._owner.on_closed(self)

    def on_message_begin(self) -> None:
        self._is_followed = self._is_complete

    def on_body(self, body: bytes) -> None:
        if not self._is_followed:
            self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._is_followed or status < 200:  # 100 Continue and its kind come before the answer
            return
        self._is_complete = True
        self._status = status
        self.is_closing = self.is_closing or not self._parser.should_keep_alive()

    def _settle_whole(self) -> None:
        body = b"".join(self._body)
        record = self._record(Outcome.WHOLE, "")
        record.status = self._status
        record.body_bytes = len(body)
        record.is_right = self._check(self._index, self._status, body)
        record.is_followed = self._is_followed
        if self.is_closing or self._is_followed:
            self.close()
        self._settle(record)

    def _record(self, outcome: Outcome, why: str) -> Record:
        ended_s = time.monotonic()
        return Record(
            self._index, self._intended_s, self.started_s, ended_s, outcome,
            connection_use=self.use_count, why=why, headers=self.headers,
        )  # fmt: skip

    def _settle(self, record: Record) -> None:
        self.is_busy = False
        self.use_count += 1
        self._last = record
        self._owner.on_settled(self, record)

    def _take_unasked(self) -> None:
        if self._last is not None:
            self._last.is_followed = True
            self._owner.on_unasked(self._last)
        self.abandon("bytes came that nobody asked for")


class HeaderKeepingConnection(ClientConnection):
    """Keeps the response's headers as well, which costs a call for each."""

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value
