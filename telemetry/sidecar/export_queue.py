"""Decides what waits to be exported, what is given up for it, and what an attempt to export means."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from http import HTTPStatus

from msgspec import Struct

from telemetry.sidecar.drops import Drops
from telemetry.span import Span

PARCEL_SPANS = 512
PARCEL_AFTER_S = 0.5
QUEUE_BYTES = 16 * 2**20

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 10.0
LONGEST_RETRY_AFTER_S = 60.0

_AGAIN = frozenset(
    {
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
"""Answers after which the same request may be repeated. Source: OTLP specification, "Retryable response codes"."""


class Parcel(Struct, frozen=True):
    """Spans that travel together."""

    body: bytes
    span_count: int


class Fate(Enum):
    """What became of a parcel that was sent."""

    TAKEN = auto()
    REFUSED = auto()
    AGAIN = auto()


class ExportQueue:
    """Spans on their way out, oldest first, within a bound.

    Args:
        encode: makes the body of a request of spans.
        drops: where spans that are given up are counted.

    Attributes:
        queued_bytes: of the parcels that wait or are being sent.
    """

    def __init__(self, encode: Callable[[Sequence[Span]], bytes], drops: Drops) -> None:
        self._encode = encode
        self._drops = drops
        self._open: list[Span] = []
        self._opened_s = 0.0
        self._waiting: deque[Parcel] = deque()
        self._sent: Parcel | None = None
        self.queued_bytes = 0

    def put(self, spans: Sequence[Span], now_s: float) -> None:
        """Take spans in; the oldest parcels go when there is no room."""
        if not self._open:
            self._opened_s = now_s
        self._open.extend(spans)
        while len(self._open) >= PARCEL_SPANS:
            self._close(PARCEL_SPANS)

    def next(self, now_s: float, is_ending: bool = False) -> Parcel | None:
        """Return what is to be sent now, the same until it is done with.

        Args:
            is_ending: spans that came just now do not wait for others.
        """
        if self._open and (is_ending or now_s >= self._opened_s + PARCEL_AFTER_S):
            self._close(len(self._open))
        if self._sent is None and self._waiting:
            self._sent = self._waiting.popleft()
        return self._sent

    def done(self) -> None:
        """Forget what was sent last: it was taken or refused."""
        if self._sent is not None:
            self.queued_bytes -= len(self._sent.body)
            self._sent = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._open and not self._waiting and self._sent is None

    def _close(self, span_count: int) -> None:
        parcel = Parcel(self._encode(self._open[:span_count]), span_count)
        del self._open[:span_count]
        self._waiting.append(parcel)
        self.queued_bytes += len(parcel.body)
        # What is being sent may arrive any moment and is not given up.
        while self.queued_bytes > QUEUE_BYTES and self._waiting:
            oldest = self._waiting.popleft()
            self.queued_bytes -= len(oldest.body)
            self._drops.add("spans", "queue_full", oldest.span_count)


def fate_of(status: int) -> Fate:
    """Return what an answer's status means."""
    if status in _AGAIN:
        return Fate.AGAIN
    return Fate.TAKEN if 200 <= status < 300 else Fate.REFUSED


def delay_s(failures: int, retry_after: str, draw: float) -> float:
    """Return how long to wait before the next attempt.

    Args:
        failures: attempts in a row that were in vain, at least 1.
        retry_after: the answer's ``Retry-After``, "" without one; only seconds are heeded, not dates.
        draw: 0 to 1, so that many senders do not come back at once.
    """
    own_s = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2.0 ** min(failures - 1, 16))
    asked_s = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() and len(retry_after) < 6 else 0.0
    return max(own_s * (0.5 + 0.5 * draw), min(asked_s, LONGEST_RETRY_AFTER_S))
