"""The link as the oracle speaks it: many requests on one connection, each answered when it is."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from model_pod.wire.link import (
    ANSWER,
    CREDIT,
    DATA,
    LAST,
    NOT_TOLD,
    PREFACE,
    REQUEST,
    RESET,
    FrameReader,
    PodAnswer,
    PodCharge,
    PodRequest,
    credit,
    decode_request,
    encode_head,
    frame,
)
from model_pod.wire.refusals import REASON_HEADER, REASONS, refusal_body
from tests.faults.ledgers import Told
from tests.faults.oracle import answers
from tests.faults.oracle.oracle import Oracle, Row

_JSON = b"content-type: application/json\r\n"
_REPLAYED = b"idempotency-replayed: true\r\n"
_USAGE = b"penstock-usage: device_us=%d;batch=1;queue_us=0\r\n"


class LinkReply:
    """Answers one stream.

    Args:
        on_end: called with its number when the answer is whole.
    """

    def __init__(
        self, oracle: Oracle, number: int, write: Callable[[bytes], None], on_end: Callable[[int], None]
    ) -> None:
        self._oracle = oracle
        self._number = number
        self._write = write
        self._on_end = on_end

    def told(self, told: Told, *, is_replay: bool) -> None:
        device_us = 0 if is_replay else answers.cost_us(told.payload_sha256)
        fields = _JSON + _USAGE % device_us + _REPLAYED * is_replay
        self._whole(200, "", fields, msgspec.json.encode(told), device_us)

    def refuse(self, reason: str, request_id: str) -> None:
        known = REASONS[reason]
        fields = (
            _JSON + f"{REASON_HEADER}: {reason}\r\n".encode() + b"retry-after: 1\r\n" * (known.status in (409, 503))
        )
        body = refusal_body(known, f"the oracle says {reason}", request_id)
        self._whole(known.status, reason, fields, body, NOT_TOLD)

    def _whole(self, status: int, reason: str, fields: bytes, body: bytes, device_us: int) -> None:
        rows = self._oracle.rows
        head = encode_head(PodAnswer(status, "", reason, fields, b"", len(body), device_us, 0, rows))
        self._send(ANSWER | LAST, head, body)

    def begin(self) -> None:
        fields = b"content-type: application/jsonl\r\n"
        self._send(ANSWER, encode_head(PodAnswer(200, "", "", fields, b"", NOT_TOLD)))

    def more(self, piece: bytes) -> None:
        self._send(DATA, b"", piece)

    def end(self, told: Told) -> None:
        self._send(DATA | LAST, encode_head(PodCharge(0, 0, self._oracle.rows)), msgspec.json.encode(told))

    def _send(self, kind: int, head: bytes, body: bytes = b"") -> None:
        self._write(b"".join(frame(kind, self._number, head, body)))
        if kind & LAST:
            self._on_end(self._number)


class Stream:
    """One request that is not whole yet, or whose answer is not."""

    def __init__(self, request: PodRequest) -> None:
        self.request = request
        self.body: list[bytes] = []
        self.row: Row | None = None


class LinkEnd:
    """The oracle's end of one link.

    Args:
        write: sends bytes to the worker.
    """

    def __init__(self, oracle: Oracle, write: Callable[[bytes], None]) -> None:
        self._oracle = oracle
        self._write = write
        self._reader = FrameReader()
        self._streams: dict[int, Stream] = {}
        write(PREFACE)

    def feed(self, data: bytes) -> None:
        """Take what came after the preface."""
        for kind, number, head, body in self._reader.feed(data):
            if kind & ~LAST == REQUEST:
                self._streams[number] = Stream(decode_request(head))
            stream = self._streams.get(number)
            if stream is None or kind == CREDIT:  # no answer of ours is longer than what may be sent without
                continue
            if kind == RESET:
                self._gone(self._streams.pop(number))
                continue
            stream.body.append(body)
            if body:
                self._write(credit(number, len(body)))
            if kind & LAST:
                self._run(number, stream)

    def lost(self) -> None:
        """The worker is gone, and with it all of its callers."""
        for stream in self._streams.values():
            self._gone(stream)

    def _run(self, number: int, stream: Stream) -> None:
        request = stream.request
        fields = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in request.fields}
        fields |= {"x-request-id": request.request_id, "penstock-tenant": request.tenant}
        if request.idempotency_key:
            fields["idempotency-key"] = request.idempotency_key
        reply = LinkReply(self._oracle, number, self._write, self._end)
        stream.row = Row(fields, b"".join(stream.body), reply)
        self._oracle.submit(stream.row)

    def _end(self, number: int) -> None:
        self._streams.pop(number, None)

    def _gone(self, stream: Stream) -> None:
        if stream.row is not None:
            stream.row.is_wanted = False


class Preface:
    """Tells from a connection's first bytes whether it is a link."""

    def __init__(self) -> None:
        self._seen = b""

    def take(self, data: bytes) -> tuple[bool, bytes] | None:
        """Return whether it is a link and what follows; None while it cannot be told."""
        self._seen += data
        if not PREFACE.startswith(self._seen[: len(PREFACE)]):
            return False, self._seen
        return (True, self._seen[len(PREFACE) :]) if len(self._seen) >= len(PREFACE) else None
