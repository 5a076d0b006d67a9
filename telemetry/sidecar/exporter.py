"""Sends what waits to be exported to one receiver of OTLP over HTTP, parcel by parcel and for as long as it takes."""

from __future__ import annotations

import asyncio
import gzip
import random
import ssl
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx
from google.protobuf.message import DecodeError
from msgspec import Struct
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from telemetry.conventions import EXPORT_QUEUE_BYTES, EXPORTED_SPANS, EXPORTS
from telemetry.otlp.decode import decode_protobuf
from telemetry.sidecar.config import Address
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.events import say
from telemetry.sidecar.export_queue import ATTEMPTS_FOR_S, ExportQueue, Fate, Parcel, delay_s, fate_of
from telemetry.sidecar.samples import Sample

ANSWER_WITHIN_S = 5.0
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


class _Answer(Struct, frozen=True):
    """What the receiver said.

    Attributes:
        retry_after: "" where it does not say.
        rejected: spans that it did not take of a parcel that it took.
    """

    fate: Fate
    retry_after: str = ""
    rejected: int = 0


class Exporter:
    """Empties a queue.

    Args:
        drops: where spans that the receiver refuses are counted.
    """

    def __init__(self, to: Address, queue: ExportQueue, drops: Drops) -> None:
        self._exported_spans = 0
        self._attempts: Counter[str] = Counter(dict.fromkeys(("taken", "again", "refused", "too_large", "failed"), 0))
        self._queue = queue
        self._drops = drops
        self._is_local = bool(to.path)
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()
        self._trouble = ""
        self._to = to
        self._client = _client(to)

    async def export(self) -> None:
        """Send parcel after parcel, until the end; what is in vain is tried again, later and later."""
        failures, began_s = 0, 0.0
        while (parcel := self._next()) or not self._ending.is_set():
            if parcel is None:
                await self._pause(LOOK_EVERY_S)
                continue
            began_s = began_s if failures else self._loop.time()
            answer = await self._send(parcel)
            if answer.fate is not Fate.AGAIN:
                failures = 0
                self._settle(answer, parcel)
            elif self._loop.time() >= began_s + ATTEMPTS_FOR_S:
                failures = 0
                self._lose(parcel, "given_up")
            else:
                failures += 1
                await self._pause(delay_s(failures, answer.retry_after, random.random()))
        await self._client.aclose()
        self._ended.set()

    async def finish(self, within_s: float) -> None:
        """Let ``export`` end once nothing waits, and wait for that, but not for ever."""
        self._ending.set()
        try:
            async with asyncio.timeout(within_s):
                await self._ended.wait()
        except TimeoutError:
            say("", "spans are lost at the end: the receiver does not take them")

    def _next(self) -> Parcel | None:
        return self._queue.next(self._loop.time(), self._ending.is_set())

    async def _pause(self, pause_s: float) -> None:
        """Wait, until the end is near at most; then there is no time to wait for long."""
        if self._ending.is_set():
            await asyncio.sleep(min(pause_s, LOOK_EVERY_S))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), pause_s)

    async def _send(self, parcel: Parcel) -> _Answer:
        """Return what the receiver said; that it said nothing in time is as if it could not now."""
        headers, body = _HEADERS, parcel.body
        if not self._is_local and len(body) >= GZIP_BYTES:
            headers, body = _HEADERS | {"content-encoding": "gzip"}, gzip.compress(body, _GZIP_LEVEL)
        try:
            async with (
                asyncio.timeout(ANSWER_WITHIN_S),
                self._client.stream("POST", _PATH, content=body, headers=headers) as response,
            ):
                said = await _body(response)
        except (httpx.HTTPError, TimeoutError) as error:
            self._attempts["failed"] += 1
            self._say_trouble(f"{type(error).__name__}: {error}".rstrip(": "))
            # A client whose request was cut off just before it connects counts that connection as in use for ever.
            await self._client.aclose()
            self._client = _client(self._to)
            return _Answer(Fate.AGAIN)
        fate = fate_of(response.status_code)
        self._attempts[fate.name.lower()] += 1
        self._say_trouble("" if fate is Fate.TAKEN else f"it answered {response.status_code}")
        rejected = rejected_of(response.headers.get("content-type", ""), said)
        return _Answer(fate, response.headers.get("retry-after", ""), min(rejected, parcel.span_count))

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of what was exported and what waits to be."""
        yield Sample(EXPORT_QUEUE_BYTES, (), float(self._queue.queued_bytes))
        yield Sample(EXPORTED_SPANS, (), float(self._exported_spans))
        for outcome, count in self._attempts.items():
            yield Sample(EXPORTS, (outcome,), float(count))

    def _settle(self, answer: _Answer, parcel: Parcel) -> None:
        """Be done with a parcel that the receiver took or does not want, or make it smaller."""
        if answer.fate is Fate.TAKEN:
            self._queue.done()
            self._exported_spans += parcel.span_count - answer.rejected
            if answer.rejected:
                self._drops.add("spans", "refused", answer.rejected)
        elif answer.fate is Fate.TOO_LARGE and parcel.span_count > 1:
            self._queue.halve(decode_protobuf(parcel.body).spans)
        else:
            self._lose(parcel, "refused")

    def _lose(self, parcel: Parcel, why: str) -> None:
        self._queue.done()
        self._drops.add("spans", why, parcel.span_count)

    def _say_trouble(self, trouble: str) -> None:
        """Tell of a trouble when it begins, and when it is over."""
        if trouble and not self._trouble:
            say("", f"spans cannot be exported ({trouble}); they wait")
        elif self._trouble and not trouble:
            say("", "spans are exported again")
        self._trouble = trouble


def _client(to: Address) -> httpx.AsyncClient:
    # Transports ask for one although this speaks plain HTTP; making one that loads certificates takes 20 ms.
    no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    transport = httpx.AsyncHTTPTransport(verify=no_tls, uds=to.path or None, limits=httpx.Limits(max_connections=1))
    base_url = "http://receiver" if to.path else f"http://{to}"
    # What the environment says of proxies is about other places than a receiver that is named here.
    return httpx.AsyncClient(transport=transport, base_url=base_url, timeout=ANSWER_WITHIN_S, trust_env=False)


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
