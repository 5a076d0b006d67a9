"""One line of the audit log: who did what to what, and a hash that ties it to every line before."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

LINE_BYTES = 32 * 1024
"""No line is longer."""
_DETAIL_BYTES = 16 * 1024
_TEXT_CHARACTERS = 1000
_HASH_BYTES = hashlib.sha256().digest_size
GENESIS = bytes(_HASH_BYTES)
"""What stands for the hash before the first line."""

CHECKPOINT = "audit.checkpoint"
REPAIRED = "audit.repaired"
DAMAGED = "audit.damaged"
RESUMED = "audit.resumed"
"""The log ended with records that no checkpoint had signed, as after a kill: whoever wrote them is not proven."""
GAP = "audit.gap"
"""Changes went on that could not be recorded."""
CHECKPOINT_LINE = b'{"action":"audit.checkpoint"'
"""How a checkpoint's line begins, and no other: ``action`` is the first key by the alphabet."""
_AFTER_RECORDS = 1000
_AFTER_S = 10.0
_CHECKPOINT_FORM = "penstock audit checkpoint 1"

Detail = dict[str, Any]

_HASH_KEY = b',"hash":"'
_END = b'"}\n'
_SUFFIX_BYTES = len(_HASH_KEY) + 2 * _HASH_BYTES + len(_END)
# Keys by the alphabet, no white space, UTF-8: whoever checks a log without us can write the same bytes.
_canonical = msgspec.json.Encoder(order="sorted")


class Record(Struct, frozen=True, forbid_unknown_fields=True):
    """What one line says.

    Attributes:
        n: 1 for the first line of a log, then one more for each.
        at: UTC, RFC 3339.
        actor: who: "local", "key:ID", "jwt:ISSUER:SUBJECT", "san:URI", "files" or "gateway".
        action: "THING.ACTION".
        subject: what it was done to.
        from_generation, to_generation: of the policy, before and after; equal where the policy stays.
        reason: as the actor gave it.
        prev: hash of the line before, in hexadecimal digits.
    """

    n: int
    at: str
    actor: str
    action: str
    subject: str
    from_generation: int
    to_generation: int
    detail: Detail
    reason: str
    prev: str


class Sealed(Struct, frozen=True):
    """A record with the hash of its line."""

    record: Record
    hash: bytes


class CheckpointDetail(Struct, frozen=True, forbid_unknown_fields=True):
    """What a checkpoint says of the lines before it.

    Attributes:
        count: of records.
        head: hash of the last of them, in hexadecimal digits.
        key: fingerprint of the key that signed.
        signature: Ed25519 over ``signed_text``, in hexadecimal digits.
    """

    count: int
    head: str
    key: str
    signature: str


class BadLine(Exception):
    """These bytes are no line of an audit log; the message says why."""


class Change(Struct, frozen=True):
    """What somebody did, before it has its place in a log."""

    actor: str
    action: str
    subject: str
    detail: Detail
    reason: str = ""
    from_generation: int = 0
    to_generation: int = 0


def next_record(change: Change, last_n: int, last_hash: bytes, at_s: float) -> Record:
    """Return the record that follows the last one; whatever is too long is cut, and says so.

    Args:
        at_s: Unix seconds.
    """
    return Record(
        n=last_n + 1,
        at=datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds"),
        actor=_bounded(change.actor),
        action=_bounded(change.action),
        subject=_bounded(change.subject),
        from_generation=change.from_generation,
        to_generation=change.to_generation,
        detail=_bounded_detail(change.detail),
        reason=_bounded(change.reason),
        prev=last_hash.hex(),
    )


def line_of(record: Record) -> tuple[bytes, bytes]:
    """Return the record's line and its hash: SHA-256 of the hash before and the record as canonical JSON."""
    content = _canonical.encode(record)
    digest = _digest(record.prev, content)
    return content[:-1] + _HASH_KEY + digest.hex().encode() + _END, digest


def read_line(line: bytes) -> Sealed:
    """Return what a line says, its own hash verified; whether it follows the line before is not known here.

    Raises:
        BadLine: it is no whole line, or its hash is that of another.
    """
    if not line.endswith(b"\n"):
        raise BadLine("the line is not whole")
    content, suffix = line[:-_SUFFIX_BYTES] + b"}", line[-_SUFFIX_BYTES:]
    told = suffix[len(_HASH_KEY) : -len(_END)]
    try:
        record = msgspec.json.decode(content, type=Record)
        digest = _digest(record.prev, content)
    except (msgspec.MsgspecError, ValueError) as error:
        raise BadLine("this is no record of an audit log") from error
    if suffix != _HASH_KEY + digest.hex().encode() + _END:
        raise BadLine(f"its hash is {digest.hex()[:16]}…, and {told[:16].decode('ascii', 'replace')}… is written")
    return Sealed(record, digest)


def checkpoint_detail(record: Record) -> CheckpointDetail:
    """Return what a checkpoint says.

    Raises:
        BadLine: it says something else.
    """
    try:
        return msgspec.convert(record.detail, CheckpointDetail)
    except msgspec.MsgspecError as error:
        raise BadLine("this is no checkpoint of an audit log") from error


def is_checkpoint_due(unsigned: int, oldest_s: float, now_s: float) -> bool:
    """Say whether so many records, the first of them written at that moment, shall be signed now."""
    return unsigned >= _AFTER_RECORDS or (unsigned > 0 and now_s - oldest_s >= _AFTER_S)


def signed_text(count: int, head: bytes) -> bytes:
    """Return what a checkpoint's signature is over."""
    return f"{_CHECKPOINT_FORM}\n{count}\n{head.hex()}\n".encode()


def _digest(prev: str, content: bytes) -> bytes:
    return hashlib.sha256(bytes.fromhex(prev) + content).digest()


def _bounded(text: str) -> str:
    # A text that came over the network may hold halves of characters, which JSON has no way to write.
    plain = text.encode("utf-8", "replace").decode()
    return plain if len(plain) <= _TEXT_CHARACTERS else plain[: _TEXT_CHARACTERS - 1] + "…"


def _bounded_detail(detail: Detail) -> Detail:
    content = _canonical.encode(detail)
    if len(content) <= _DETAIL_BYTES:
        return detail
    return {"left_out_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
