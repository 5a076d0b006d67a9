"""The state directory: private to its owner, one supervisor at a time, every file in it replaced whole."""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PODS = "pods"
_TOKEN = "admin-token"  # noqa: S105 - the file's name
_LOCK = "supervisor.lock"
_TOKEN_BYTES = 32
# A socket's path is 107 bytes at most, and "/pods/0123456789abcdef.sock" follows.
_PATH_BYTES = 80
_BESIDE_BYTES = 4
_BESIDE = re.compile(rf"\..+\.[0-9a-f]{{{2 * _BESIDE_BYTES}}}")


class StateRefused(Exception):
    """The state directory cannot be used; the message says why and how to mend it."""


def prepare(path: Path) -> Path:
    """Create the directory and its ``pods`` where they are missing, and return its absolute path.

    Raises:
        StateRefused: it cannot be made, belongs to somebody else, or others may write in it.
    """
    directory = path.absolute()
    if len(os.fsencode(directory)) > _PATH_BYTES:
        raise StateRefused(f"the path {directory} is too long to hold Unix sockets; name a shorter one with --state")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_private(directory)
        (directory / PODS).mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateRefused(f"the state directory {directory} cannot be used: {error.strerror}") from error
    return directory


def _check_private(directory: Path) -> None:
    status = directory.stat()
    if status.st_uid != os.geteuid():
        raise StateRefused(
            f"the state directory {directory} belongs to user {status.st_uid}; name one of your own with --state"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise StateRefused(f"others may write in the state directory {directory}; run: chmod 700 {directory}")


def lock(state_dir: Path) -> int:
    """Return a descriptor that keeps other supervisors out of the directory for as long as it is open.

    Raises:
        StateRefused: another supervisor runs on this directory.
    """
    descriptor = os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise StateRefused(
            f"another gateway supervisor runs on {state_dir}; stop it, or name another directory with --state"
        ) from error
    return descriptor


def remove_half_written(state_dir: Path) -> None:
    """Remove what a kill left of files that were being replaced; for whoever holds the lock."""
    for folder in (state_dir, *(path for path in state_dir.iterdir() if path.is_dir() and not path.is_symlink())):
        for path in folder.glob(".*"):
            if _BESIDE.fullmatch(path.name):
                path.unlink(missing_ok=True)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file in one step, such that it outlives a power loss; only its owner can read it at every moment.

    Raises:
        OSError: the old content stays. Only if all but the folder's sync was done, the new one is there.
    """
    with _written_beside(path, content) as beside:
        beside.replace(path)
    sync_folder(path.parent)


@contextmanager
def _written_beside(path: Path, content: bytes) -> Iterator[Path]:
    """Give a file with this content, on the disk and under another name, which is gone afterwards in any case."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(_BESIDE_BYTES)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Put a folder's names on the disk.

    Raises:
        OSError: they cannot be.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def admin_token(state_dir: Path) -> str:
    """Return the management API's token, made at the first start and kept from then on.

    Raises:
        StateRefused: the file can be read by others, or holds no token.
    """
    path = state_dir / _TOKEN
    if not path.exists():
        with _written_beside(path, secrets.token_urlsafe(_TOKEN_BYTES).encode()) as beside:
            os.link(beside, path)  # never replaces a token that somebody else made meanwhile
        sync_folder(state_dir)
    return _read_token(path)


def _read_token(path: Path) -> str:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        token = file.read(1024).decode("ascii", "replace").strip()
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise StateRefused(f"others can read the admin token {path}; delete it and a new one is made")
    if len(token) < _TOKEN_BYTES:
        raise StateRefused(f"{path} holds no admin token; delete it and a new one is made")
    return token
