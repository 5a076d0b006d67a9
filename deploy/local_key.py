"""The local key: an API key for whoever started the mesh, made once per state directory."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from gateway.control.state_dir import write_private
from gateway.decide.api_keys import BASE32, BASE62, ID_CHARS, SECRET_CHARS, is_key, key_of

FILE_NAME = "local-key"


def new_key() -> str:
    """Return a key that nobody has yet."""
    public_id = "".join(secrets.choice(BASE32) for _ in range(ID_CHARS))
    return key_of(public_id, "".join(secrets.choice(BASE62) for _ in range(SECRET_CHARS)))


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
