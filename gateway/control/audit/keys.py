"""The key that signs checkpoints of the audit log: made once and private, with its public part beside it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from gateway.control.state_dir import write_private

PRIVATE_NAME = "checkpoint-key.pem"
PUBLIC_NAME = "checkpoint-key.pub.pem"


class KeyUnusable(Exception):
    """The file holds no Ed25519 key; the message says what to do."""


def signing_key(directory: Path) -> Ed25519PrivateKey:
    """Return the key of a directory, made when it has none.

    Raises:
        KeyUnusable: the file holds something else.
        OSError: it cannot be read or made.
    """
    path = directory / PRIVATE_NAME
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(path, pem)
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{path} holds no key; put the one that was there back, or move its folder away") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable(f"{path} holds no Ed25519 key; put the one that was there back, or move its folder away")
    public = directory / PUBLIC_NAME
    pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    if not public.exists() or public.read_bytes() != pem:
        write_private(public, pem)
    return key


def public_key(path: Path) -> Ed25519PublicKey:
    """Return the key that checks signatures.

    Raises:
        KeyUnusable: the file holds no public Ed25519 key.
        OSError: it cannot be read.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyUnusable(f"{path} holds no public key") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable(f"{path} holds no public Ed25519 key")
    return key


def fingerprint(key: Ed25519PublicKey) -> str:
    """Return a short name of a key."""
    return hashlib.sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:16]
