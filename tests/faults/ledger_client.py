"""A client that keeps a ledger: a line before each attempt and one after it, so that nothing can be lost unnoticed.

A closed loop keeps so many connections busy; an open loop begins requests at intended moments, whatever is answered.
Both send again what may be sent again, with the same key.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import msgspec

from tests.fakes import records
from tests.fakes.load_connection import ClientConnection, HeaderKeepingConnection
from tests.fakes.records import Record
from tests.faults.ledgers import Attempt, End, Ledger, Outcome, Told
from tests.faults.requests import Caller, Mix, Planned, is_sent_again, pause_s, plan, request_bytes, succeeded

_GENERATION = re.compile(rb"(?:^|;)gen=(\d+)")
_DEVICE_US = re.compile(rb"(?:^|;)device_us=(\d+)")
_CONNECT_WITHIN_S = 10.0
_decode_told = msgspec.json.Decoder(Told).decode


class _Refusal(msgspec.Struct):
    retryable: bool | None = None
    message: str = ""


_decode_refusal = msgspec.json.Decoder(_Refusal).decode


@dataclass(frozen=True, slots=True)
class Options:
    """How a client behaves.

    Attributes:
        patience_s: for one attempt; the product answers or refuses long before, so an attempt that meets it hung.
        max_attempts: of one request.
        max_connections: most connections of an open loop.
        keeps_connections: an open loop sends further requests on the connections that it has.
    """

    mix: Mix = field(default_factory=Mix)
    patience_s: float = 30.0
    max_attempts: int = 40
    max_connections: int = 512
    keeps_connections: bool = True


DEFAULTS = Options()


@dataclass(slots=True)
class Progress:
    """What has become of requests so far; ``latencies_s`` are of whole answers, from the (intended) start."""

    begun: int = 0
    done: int = 0
    succeeded: int = 0
    attempts: int = 0
    latencies_s: list[float] = field(default_factory=list)
    _waiting: list[tuple[float, asyncio.Event]] = field(default_factory=list)

    def begin(self) -> None:
        """Count one more request that begins."""
        self.begun += 1
        for due, event in self._waiting:
            if self.begun >= due:
                event.set()

    async def until_begun(self, count: float) -> None:
        """Wait until so many requests have begun."""
        entry = (count, asyncio.Event())
        if self.begun < count:
            self._waiting.append(entry)
            await entry[1].wait()
            self._waiting.remove(entry)


class LedgerClient:
    """Sends the requests of a seed, and writes down what became of each attempt.

    Args:
        url: of the inference API.
        path: of the model.
    """

    def __init__(
        self, name: str, url: str, path: str, ledger: Ledger, callers: Sequence[Caller], seed: int,
        options: Options = DEFAULTS,
    ) -> None:  # fmt: skip
        self.progress = Progress()
        self._name = name
        self._address = urlsplit(url)
        self._path = path
        self._ledger = ledger
        self._callers = callers
        self._seed = seed
        self._options = options
        self._numbers = itertools.count()
        self._is_told_to_stop = False

    def stop(self) -> None:
        """Begin no further request."""
        self._is_told_to_stop = True

    async def closed_loop(self, connections: int, count: int) -> None:
        """Keep so many connections busy until so many requests are done."""
        await asyncio.gather(*(self._keep_busy(count) for _ in range(connections)))

    async def _keep_busy(self, count: int) -> None:
        with _Line(self._address.hostname or "", self._address.port or 0) as line:
            while not self._is_told_to_stop and (number := next(self._numbers)) < count:
                await self._one(number, line, time.monotonic())

    async def open_loop(self, rate_per_s: float, duration_s: float) -> None:
        """Begin requests at evenly spaced moments; one waits for a connection only when too many are busy."""
        idle: deque[_Line] = deque()  # in turn, so that what one worker has is not all that is asked
        room = asyncio.Semaphore(self._options.max_connections)
        began_s = time.monotonic()
        try:
            async with asyncio.TaskGroup() as under_way:
                for number in range(round(rate_per_s * duration_s)):
                    intended_s = began_s + number / rate_per_s
                    await asyncio.sleep(max(0.0, intended_s - time.monotonic()))
                    if self._is_told_to_stop:
                        break
                    await room.acquire()
                    under_way.create_task(self._on_any_line(number, idle, room, intended_s))
        finally:
            for line in idle:
                line.close()

    async def _on_any_line(self, number: int, idle: deque[_Line], room: asyncio.Semaphore, intended_s: float) -> None:
        line = idle.popleft() if idle else _Line(self._address.hostname or "", self._address.port or 0)
        try:
            await self._one(number, line, intended_s)
        finally:
            if self._options.keeps_connections:
                idle.append(line)
            else:
                line.close()
            room.release()

    async def _one(self, number: int, line: _Line, intended_s: float) -> None:
        planned = plan(self._seed, self._name, number, self._callers, self._options.mix)
        data = request_bytes(planned, self._address.netloc, self._path)
        self.progress.begin()
        for attempt in range(self._options.max_attempts):
            end = await self._attempt(Attempt(
                self._name, number, attempt, time.monotonic(), planned.caller.tenant,
                planned.payload_sha256, planned.idempotency_key,
            ), planned, data, line)  # fmt: skip
            if not is_sent_again(planned, end) or self._is_told_to_stop:
                break
            await asyncio.sleep(pause_s(attempt))
        self.progress.done += 1
        self.progress.succeeded += succeeded(end)
        if end.outcome is Outcome.WHOLE:
            self.progress.latencies_s.append(end.at_s - intended_s)

    async def _attempt(self, attempt: Attempt, planned: Planned, data: bytes, line: _Line) -> End:
        self.progress.attempts += 1
        self._ledger.write(attempt)
        record, body = await line.exchange(data, self._options.patience_s)
        end = read_end(attempt, record, body, is_stream=bool(planned.pieces))
        self._ledger.write(end)
        return end


class _Line:
    """One connection at a time, made anew when the last one ended; it owns what comes over it."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._connection: ClientConnection | None = None
        self._answer: asyncio.Future[Record] | None = None
        self._body = b""
        self._was_followed = False

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    async def exchange(self, data: bytes, patience_s: float) -> tuple[Record, bytes]:
        """Send one request and return how it ended, and the body of a whole answer."""
        started_s = time.monotonic()
        self._body, self._was_followed = b"", False
        answer = self._answer = asyncio.get_running_loop().create_future()
        connection = self._connection
        if connection is not None and not connection.is_closing:
            connection.send(0, started_s, data)
        else:
            connection = self._connection = HeaderKeepingConnection(
                self,
                self._keep_body,
                lambda made: made.send(0, None, data),  # at once, so that no loss falls between
            )
            why = await self._connect(connection)
            if why and connection.transport is None:
                self._connection = None
                return Record(0, started_s, started_s, time.monotonic(), records.Outcome.NOT_CONNECTED, why=why), b""
        patience = asyncio.get_running_loop().call_later(patience_s, connection.abandon, HUNG)
        record = await answer
        patience.cancel()
        record.is_followed = record.is_followed or self._was_followed
        return record, self._body

    async def _connect(self, connection: ClientConnection) -> str:
        """Return why it could not, "" when it could."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                await loop.create_connection(lambda: connection, self._host, self._port)
        except (OSError, TimeoutError) as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _keep_body(self, index: int, status: int, body: bytes) -> bool:
        self._body = body
        return True

    def on_settled(self, connection: ClientConnection, record: Record) -> None:
        """Hand the end of the exchange to who waits for it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(record)

    def on_unasked(self, record: Record) -> None:
        """Remember that bytes came that nobody asked for; the next end tells it."""
        self._was_followed = True

    def on_closed(self, connection: ClientConnection) -> None:
        """Connect anew next time."""
        if connection is self._connection:
            self._connection = None


