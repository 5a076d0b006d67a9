"""Decides whether an audit log is whole: each line ties to the one before, checkpoints are signed and kept twice.

Up to the last checkpoint that a copy knows, no line can be changed, added, removed or moved unseen. The lines after it
tie to each other, and only the last of them can be missing unseen. A signature says whose key wrote the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from gateway.control.audit.record import (
    CHECKPOINT,
    GENESIS,
    BadLine,
    Sealed,
    checkpoint_detail,
    read_line,
    signed_text,
)


class Line(Struct, frozen=True):
    """One line and where it stands: "FILE:LINE"."""

    place: str
    content: bytes


class Fault(Struct, frozen=True):
    """The first line that is not as it was written."""

    place: str
    problem: str


class Copies(Struct, frozen=True):
    """The checkpoints that second places know.

    Attributes:
        hashes: of each checkpoint, by its number.
        are_complete: all but perhaps the newest, as the gateway's own second file has them.
    """

    hashes: Mapping[int, bytes]
    are_complete: bool = True


class Progress(Struct, frozen=True):
    """What is proven after some lines.

    Attributes:
        records: lines that tie to each other from the first one.
        head: hash of the last.
        checkpoints: how many of them are checkpoints whose signature holds.
        signed: the record of the last of these.
        not_copied: the record of a checkpoint that no copy knows, 0 when all are known.
    """

    records: int = 0
    head: bytes = GENESIS
    checkpoints: int = 0
    signed: int = 0
    not_copied: int = 0


NOTHING_PROVEN = Progress()


class Verdict(Struct, frozen=True):
    """Whether a log is whole, and what of it is proven in either case; without a fault it is."""

    proven: Progress
    fault: Fault | None = None


def verify(lines: Iterable[Line], copies: Copies, key: Ed25519PublicKey, above: Progress = NOTHING_PROVEN) -> Verdict:
    """Read a log from its first line, or from any other on with what is proven above it."""
    proven = above
    place = "the log"
    for line in lines:
        place = line.place
        try:
            proven = follow(proven, line.content, copies, key)
        except BadLine as bad:
            return Verdict(proven, Fault(place, str(bad)))
    last = max(copies.hashes, default=0)
    if last > proven.records:
        problem = f"the log ends with record {proven.records}, and record {last} was a checkpoint: lines are missing"
        return Verdict(proven, Fault(place, problem))
    return Verdict(proven)


def follow(proven: Progress, content: bytes, copies: Copies, key: Ed25519PublicKey) -> Progress:
    """Take one more line.

    Raises:
        BadLine: it does not follow, or is not what was written there.
    """
    line = read_line(content)
    record = line.record
    if record.n != proven.records + 1:
        raise BadLine(f"this is record {record.n} where record {proven.records + 1} belongs")
    if record.prev != proven.head.hex():
        raise BadLine(f"record {record.n} follows another record {proven.records} than the one above it")
    known = copies.hashes.get(record.n)
    if known is not None and known != line.hash:
        raise BadLine(f"record {record.n} is not the checkpoint that was copied")
    if record.action != CHECKPOINT:
        return Progress(record.n, line.hash, proven.checkpoints, proven.signed, proven.not_copied)
    check_signature(line, key)
    if proven.not_copied and copies.are_complete:
        raise BadLine(f"the second file lacks an earlier checkpoint, record {proven.not_copied}")
    not_copied = proven.not_copied if known is not None else record.n
    return Progress(record.n, line.hash, proven.checkpoints + 1, record.n, not_copied)


def check_signature(checkpoint: Sealed, key: Ed25519PublicKey) -> None:
    """Check what a checkpoint says of the lines before it, and who says so.

    Raises:
        BadLine: it is no checkpoint, or its signature is not by this key.
    """
    record = checkpoint.record
    detail = checkpoint_detail(record)
    if (detail.count, detail.head) != (record.n - 1, record.prev):
        raise BadLine(f"the checkpoint is of record {detail.count}, and stands after record {record.n - 1}")
    try:
        key.verify(bytes.fromhex(detail.signature), signed_text(detail.count, bytes.fromhex(detail.head)))
    except (InvalidSignature, ValueError) as error:
        raise BadLine(f"the checkpoint's signature is not by this key (it names key {detail.key})") from error


def read_copies(lines: Iterable[Line], key: Ed25519PublicKey) -> dict[int, bytes] | Fault:
    """Return the hash of each checkpoint that a second file knows, or its first line that is not as it was written."""
    hashes: dict[int, bytes] = {}
    last = 0
    for line in lines:
        try:
            copy = read_line(line.content)
            check_signature(copy, key)
            if copy.record.n <= last:
                raise BadLine(f"record {copy.record.n} stands after record {last}")
        except BadLine as bad:
            return Fault(line.place, str(bad))
        last = copy.record.n
        hashes[last] = copy.hash
    return hashes
