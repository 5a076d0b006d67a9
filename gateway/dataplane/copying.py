"""Copying: hands requests that are copied, with their answers, to the copies process; never waits for it.

What that process does not take in time is lost and counted: nothing of a copy can delay a request.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from gateway.copies.messages import MAX_COPIED_BYTES, Answered, FromGatewayWorker
from gateway.dataplane.client import Piece
from gateway.dataplane.tracing import Trace
from gateway.decide.decision import Decision
from model_pod.wire.frames import encode
from model_pod.wire.http1.head import Fields
from model_pod.wire.link import PodAnswer

# What waits in this process to be taken; beyond it, copies are lost.
_MAX_WAITING_BYTES = 8 * 2**20
# What copies of requests hold that are not answered yet, all of a worker's; beyond, they are lost.
_MAX_MAKING_BYTES = 64 * 2**20
_AGAIN_S = 0.5
_AGAIN_AT_MOST_S = 5.0


class Making:
    """What copies hold whose requests are not answered yet."""

    __slots__ = ("_held_bytes",)

    def __init__(self) -> None:
        self._held_bytes = 0

    def take(self, byte_count: int) -> bool:
        """Take room; False when there is not so much."""
        if self._held_bytes + byte_count > _MAX_MAKING_BYTES:
            return False
        self._held_bytes += byte_count
        return True

    def give(self, byte_count: int) -> None:
        """Give back what was taken."""
        self._held_bytes -= byte_count


class Copy:
    """One request on its way, of which a copy will be made: what came of both bodies so far.

    Args:
        needs_request: without it the request's body is not kept, however large it is.
        making: where it takes room for as long as its request is not answered; None for one that is.
        may_drop_request: its answer is of use without its request.

    Attributes:
        lost: why nothing of it is copied; "" for all of it.
        request_lost: why its answer is copied alone.
    """

    __slots__ = (
        "_answer",
        "_making",
        "_may_drop_request",
        "_needs_request",
        "_request",
        "_room_bytes",
        "_taken_bytes",
        "lost",
        "request_lost",
    )

    def __init__(self, *, needs_request: bool, making: Making | None = None, may_drop_request: bool = False) -> None:
        self.lost = self.request_lost = ""
        self._may_drop_request = may_drop_request
        self._making = making
        self._taken_bytes = 0
        self._needs_request = needs_request
        self._request: list[Piece] = []
        self._answer: list[Piece] = []
        self._room_bytes = [MAX_COPIED_BYTES, MAX_COPIED_BYTES]

    def add_request(self, piece: Piece) -> None:
        """Keep a piece of the request's body."""
        if self._needs_request:
            self._add(0, self._request, piece)

    def add_answer(self, piece: Piece) -> None:
        """Keep a piece of the answer's body."""
        self._add(1, self._answer, piece)

    def bodies(self) -> tuple[bytes, bytes]:
        """Return what was kept of the request and of its answer."""
        return b"".join(self._request), b"".join(self._answer)

    def drop_request(self) -> None:
        """Let go of the request's body: nobody wants it, now that it is answered."""
        self._request.clear()

    def settle(self) -> None:
        """Give its room back: its request is answered, or never will be."""
        if self._making is not None:
            self._making.give(self._taken_bytes)
            self._making = None

    def _add(self, side: int, pieces: list[Piece], piece: Piece) -> None:
        if self.lost:
            return
        self._room_bytes[side] -= len(piece)
        if self._room_bytes[side] < 0:
            self._lose("too_large", is_request=pieces is self._request)
        elif self._making is not None and not self._making.take(len(piece)):
            self._lose("behind", is_request=pieces is self._request)
        else:
            self._taken_bytes += len(piece)
            pieces.append(piece)

    def _lose(self, why: str, *, is_request: bool) -> None:
        if is_request and self._may_drop_request:
            self.request_lost, self._needs_request = why, False
            self._request.clear()
            return
        self.lost = why
        self.settle()
        self._request.clear()
        self._answer.clear()


def answered(
    decision: Decision,
    trace: Trace,
    asked: tuple[str, str, str, Fields],
    answer: PodAnswer,
    at_s: float,
    took_s: float,
    sampled: str = "",
) -> Answered:
    """Return what the copies process is told of a request.

    Args:
        asked: the request's id, method, target, and the fields that its pod got.
        at_s: when it began, seconds since the epoch.
        took_s: from the gateway to the pod and back.
        sampled: why it is a sample; "" where it is none.
    """
    request_id, method, target, fields = asked
    copies, trial = decision.copies, decision.trial
    assert copies is not None  # noqa: S101 - whoever calls has looked
    needs_request = copies.needs_request(sampled)
    return Answered(
        request_id,
        trace.trace_id,
        trace.span_id,
        trace.sampled,
        at_s,
        decision.model,
        decision.version,
        decision.arm,
        decision.tenant,
        decision.tier,
        method,
        target if needs_request else "",
        tuple(fields) if needs_request else (),
        answer.status,
        answer.fields,
        took_s,
        answer.device_us,
        copies.shadows,
        copies.is_recorded,
        copies.is_labelled,
        None if trial is None else trial.stage,
        0 if trial is None else trial.subject,
        sampled,
    )


class CopiesLink(asyncio.Protocol):
    """This worker's way to the copies process.

    Attributes:
        lost: what was not handed over, by why, since the start.
        making: room for copies of requests that are not answered yet.
        drifting: models with the versions of them that drift.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._path = ""
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self.lost: Counter[str] = Counter()
        self.making = Making()
        self.drifting: frozenset[tuple[str, str]] = frozenset()

    def follow(self, path: str) -> None:
        """Hand copies over at this Unix socket from now on; "" hands over none."""
        if path == self._path and (self._transport is not None or self._connecting is not None):
            return
        self._path = path
        if self._transport is not None:
            self._transport.abort()
        elif path and self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())

    def sampled(self, decision: Decision, status: int, took_s: float) -> str:
        """Return why an answered request is a sample; "" where it is none."""
        if decision.copies is None:
            return ""
        is_drifting = (decision.model, decision.version) in self.drifting
        return decision.copies.sampled(status, took_s, is_drifting=is_drifting)

    def copy(self, told: Answered, copy: Copy) -> None:
        """Hand a request and its answer over."""
        if copy.lost:
            self.lost[copy.lost] += 1
        else:
            self.hand_over(told, copy.bodies())

    def hand_over(self, message: FromGatewayWorker, blobs: Sequence[bytes] = ()) -> bool:
        """Say it, if it is taken; otherwise it is lost, and counted."""
        transport = self._transport
        if transport is None:
            self.lost["away"] += 1
        elif transport.get_write_buffer_size() > _MAX_WAITING_BYTES:
            self.lost["behind"] += 1
        else:
            transport.writelines(encode(message, blobs))
            return True
        return False

    async def _connect(self) -> None:
        pause_s = 0.0
        while self._path and self._transport is None:
            await asyncio.sleep(pause_s)
            pause_s = min(max(_AGAIN_S, 2 * pause_s), _AGAIN_AT_MOST_S)
            with suppress(OSError):
                await self._loop.create_unix_connection(lambda: self, self._path)
        self._connecting = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._path and self._connecting is None:
            self._connecting = self._loop.create_task(self._connect())
