"""The ledgers: what clients sent and got, what models ran, what the gateway recorded, and who was killed meanwhile.

Moments are seconds of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from gateway.decisions.folder import Read, read_frames
from gateway.decisions.records import ID_BYTES, opened, record_at


class Outcome(StrEnum):
    """How an attempt ended, seen from outside."""

    WHOLE = "O1"  # one complete answer
    TRUNCATED = "O2"  # an answer began, and its framing says that it is cut
    LOST = "O3"  # connected, yet not one byte came back
    NOT_CONNECTED = "O4"
    LOOKS_WHOLE = "O5"  # framed as complete, yet not all of what the model said: must never be


class Told(Struct, frozen=True):
    """What the oracle says of the execution that an answer comes from."""

    request_id: str
    tenant: str
    payload_sha256: str
    pod: str
    pid: int
    seq: int


class Attempt(Struct, frozen=True, tag="attempt"):
    """A request as it is about to be sent.

    Attributes:
        request: its number at this client; attempts of one request have the same payload.
        idempotency_key: "" where the client does not say that it may be sent again.
    """

    client: str
    request: int
    attempt: int
    at_s: float
    tenant: str
    payload_sha256: str
    idempotency_key: str = ""


class End(Struct, frozen=True, tag="end"):
    """What came of an attempt; all but the first five are of its answer.

    Attributes:
        is_hang: the client's patience ended it.
        why: in words, of an attempt without an answer of the model.
        generation: that decided; -1 when it is not told.
        device_us: that the answer says it costs; -1 when it is not told.
        told: by the oracle, in a whole answer of the model.
        is_retryable: as a refusal's body says; None when it does not.
        is_followed: bytes came after the whole answer that nobody asked for.
    """

    client: str
    request: int
    attempt: int
    at_s: float
    outcome: Outcome
    is_hang: bool = False
    why: str = ""
    status: int = 0
    reason: str = ""
    request_id: str = ""
    generation: int = -1
    device_us: int = -1
    told: Told | None = None
    is_retryable: bool | None = None
    has_retry_after: bool = False
    is_replay: bool = False
    is_followed: bool = False


class Execution(Struct, frozen=True):
    """A line of an oracle: it begins to run a payload, or is done with it.

    Attributes:
        pid, server_pid: of the process that runs it, and of the one that would remember it by its key.
    """

    phase: str
    pod: str
    pid: int
    server_pid: int
    seq: int
    request_id: str
    payload_sha256: str
    at_s: float


class Audited(Struct, frozen=True):
    """A decision record of the gateway.

    Attributes:
        refusal: why it was not admitted; "" for what was.
        device_us: charged; -1 when no pod said.
    """

    request_id: str
    at_s: float
    tenant: str
    refusal: str
    status: int
    reason: str
    generation: int
    device_us: int
    duration_s: float


class Death(Struct, frozen=True):
    """A process that a fault killed.

    Attributes:
        kind: ``worker``, ``pod`` or ``inference``.
        at_s, gone_s: before the signal, and when it had ended.
    """

    kind: str
    pid: int
    at_s: float
    gone_s: float


_Line = TypeVar("_Line")
Sent = Attempt | End


class Ledger:
    """Appends lines to a file; each is with the kernel before the call returns, so kill -9 loses none."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._encode = msgspec.json.Encoder().encode

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def write(self, line: Struct) -> None:
        """Append a line."""
        os.write(self._file, self._encode(line) + b"\n")


def read_sent(path: Path) -> tuple[list[Attempt], list[End]]:
    """Return the attempts of a client's ledger and their ends."""
    attempts: list[Attempt] = []
    ends: list[End] = []
    decoder: msgspec.json.Decoder[Sent] = msgspec.json.Decoder(Sent)
    for line in _lines(path, decoder):
        if isinstance(line, Attempt):
            attempts.append(line)
        else:
            ends.append(line)
    return attempts, ends


def read_executions(path: Path) -> list[Execution]:
    """Return what oracles wrote; nothing when none ran."""
    return list(_lines(path, msgspec.json.Decoder(Execution))) if path.exists() else []


def _lines(path: Path, decoder: msgspec.json.Decoder[_Line]) -> Iterator[_Line]:
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):  # a last one without its end was being written when its writer was killed
                yield decoder.decode(line)


def read_audited(folder: Path) -> tuple[list[Audited], Read]:
    """Return the gateway's decision records, and what became of reading them."""
    read = Read()
    since_boot_s = time.time() - time.monotonic()  # records go by the wall's clock
    found: list[Audited] = []
    for frame in read_frames(folder, 0.0, float("inf"), read):
        block = opened(frame)
        if block is None:
            read.skipped += 1
            continue
        read.lost += block.lost
        for place in range(frame.count):
            record = record_at(block, place)
            found.append(
                Audited(
                    frame.ids[place * ID_BYTES : (place + 1) * ID_BYTES].hex(),
                    record.at_s - since_boot_s,
                    record.asked.tenant,
                    record.ended.refusal,
                    record.ended.status,
                    record.ended.reason,
                    record.ended.generation,
                    record.device_us,
                    record.duration_s,
                )
            )
    return found, read
