"""Audit logs made in memory, by the functions that write them."""

from __future__ import annotations

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.control.audit.keys import fingerprint
from gateway.control.audit.record import (
    CHECKPOINT,
    GENESIS,
    Change,
    CheckpointDetail,
    line_of,
    next_record,
    read_line,
    signed_text,
)
from gateway.control.audit.verify import Copies, Line, Verdict, verify

KEY = Ed25519PrivateKey.generate()
PUBLIC: Ed25519PublicKey = KEY.public_key()
START_S = 1_790_000_000.0


class Writer:
    """Writes lines as the gateway does."""

    def __init__(self, name: str = "one") -> None:
        self.name = name
        self.lines: list[bytes] = []
        self.copies: list[bytes] = []
        self._head = GENESIS

    def write(self, count: int) -> None:
        """Record so many changes."""
        for _ in range(count):
            n = len(self.lines) + 1
            subject = f"tenant/{self.name}-{n % 7}/quota/month"
            detail = {"amount": n * 1000, "until": "2026-12-01", "unit": "µs"}
            self._add(Change("key:ops-1", "quota.granted", subject, detail, "the night batch", 3, 3))

    def sign(self) -> None:
        """Write a checkpoint and its copy."""
        n = len(self.lines)
        signature = KEY.sign(signed_text(n, self._head)).hex()
        detail = CheckpointDetail(n, self._head.hex(), fingerprint(PUBLIC), signature)
        self._add(Change("gateway", CHECKPOINT, "audit", msgspec.to_builtins(detail), "", 3, 3))
        self.copies.append(self.lines[-1])

    def _add(self, change: Change) -> None:
        n = len(self.lines)
        line, self._head = line_of(next_record(change, n, self._head, START_S + n))
        self.lines.append(line)


def log_of(records: int, name: str = "one") -> Writer:
    """Return a log of so many lines, with a checkpoint as every 250th and as the last of them."""
    writer = Writer(name)
    while len(writer.lines) < records:
        writer.write(min(249, records - 1 - len(writer.lines)))
        writer.sign()
    return writer


def copies_of(lines: list[bytes]) -> Copies:
    """Return what a second place knows that has these lines."""
    return Copies({read_line(line).record.n: read_line(line).hash for line in lines})


def split(content: bytes) -> list[Line]:
    """Return the lines of a file's content, as a reader of the file gives them."""
    pieces = content.split(b"\n")
    whole = [piece + b"\n" for piece in pieces[:-1]]
    return [Line(f"log:{number}", line) for number, line in enumerate([*whole, *filter(None, pieces[-1:])], 1)]


def verdict_of(content: bytes, copies: Copies) -> Verdict:
    """Verify a file's content from its first byte."""
    return verify(split(content), copies, PUBLIC)
