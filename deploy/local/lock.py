"""One mesh per state directory: a lock that the kernel drops with the process that holds it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

FILE_NAME = "up.lock"


class AlreadyRunning(Exception):
    """Another mesh runs on the state directory; the message says which and what to do."""


def take_lock(state_dir: Path) -> int:
    """Return a descriptor that keeps other meshes out for as long as it is open.

    Raises:
        AlreadyRunning: another mesh holds it.
    """
    descriptor = os.open(state_dir / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise AlreadyRunning(
            f"a mesh already runs on {state_dir} (pid {holder}): stop it with `kill {holder}`, "
            "or give this one a directory of its own with --state"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