HUNG = "no whole answer in time"


def read_end(attempt: Attempt, record: Record, body: bytes, *, is_stream: bool) -> End:
    """Return what the ledger keeps of an exchange."""
    outcome = Outcome(record.outcome.value)
    told, refusal = None, _Refusal()
    if outcome is Outcome.WHOLE and record.status < 300:
        told = _told(body, is_stream=is_stream)
        if told is None:
            outcome = Outcome.LOOKS_WHOLE
    elif outcome is Outcome.WHOLE:
        refusal = _refusal(body)
    headers = record.headers
    return End(
        attempt.client, attempt.request, attempt.attempt, record.ended_s, outcome,
        is_hang=record.why == HUNG,
        why=record.why or refusal.message,
        status=record.status,
        reason=headers.get(b"penstock-reason", b"").decode("latin-1"),
        request_id=headers.get(b"x-request-id", b"").decode("latin-1"),
        generation=_number(_GENERATION, headers.get(b"penstock-decision", b"")),
        device_us=_number(_DEVICE_US, headers.get(b"penstock-usage", b"")),
        told=told,
        is_retryable=refusal.retryable,
        has_retry_after=b"retry-after" in headers,
        is_replay=headers.get(b"idempotency-replayed") == b"true",
        is_followed=record.is_followed,
    )  # fmt: skip


def _number(pattern: re.Pattern[bytes], value: bytes) -> int:
    match = pattern.search(value)
    return int(match[1]) if match else -1


def _told(body: bytes, *, is_stream: bool) -> Told | None:
    try:
        return _decode_told(body.rpartition(b"\n")[2] if is_stream else body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _refusal(body: bytes) -> _Refusal:
    try:
        return _decode_refusal(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return _Refusal()
