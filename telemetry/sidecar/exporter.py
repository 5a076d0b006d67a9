"""Sends what waits to be exported to one receiver of OTLP over HTTP, parcel by parcel and for as long as it takes."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress

import httpx
from google.protobuf.message import DecodeError
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.conventions import (
    EXPORT_DISK_FAILURES,
    EXPORT_QUEUE_BYTES,
    EXPORT_QUEUE_SPANS,
    EXPORTED_SPANS,
    EXPORTS,
)
from telemetry.logs.line import warning
from telemetry.otlp.decode import decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.sidecar.config import ExportTo
from telemetry.sidecar.events import say
from telemetry.sidecar.export_queue import ATTEMPTS_FOR_S, Fate, Parcel, delay_s, fate_of, halves
from telemetry.sidecar.samples import Sample
from telemetry.sidecar.stored_queue import StoredQueue

# Of an answer, which says little; of a longer one only the status is heeded.
ANSWER_BYTES = 64 * 2**10
LOOK_EVERY_S = 0.1
# On a Unix socket nothing is won by it; below this size the head is most of a packet anyway.
GZIP_BYTES = 4096
# Level 1 is four times as fast as the usual 6 and makes spans a tenth larger.
_GZIP_LEVEL = 1
_PATH = "/v1/traces"
_PROTOBUF = "application/x-protobuf"
_HEADERS = {"content-type": _PROTOBUF, "accept-encoding": "identity"}
# RFC 9110, section 5: what a field's name is made of, and a value that needs no explanation.
_is_name = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}").fullmatch
_is_value = re.compile(r"[\x20-\x7e]{0,8192}").fullmatch
# What says how a body travels is not for others to say.
_OURS = frozenset({*_HEADERS, "content-encoding", "content-length", "transfer-encoding", "connection", "host"})


class _Answer(Struct, frozen=True):
    """What the receiver said.

    Attributes:
        retry_after: "" where it does not say.
        rejected: spans that it did not take of a parcel that it took.
        is_heard: it said something.
    """

    fate: Fate
    retry_after: str = ""
    rejected: int = 0
    is_heard: bool = True


class Exporter:
    """Empties a queue.

    Args:
        lacks: what must be heeded before the first span is sent, "" for nothing: such as where header fields are.

    Attributes:
        receiver: where it sends to.
        trouble: why nothing is taken now; "" when it is.
        last_trouble, last_trouble_s: the latest trouble, and when it was told last, in seconds since the epoch.
        taken_s: when a parcel was taken last, in seconds since the epoch; 0 while none was.
    """

    def __init__(self, to: ExportTo, queue: StoredQueue, lacks: str = "") -> None:
        self._attempts: Counter[str] = Counter(dict.fromkeys(("taken", "again", "refused", "too_large", "failed"), 0))
        self._queue = queue
        self._is_local = bool(to.address.path)
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()
        self.receiver = f"unix:{to.address.path}" if to.address.path else str(to.address)
        self.trouble = self.last_trouble = ""
        self.last_trouble_s = self.taken_s = 0.0
        self._to = to
        self._lacks = lacks
        self._tls: ssl.SSLContext | None = None
        self._headers: dict[str, str] = {}
        self._client: httpx.AsyncClient | None = None

    def heed(self, headers: Mapping[str, str]) -> None:
        """Send these header fields along from now on; what no field may be is left out, and told by its name.

        White space around a value is no part of it (RFC 9110, section 5.5). Sent along it would be refused by the HTTP
        library, whose error says the value.
        """
        self._headers, self._lacks = {}, ""
        for name, whole in headers.items():
            value = whole.strip()
            if _is_name(name) and _is_value(value) and name.lower() not in _OURS:
                self._headers[name.lower()] = value
            else:
                say("", f"the header field {name!r:.100} cannot be sent with spans, and is left out")

    async def export(self) -> None:
        """Send parcel after parcel, until the end; what is in vain is tried again, later and later.

        A receiver that answers one parcel with "later" for long does so for what is in it, and the next ones are not
        to wait for that. One that does not answer is away, and nothing is given up but for want of room.
        """
        failures, began_s = 0, 0.0
        self._say_trouble(self._made_ready())
        while (parcel := await self._next()) or not self._ending.is_set():
            if parcel is None:
                await self._pause(LOOK_EVERY_S)
                continue
            answer = await self._send(parcel)
            if answer.fate is not Fate.AGAIN:
                failures = 0
                await self._settle(answer, parcel)
                continue
            began_s = began_s if failures and answer.is_heard else self._loop.time()
            failures += 1
            if answer.is_heard and self._loop.time() >= began_s + ATTEMPTS_FOR_S:
                failures = 0
                await self._queue.lose("given_up")
            else:
                await self._pause(delay_s(failures, answer.retry_after, random.random()))
        await self._leave()
        self._ended.set()

    async def finish(self, within_s: float) -> None:
        """Let ``export`` end once nothing waits, and wait for that, but not for ever; what is on disk stays there."""
        self._ending.set()
        try:
            async with asyncio.timeout(within_s):
                await self._queue.save(self._loop.time(), is_ending=True)
                await self._ended.wait()
        except TimeoutError:
            in_memory, on_disk = self._queue.waiting_spans
            if in_memory or not on_disk:
                say("", warning("spans are lost at the end: the receiver does not take them"))
            if on_disk:
                say("", f"{on_disk} spans wait on disk for the next start: the receiver does not take them")

    async def _next(self) -> Parcel | None:
        return await self._queue.next(self._loop.time(), self._ending.is_set())

    async def _pause(self, pause_s: float) -> None:
        """Wait, until the end is near at most; then there is no time to wait for long."""
        if self._ending.is_set():
            await asyncio.sleep(min(pause_s, LOOK_EVERY_S))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), pause_s)

    async def _send(self, parcel: Parcel) -> _Answer:
        """Return what the receiver said; that it said nothing in time is as if it could not now."""
        trouble = self._made_ready()
        if trouble or self._client is None:
            self._say_trouble(trouble)
            return _Answer(Fate.AGAIN, is_heard=False)
        headers, body = self._headers | _HEADERS, parcel.body
        if not self._is_local and len(body) >= GZIP_BYTES:
            headers, body = headers | {"content-encoding": "gzip"}, gzip.compress(body, _GZIP_LEVEL)
        try:
            async with (
                asyncio.timeout(self._to.within_s),
                self._client.stream("POST", self._to.base_path + _PATH, content=body, headers=headers) as response,
            ):
                said = await _body(response)
        except (httpx.HTTPError, TimeoutError) as error:
            self._attempts["failed"] += 1
            self._say_trouble(f"{type(error).__name__}: {error}".rstrip(": "))
            # A client whose request was cut off just before it connects counts that connection as in use for ever.
            await self._leave()
            return _Answer(Fate.AGAIN, is_heard=False)
        fate = fate_of(response.status_code)
        self._attempts[fate.name.lower()] += 1
        self._say_trouble("" if fate is Fate.TAKEN else f"it answered {response.status_code}")
        rejected = rejected_of(response.headers.get("content-type", ""), said)
        return _Answer(fate, response.headers.get("retry-after", ""), min(rejected, parcel.span_count))

    def _made_ready(self) -> str:
        """Have what a request needs; return what is missing, "" for nothing. It is looked for before each attempt."""
        if self._lacks:
            return self._lacks
        if self._client is None:
            try:
                self._tls = self._tls or _tls(self._to)
            except OSError as error:  # ssl's own errors are of this kind
                return f"{self._to.ca} holds no certificates: {error.strerror or error}"
            self._client = _client(self._to, self._tls)
        return ""

    async def _leave(self) -> None:
        """Let go of the connection; certificates of our own are read again for the next one."""
        if self._client is not None:
            await self._client.aclose()
        self._client = None
        self._tls = None if self._to.ca else self._tls

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of what was exported and what waits to be."""
        in_memory, on_disk = self._queue.waiting_spans
        yield Sample(EXPORT_QUEUE_BYTES, (), float(self._queue.waiting_bytes))
        yield Sample(EXPORT_QUEUE_SPANS, ("memory",), float(in_memory))
        yield Sample(EXPORT_QUEUE_SPANS, ("disk",), float(on_disk))
        yield Sample(EXPORT_DISK_FAILURES, (), float(self._queue.failures))
        yield Sample(EXPORTED_SPANS, (), float(self._queue.exported_spans))
        for outcome, count in self._attempts.items():
            yield Sample(EXPORTS, (outcome,), float(count))

    async def _settle(self, answer: _Answer, parcel: Parcel) -> None:
        """Be done with a parcel that the receiver took or does not want, or make it smaller."""
        if answer.fate is Fate.TAKEN:
            self.taken_s = time.time()
            await self._queue.taken(answer.rejected)
        elif answer.fate is Fate.TOO_LARGE and parcel.span_count > 1:
            self._queue.halve(*halves(decode_protobuf(parcel.body).spans, encode_spans))
        else:
            await self._queue.lose("refused")

    def _say_trouble(self, trouble: str) -> None:
        """Tell of a trouble when it begins, and when it is over."""
        if trouble:
            self.last_trouble, self.last_trouble_s = trouble, time.time()
        if trouble and not self.trouble:
            say("", warning(f"spans cannot be exported ({trouble}); they wait"))
        elif self.trouble and not trouble:
            say("", "spans are exported again")
        self.trouble = trouble


