"""Sends what waits to be exported to one receiver of OTLP over HTTP, parcel by parcel and for as long as it takes."""

from __future__ import annotations

import asyncio
import gzip
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import httpx

from telemetry.conventions import EXPORT_QUEUE_BYTES, EXPORTED_SPANS, EXPORTS
from telemetry.sidecar.config import Address
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.events import say
from telemetry.sidecar.export_queue import ExportQueue, Fate, Parcel, delay_s, fate_of
from telemetry.sidecar.samples import Sample

ANSWER_WITHIN_S = 5.0
LOOK_EVERY_S = 0.1
# On a Unix socket nothing is won by it; below this size the head is most of a packet anyway.
GZIP_BYTES = 4096
# Level 1 is four times as fast as the usual 6 and makes spans a tenth larger.
_GZIP_LEVEL = 1
_PATH = "/v1/traces"
_HEADERS = {"content-type": "application/x-protobuf"}


class Exporter:
    """Empties a queue.

    Args:
        drops: where spans that the receiver refuses are counted.
    """

    def __init__(self, to: Address, queue: ExportQueue, drops: Drops) -> None:
        self._exported_spans = 0
        self._attempts: Counter[str] = Counter(dict.fromkeys(("taken", "again", "refused", "failed"), 0))
        self._queue = queue
        self._drops = drops
        self._is_local = bool(to.path)
        self._ending = asyncio.Event()
        self._ended = asyncio.Event()
        self._trouble = ""
        transport = httpx.AsyncHTTPTransport(uds=to.path or None, limits=httpx.Limits(max_connections=1))
        base_url = "http://receiver" if to.path else f"http://{to}"
        # What the environment says of proxies is about other places than a receiver that is named here.
        self._client = httpx.AsyncClient(
            transport=transport, base_url=base_url, timeout=ANSWER_WITHIN_S, trust_env=False
        )

    async def export(self) -> None:
        """Send parcel after parcel, until the end; what is in vain is tried again, later and later."""
        failures = 0
        async with self._client:
            while (parcel := self._next()) or not self._ending.is_set():
                if parcel is None:
                    await self._pause(LOOK_EVERY_S)
                    continue
                fate, retry_after = await self._send(parcel)
                if fate is Fate.AGAIN:
                    failures += 1
                    await self._pause(delay_s(failures, retry_after, random.random()))
                    continue
                failures = 0
                self._queue.done()
                self._account(fate, parcel)
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
        return self._queue.next(asyncio.get_running_loop().time(), self._ending.is_set())

    async def _pause(self, pause_s: float) -> None:
        """Wait, until the end is near at most; then there is no time to wait for long."""
        if self._ending.is_set():
            await asyncio.sleep(min(pause_s, LOOK_EVERY_S))
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), pause_s)

    async def _send(self, parcel: Parcel) -> tuple[Fate, str]:
        """Return what became of the attempt, and the answer's ``Retry-After``."""
        headers, body = _HEADERS, parcel.body
        if not self._is_local and len(body) >= GZIP_BYTES:
            headers, body = _HEADERS | {"content-encoding": "gzip"}, gzip.compress(body, _GZIP_LEVEL)
        try:
            answer = await self._client.post(_PATH, content=body, headers=headers)
        except httpx.HTTPError as error:
            self._attempts["failed"] += 1
            self._say_trouble(f"{type(error).__name__}: {error}")
            return Fate.AGAIN, ""
        fate = fate_of(answer.status_code)
        self._attempts[fate.name.lower()] += 1
        self._say_trouble("" if fate is Fate.TAKEN else f"it answered {answer.status_code}")
        return fate, answer.headers.get("retry-after", "")

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of what was exported and what waits to be."""
        yield Sample(EXPORT_QUEUE_BYTES, (), float(self._queue.queued_bytes))
        yield Sample(EXPORTED_SPANS, (), float(self._exported_spans))
        for outcome, count in self._attempts.items():
            yield Sample(EXPORTS, (outcome,), float(count))

    def _account(self, fate: Fate, parcel: Parcel) -> None:
        if fate is Fate.TAKEN:
            self._exported_spans += parcel.span_count
        else:
            self._drops.add("spans", "refused", parcel.span_count)

    def _say_trouble(self, trouble: str) -> None:
        """Tell of a trouble when it begins, and when it is over."""
        if trouble and not self._trouble:
            say("", f"spans cannot be exported ({trouble}); they wait")
        elif self._trouble and not trouble:
            say("", "spans are exported again")
        self._trouble = trouble
