"""A disk that refuses one reading, as one does when no descriptor is left, and gives the next."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest


def refuse_next_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next file that is read whole not be read, and all that follow."""
    read_bytes = Path.read_bytes

    def refuse(path: Path) -> bytes:
        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)
