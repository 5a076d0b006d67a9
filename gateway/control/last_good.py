"""The last good policy, kept in the state directory for a start with a policy directory that is refused.

The file begins with the digest of what follows: one that was cut off or changed is none.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.state_dir import write_private
from policies.snapshot.generation import Snapshot

FILE_NAME = "last-good-policy.msgpack"
_FORMAT = 2
_DIGEST_BYTES = hashlib.sha256().digest_size


class LastGood(Struct, frozen=True):
    """A generation as it was last in force.

    Attributes:
        format: of this file; one that we do not know is ignored.
        loaded_at_s: Unix seconds.
        snapshot: without the local key, which belongs to a start and not to the files.
    """

    format: int
    loaded_at_s: float
    snapshot: Snapshot


def keep(state_dir: Path, snapshot: Snapshot, loaded_at_s: float) -> None:
    """Replace the kept policy.

    Raises:
        OSError: the disk is full or the directory is gone.
    """
    content = msgspec.msgpack.encode(LastGood(_FORMAT, loaded_at_s, snapshot))
    write_private(state_dir / FILE_NAME, hashlib.sha256(content).digest() + content)


def recall(state_dir: Path) -> LastGood | None:
    """Return the kept policy, or None when there is none that is whole and that this release can read."""
    try:
        kept_bytes = (state_dir / FILE_NAME).read_bytes()
        digest, content = kept_bytes[:_DIGEST_BYTES], kept_bytes[_DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            return None
        kept = msgspec.msgpack.decode(content, type=LastGood)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return kept if kept.format == _FORMAT else None
