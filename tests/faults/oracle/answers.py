"""What the light oracle answers: decided from the request and from how it is told to behave."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
from msgspec import Struct

from model_pod.wire.refusals import REASONS, refusal_body
from tests.faults.ledgers import Told

BEHAVIOUR_PATH = b"/oracle/behaviour"
SEEN_PATH = b"/oracle/seen"
PIECES_HEADER = "x-oracle-pieces"
"""A request that has it is answered in so many pieces before the last, which says the execution."""


class Behaviour(Struct, frozen=True, forbid_unknown_fields=True):
    """How the oracle behaves until it is told otherwise.

    Attributes:
        delay_s: how long one execution takes.
        pause_s: between the pieces of an answer that comes in pieces.
        at_once: most executions at a time; the others wait in order of arrival.
        refuse: the reason that every request is refused with; "" refuses none.
    """

    delay_s: float = 0.0
    pause_s: float = 0.0
    at_once: int = 4096
    refuse: str = ""


class Seen(Struct, frozen=True):
    """What one oracle has seen of requests for the model since it started."""

    requests: int
    refused: int


def cost_us(payload_sha256: str) -> int:
    """Return what an execution costs; by its payload, so that every other sum shows."""
    return 100 + int(payload_sha256[:4], 16) % 900


def sha256_of(payload: bytes) -> str:
    """Return how a payload is named in all ledgers."""
    return hashlib.sha256(payload).hexdigest()


def answer(status: int, fields: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """Return a whole answer."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in (*fields, ("content-length", str(len(body)))))
    return f"HTTP/1.1 {status} Oracle\r\n{lines}\r\n".encode() + body


def told_answer(told: Told, *, is_replay: bool) -> bytes:
    """Return the answer of an execution; one that was kept costs nothing again."""
    device_us = 0 if is_replay else cost_us(told.payload_sha256)
    fields = [
        ("content-type", "application/json"),
        ("penstock-usage", f"device_us={device_us};batch=1;queue_us=0"),
    ]
    return answer(200, fields + [("idempotency-replayed", "true")] * is_replay, msgspec.json.encode(told))


STREAM_HEAD = b"HTTP/1.1 200 Oracle\r\ncontent-type: application/jsonl\r\ntransfer-encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """Return a piece of a streamed answer."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def refusal(reason: str, request_id: str) -> bytes:
    """Return a refusal as our own pods write it."""
    known = REASONS[reason]
    fields = [("content-type", "application/json"), ("penstock-reason", reason)]
    fields += [("retry-after", "1")] * (known.status in (409, 503))
    return answer(known.status, fields, refusal_body(known, f"the oracle says {reason}", request_id))
