"""The lock on a store's directory: two hubs that write and drop the same files lose each other's."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

_NAME = ".lock"


class StoreTaken(Exception):
    """Another process holds the directory."""


def lock_store(directory: Path) -> int:
    """Hold the directory until the descriptor that is returned is closed, or the process ends however it does.

    Raises:
        StoreTaken: another process holds it.
        OSError: the directory cannot be used.
    """
    descriptor = os.open(directory / _NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreTaken(f"another hub uses {directory}") from None
    return descriptor
