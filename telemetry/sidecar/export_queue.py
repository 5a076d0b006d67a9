"""Decides what waits to be exported, what is given up for it, and what an attempt to export means."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from http import HTTPStatus

from msgspec import Struct

from telemetry.sidecar.drops import Drops
from telemetry.sidecar.weight import attributes_bytes, span_bytes
from telemetry.span import Attributes, Span

PARCEL_SPANS = 512
PARCEL_BYTES = 2 * 2**20
"""By weight, which is more than on the wire; receivers take several times as much."""
PARCEL_AFTER_S = 0.5
QUEUE_BYTES = 16 * 2**20

FIRST_DELAY_S = 0.25
LONGEST_DELAY_S = 10.0
LONGEST_RETRY_AFTER_S = 60.0
ATTEMPTS_FOR_S = 300.0
"""So long a receiver may answer one parcel with "later", again and again; others wait behind it."""

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
    TOO_LARGE = auto()


class ExportQueue:
    """Spans on their way out, oldest first, within a bound.

    Args:
        encode: makes the body of a request of spans.
        drops: where spans that are given up are counted.

    Attributes:
        queued_bytes: of the parcels that wait or are being sent.
        came_spans: that were put in since the start.
    """

    def __init__(self, encode: Callable[[Sequence[Span]], bytes], drops: Drops) -> None:
        self._encode = encode
        self._drops = drops
        self._open: list[Span] = []
        self._open_bytes = 0
        self._opened_s = 0.0
        self._resource: Attributes | None = None
        self._waiting: deque[Parcel] = deque()
        self._sent: Parcel | None = None
        self.queued_bytes = self._closed_spans = self.came_spans = 0

    @property
    def waiting_spans(self) -> int:
        """How many spans wait or are being sent."""
        return self._closed_spans + len(self._open)

    def put(self, spans: Sequence[Span], now_s: float) -> None:
        """Take spans in; the oldest parcels go when there is no room."""
        self.came_spans += len(spans)
        for span in spans:
            weight = self._weight(span)
            if self._open_bytes + weight > PARCEL_BYTES:
                self._close()
            if not self._open:
                self._opened_s = now_s
            self._open.append(span)
            self._open_bytes += weight
            if len(self._open) >= PARCEL_SPANS:
                self._close()

    def next(self, now_s: float, is_ending: bool = False) -> Parcel | None:
        """Return what is to be sent now, the same until it is done with.

        Args:
            is_ending: spans that came just now do not wait for others.
        """
        self._close_due(now_s, is_ending)
        if self._sent is None and self._waiting:
            self._sent = self._waiting.popleft()
        return self._sent

    def take(self, now_s: float, is_ending: bool = False) -> list[Parcel]:
        """Hand over all parcels that wait, and are not being sent: to a place that outlives this process."""
        self._close_due(now_s, is_ending)
        taken = list(self._waiting)
        self._waiting.clear()
        self.queued_bytes -= sum(len(parcel.body) for parcel in taken)
        self._closed_spans -= sum(parcel.span_count for parcel in taken)
        return taken

    def give_back(self, parcels: Sequence[Parcel]) -> None:
        """Take back, as the oldest, what found no place elsewhere."""
        self._waiting.extendleft(reversed(parcels))
        self.queued_bytes += sum(len(parcel.body) for parcel in parcels)
        self._closed_spans += sum(parcel.span_count for parcel in parcels)
        self._make_room()

    def done(self) -> None:
        """Forget what was sent last: it was taken or refused."""
        if self._sent is not None:
            self.queued_bytes -= len(self._sent.body)
            self._closed_spans -= self._sent.span_count
            self._sent = None

    def _weight(self, span: Span) -> int:
        """Return what a span adds to the open parcel; a resource is told once for those that share it."""
        weight = span_bytes(span)
        if span.resource is not self._resource or not self._open:
            self._resource = span.resource
            weight += attributes_bytes(span.resource)
        return weight

    def _close_due(self, now_s: float, is_ending: bool) -> None:
        if self._open and (is_ending or now_s >= self._opened_s + PARCEL_AFTER_S):
            self._close()

    def _close(self) -> None:
        if not self._open:
            return
        parcel = Parcel(self._encode(self._open), len(self._open))
        self._open, self._open_bytes, self._resource = [], 0, None
        if len(parcel.body) > QUEUE_BYTES:
            self._drops.add("spans", "too_large", parcel.span_count)
            return
        self._waiting.append(parcel)
        self.queued_bytes += len(parcel.body)
        self._closed_spans += parcel.span_count
        self._make_room()

    def _make_room(self) -> None:
        # What is being sent may arrive any moment and is not given up.
        while self.queued_bytes > QUEUE_BYTES and self._waiting:
            oldest = self._waiting.popleft()
            self.queued_bytes -= len(oldest.body)
            self._closed_spans -= oldest.span_count
            self._drops.add("spans", "queue_full", oldest.span_count)


def halves(spans: Sequence[Span], encode: Callable[[Sequence[Span]], bytes]) -> tuple[Parcel, Parcel]:
    """Return two parcels of what was in one that was too large: at least two spans."""
    middle = len(spans) // 2
    first, second = spans[:middle], spans[middle:]
    return Parcel(encode(first), len(first)), Parcel(encode(second), len(second))


def fate_of(status: int) -> Fate:
    """Return what an answer's status means."""
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return Fate.TOO_LARGE
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