def _tls(to: ExportTo) -> ssl.SSLContext:
    """Return what a certificate is judged by; of plain HTTP nothing, for loading the usual ones takes 20 ms."""
    if to.is_tls:
        return ssl.create_default_context(cafile=to.ca or None)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _client(to: ExportTo, tls: ssl.SSLContext) -> httpx.AsyncClient:
    address = to.address
    transport = httpx.AsyncHTTPTransport(verify=tls, uds=address.path or None, limits=httpx.Limits(max_connections=1))
    base_url = "http://receiver" if address.path else f"{'https' if to.is_tls else 'http'}://{address}"
    # What the environment says of proxies is about other places than a receiver that is named here.
    return httpx.AsyncClient(transport=transport, base_url=base_url, timeout=to.within_s, trust_env=False)


async def _body(response: httpx.Response) -> bytes:
    """Return the answer's body as it comes, unpacked by nobody; nothing of one that is too long."""
    said = bytearray()
    async for piece in response.aiter_raw():
        said += piece
        if len(said) > ANSWER_BYTES:
            return b""
    return bytes(said)


def rejected_of(content_type: str, body: bytes) -> int:
    """Return how many spans an answer says were not taken, though the request was; what is no such answer says none."""
    if content_type.partition(";")[0].strip().lower() != _PROTOBUF:
        return 0
    try:
        response = ExportTraceServiceResponse.FromString(body)
    except DecodeError:
        return 0
    return max(0, response.partial_success.rejected_spans)
