"""The local key: an API key for whoever started the mesh, made once per state directory."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import string
import zlib
from pathlib import Path

from gateway.control.state_dir import write_private

FILE_NAME = "local-key"

_BASE32 = string.ascii_lowercase + "234567"
_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SHAPE = re.compile(r"(msk_[a-z2-7]{12}_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})")


def new_key() -> str:
    """Return a new key: ``msk_``, 12 characters that may be logged, 43 secret ones (256 bits), and a checksum of 6.

    The checksum lets a client or a secret scanner tell a typo from a key without asking the mesh.
    """
    public_id = "".join(secrets.choice(_BASE32) for _ in range(12))
    secret = "".join(secrets.choice(_BASE62) for _ in range(43))
    body = f"msk_{public_id}_{secret}"
    return f"{body}_{checksum(body)}"


def checksum(body: str) -> str:
    """Return the CRC-32 of the key's other parts, in base 62."""
    rest = zlib.crc32(body.encode())
    digits = []
    for _ in range(6):
        rest, digit = divmod(rest, 62)
        digits.append(_BASE62[digit])
    return "".join(reversed(digits))


def is_key(text: str) -> bool:
    """Return whether the text has the shape of a key and the right checksum."""
    match = _SHAPE.fullmatch(text)
    return match is not None and checksum(match[1]) == match[2]


def local_key(state_dir: Path) -> str:
    """Return the state directory's key; a file that holds none, or that others could read, is replaced.

    Raises:
        OSError: the file cannot be written.
    """
    path = state_dir / FILE_NAME
    try:
        with path.open("rb") as file:
            private = os.fstat(file.fileno()).st_mode & 0o077 == 0
            kept = file.read(256).decode("ascii", "replace").strip()
    except FileNotFoundError:
        private, kept = False, ""
    if private and is_key(kept):
        return kept
    key = new_key()
    write_private(path, key.encode() + b"\n")
    return key


def sha256_hex(key: str) -> str:
    """Return what the gateway keeps instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()
