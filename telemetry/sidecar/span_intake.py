"""Takes spans in: bodies are decoded and redacted in one thread, one after another, while the loop does the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from telemetry.otlp import receive
from telemetry.sidecar.foreign import ForeignTrace, by_trace
from telemetry.sidecar.http import BODY_BYTES, Answer, Request
from telemetry.sidecar.redaction import Redactor
from telemetry.span import Span

BODIES = 8
"""That wait or are decoded; the worst takes half a second, and its sender waits for the answer as long."""

Said = TypeVar("Said")


class SpanIntake:
    """Answers those who send spans.

    Args:
        redactor: what may leave of them.
        take: takes what is left; older things go where there is no room, and are counted.
    """

    def __init__(self, redactor: Redactor, take: Callable[[Sequence[ForeignTrace]], None]) -> None:
        self._redactor = redactor
        self._take = take
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spans")
        self._body_count = 0

    async def answer(self, request: Request) -> Answer:
        """Return the answer once the spans are taken; at once when too many others wait."""
        if self._body_count >= BODIES:
            return of_receiver(receive.busy(request.headers))
        said = await self._decoded(
            lambda take: receive.answer(request.headers, request.body, take, max_bytes=BODY_BYTES)
        )
        return of_receiver(said)

    async def take_message(self, packing: str, message: bytes) -> bytes:
        """Return the message that answers one that came by gRPC, once its spans are taken.

        Raises:
            Refused: it is not taken.
        """
        if self._body_count >= BODIES:
            raise receive.no_time()
        return await self._decoded(
            lambda take: receive.taken(receive.Encoding.PROTOBUF, packing, message, take, max_bytes=BODY_BYTES)
        )

    async def _decoded(self, answer: Callable[[receive.Take], Said]) -> Said:
        """Let spans be decoded and redacted in the thread, and take them."""
        self._body_count += 1
        try:
            said, traces = await asyncio.get_running_loop().run_in_executor(self._thread, self._read, answer)
        finally:
            self._body_count -= 1
        self._take(traces)
        return said

    def _read(self, answer: Callable[[receive.Take], Said]) -> tuple[Said, list[ForeignTrace]]:
        spans: list[Span] = []

        def take(decoded: list[Span]) -> int:
            spans.extend(decoded)
            return 0

        said = answer(take)
        return said, by_trace(self._redactor.foreign(spans))


def of_receiver(said: receive.Answer) -> Answer:
    """Return what a receiver of spans says, as the listener sends it."""
    return Answer(said.status, said.content_type, said.body, said.headers)
