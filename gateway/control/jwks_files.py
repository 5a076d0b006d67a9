"""Keeps the key sets of issuers in the state directory, so that a start without the issuer verifies tokens."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.state_dir import write_private
from policies.snapshot.mesh import JwtIssuer

FOLDER = "jwks"
_MAX_FILE_BYTES = 2 * 2**20


class KeptKeys(Struct, frozen=True):
    """A key set as it was fetched.

    Attributes:
        url: from where; keys of another address are not used.
        fetched_at_s: Unix seconds.
    """

    url: str
    fetched_at_s: float
    jwks: bytes


def keep(state_dir: Path, issuer: JwtIssuer, jwks: bytes, fetched_at_s: float) -> None:
    """Replace what is kept of the issuer.

    Raises:
        OSError: the disk is full or the directory is gone.
    """
    folder = state_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    kept = KeptKeys(issuer.jwks_url, fetched_at_s, jwks)
    write_private(_path(state_dir, issuer.name), msgspec.msgpack.encode(kept))


def recall(state_dir: Path, issuer: JwtIssuer) -> KeptKeys | None:
    """Return what is kept of the issuer; None when there is nothing that can be read, or it is of another address."""
    try:
        with _path(state_dir, issuer.name).open("rb") as file:
            kept = msgspec.msgpack.decode(file.read(_MAX_FILE_BYTES), type=KeptKeys)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return kept if kept.url == issuer.jwks_url else None


def forget(state_dir: Path, issuer: str) -> None:
    """Remove what is kept of an issuer that policy no longer names.

    Raises:
        OSError: the directory cannot be written.
    """
    _path(state_dir, issuer).unlink(missing_ok=True)


def _path(state_dir: Path, issuer: str) -> Path:
    return state_dir / FOLDER / f"{issuer}.msgpack"
