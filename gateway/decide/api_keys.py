"""API keys: their shape, and the digest that stands for one; a key itself is kept nowhere."""

from __future__ import annotations

import hashlib
import re
import string
import zlib

MAX_KEY_CHARS = 512
"""The longest key that is taken; keys of our own shape have 67 characters."""

BASE32 = string.ascii_lowercase + "234567"
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARS = 12
SECRET_CHARS = 43
_CHECK_CHARS = 6
_SHAPE = re.compile(r"(msk_[a-z2-7]{12}_[0-9A-Za-z]{43})_([0-9A-Za-z]{6})")
# FIPS 180-4: SHA-256 works in blocks of 64 bytes, of which the last ends in a bit and a length of 8 bytes.
_BLOCK_BYTES, _END_BYTES = 64, 9


def key_of(public_id: str, secret: str) -> str:
    """Return a key: ``msk_``, 12 characters that may be logged, 43 secret ones (256 bits), and a checksum of 6.

    The checksum lets a client or a secret scanner tell a typo from a key without asking the mesh.
    """
    body = f"msk_{public_id}_{secret}"
    return f"{body}_{checksum(body)}"


def checksum(body: str) -> str:
    """Return the CRC-32 of the key's other parts, in base 62."""
    rest = zlib.crc32(body.encode())
    digits = []
    for _ in range(_CHECK_CHARS):
        rest, digit = divmod(rest, len(BASE62))
        digits.append(BASE62[digit])
    return "".join(reversed(digits))


def is_key(text: str) -> bool:
    """Return whether the text has the shape of our own keys and the right checksum."""
    match = _SHAPE.fullmatch(text)
    return match is not None and checksum(match[1]) == match[2]


def sha256_hex(key: str) -> str:
    """Return what policy files keep instead of the key."""
    return hashlib.sha256(key.encode()).hexdigest()


def blocks_of(length: int) -> int:
    """Return how many blocks SHA-256 works through for so many bytes."""
    return (length + _END_BYTES + _BLOCK_BYTES - 1) // _BLOCK_BYTES


_MOST_BLOCKS = blocks_of(MAX_KEY_CHARS)
# By the blocks of a key, what takes as many more as the longest key has, and one.
_FILLERS = tuple(bytes((_MOST_BLOCKS + 1 - used) * _BLOCK_BYTES - _END_BYTES) for used in range(_MOST_BLOCKS + 1))


def digest_of(key: bytes) -> bytes:
    """Return the SHA-256 of a key that somebody shows, after the same work for every key that may be one.

    Neither shape nor checksum is looked at: a key of any shape counts whose digest a tenant's file has, and a way out
    for those of a wrong one would be told by its time. A filler makes the blocks that are hashed always as many.
    """
    digest = hashlib.sha256(key).digest()
    hashlib.sha256(_FILLERS[blocks_of(len(key))]).digest()
    return digest
