"""Reads what policy keeps elsewhere: an environment variable, or a file that only its owner and group may read."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

MAX_BYTES = 16 * 1024
_FILE, _ENV = "file:", "env:"
_OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IRWXO


class SecretMissing(Exception):
    """It is not where policy says, or cannot be used; the message says why, and never what it is."""


def read_secret(place: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the line that is kept at ``env:NAME`` or ``file:/PATH``.

    Raises:
        SecretMissing: there is none.
    """
    text = _of_file(Path(place.removeprefix(_FILE))) if place.startswith(_FILE) else _of_environment(place, environ)
    line = text.strip()
    if not line or not line.isascii() or not line.isprintable():
        raise SecretMissing(f"{place} holds no line of printable characters")
    return line


def _of_environment(place: str, environ: Mapping[str, str]) -> str:
    name = place.removeprefix(_ENV)
    if not environ.get(name):
        raise SecretMissing(f"the environment variable {name} is not set")
    return environ[name]


def _of_file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise SecretMissing(f"{path} cannot be read: {error.strerror}") from error
    if mode & _OPEN_TO_OTHERS:
        raise SecretMissing(f"{path} is a secret with mode {stat.S_IMODE(mode):04o}: `chmod 0600 {path}`")
    if len(content) > MAX_BYTES:
        raise SecretMissing(f"{path} is longer than {MAX_BYTES // 1024} KiB")
    return content.decode("utf-8", "replace")
