"""Reads the files of an audit log, and verifies them with the checkpoints that second places know."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Struct

from gateway.control.audit.files import COPIES_NAME, lines, log_files
from gateway.control.audit.keys import PUBLIC_NAME, public_key
from gateway.control.audit.verify import Copies, Fault, Progress, Verdict, read_copies, verify


class Places(Struct, frozen=True):
    """Where a log and what it is checked with lie.

    Attributes:
        files: of the log, in the order of their records.
        copies: the gateway's own second file, None where it is not at hand.
        more_copies: checkpoints that were copied to other places.
        key: public part of the key that signed.
    """

    files: tuple[Path, ...]
    copies: Path | None
    more_copies: tuple[Path, ...]
    key: Path


def places_of(directory: Path, more_copies: Sequence[Path] = (), key: Path | None = None) -> Places:
    """Return where a gateway keeps its log."""
    return Places(
        tuple(log_files(directory)), directory / COPIES_NAME, tuple(more_copies), key or directory / PUBLIC_NAME
    )


def inspect(places: Places) -> Verdict:
    """Verify a log.

    Raises:
        OSError, KeyUnusable: one of the files cannot be read.
    """
    key = public_key(places.key)
    copies = _copies(places, key)
    if isinstance(copies, Fault):
        return Verdict(Progress(), copies)
    return verify(chain.from_iterable(map(lines, places.files)), copies, key)


def _copies(places: Places, key: Ed25519PublicKey) -> Copies | Fault:
    own = _copied(places.copies, key) if places.copies is not None else {}
    if isinstance(own, Fault):
        return own
    hashes = dict(own)
    for path in places.more_copies:
        copied = _copied(path, key)
        if isinstance(copied, Fault):
            return copied
        for n, known in copied.items():
            if hashes.setdefault(n, known) != known:
                return Fault(str(path), f"it knows another checkpoint {n} than the other files")
    return Copies(hashes, are_complete=places.copies is not None)


def _copied(path: Path, key: Ed25519PublicKey) -> dict[int, bytes] | Fault:
    try:
        return read_copies(lines(path), key)
    except FileNotFoundError:
        return Fault(str(path), "this file of checkpoints is missing, so that lines missing at the end would not show")
