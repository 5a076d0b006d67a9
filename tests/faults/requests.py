"""The requests of a run: what each is, decided by the run's seed and its number, and when it is sent again."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from tests.faults.ledgers import End, Outcome
from tests.faults.oracle.answers import PIECES_HEADER, sha256_of

# A key says that the request may be sent again although it may have run; so may what was refused before it ran.
_MAY_HAVE_RUN = frozenset({"pod_lost", "gateway_stopped"})
_CHUNK_BYTES = 512


@dataclass(frozen=True, slots=True)
class Caller:
    """A tenant and its key, which no output may show."""

    tenant: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Mix:
    """Which requests a client sends.

    Attributes:
        keyed, chunked, streamed: shares of requests with an idempotency key, with a body in chunks, and whose answer
            is to come in pieces (which have no key, since nobody keeps a stream).
        payload_bytes: least and most.
        pieces: of a streamed answer.
    """

    keyed: float = 0.5
    chunked: float = 0.05
    streamed: float = 0.0
    payload_bytes: tuple[int, int] = (50, 2000)
    pieces: int = 8


@dataclass(frozen=True, slots=True)
class Planned:
    """One request, the same in every attempt."""

    caller: Caller
    payload: bytes
    payload_sha256: str
    idempotency_key: str
    is_chunked: bool
    pieces: int


def plan(seed: int, client: str, number: int, callers: Sequence[Caller], mix: Mix) -> Planned:
    """Return the request of a number; no two numbers, clients or seeds have the same payload."""
    draw = random.Random(f"{seed}/{client}/{number}")
    name = f"{seed}-{client}-{number}"
    padding = "x" * draw.randint(*mix.payload_bytes)
    payload = msgspec.json.encode({"name": name, "padding": padding})
    pieces = mix.pieces if draw.random() < mix.streamed else 0
    key = f"key-{name}" if not pieces and draw.random() < mix.keyed else ""
    is_chunked = draw.random() < mix.chunked
    return Planned(draw.choice(callers), payload, sha256_of(payload), key, is_chunked, pieces)


def request_bytes(planned: Planned, host: str, path: str) -> bytes:
    """Return the whole request as it is sent."""
    fields = {
        "host": host,
        "authorization": f"Bearer {planned.caller.key}",
        "content-type": "application/octet-stream",
    }
    if planned.idempotency_key:
        fields["idempotency-key"] = planned.idempotency_key
    if planned.pieces:
        fields[PIECES_HEADER] = str(planned.pieces)
    if planned.is_chunked:
        fields["transfer-encoding"] = "chunked"
        body = in_chunks(planned.payload)
    else:
        fields["content-length"] = str(len(planned.payload))
        body = planned.payload
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def in_chunks(payload: bytes) -> bytes:
    """Return a body in chunked transfer coding."""
    parts = (payload[at : at + _CHUNK_BYTES] for at in range(0, len(payload), _CHUNK_BYTES))
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def is_sent_again(planned: Planned, end: End) -> bool:
    """Whether the client tries once more: what never ran may run, and what has a key may be asked for again."""
    if end.outcome is Outcome.NOT_CONNECTED:
        return True
    if end.outcome in (Outcome.TRUNCATED, Outcome.LOST):
        return bool(planned.idempotency_key)
    if end.reason in _MAY_HAVE_RUN:
        return bool(planned.idempotency_key)
    return end.is_retryable is True


def succeeded(end: End) -> bool:
    """Whether the attempt got the model's answer."""
    return end.outcome is Outcome.WHOLE and end.told is not None


def pause_s(attempt: int) -> float:
    """Return the wait before the next attempt: 0.05 s, then twice as long each time, 1 s at most."""
    return float(min(1.0, 0.05 * 2 ** min(attempt, 10)))
