"""Extracted trees by digest: finds one that is whole, or takes a new one in by a single rename."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

import msgspec

from model_pod.engine.extraction.entry import CHUNK_BYTES
from model_pod.engine.extraction.limits import ArchiveRefused
from model_pod.engine.extraction.staging import LISTING, MODEL, PREFIX, ExtractedFile, Sealed, remove_tree

# A staging directory this old belongs to a process that was killed: no extraction takes a day.
ABANDONED_AFTER_S = 86_400.0

# Longer than it takes to look through the largest tree; whoever has it then was stopped, or its disk hangs.
LOCK_WITHIN_S = 120.0
_LOCK_LOOK_S = 0.02
# What these say is of this process or of the machine, and nothing of the tree.
_OF_NO_TREE = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO}


class ExtractedStore:
    """The directory of extracted trees; private to this user, shared by all pods of a machine."""

    def __init__(self, path: Path) -> None:
        """Raises: ArchiveRefused when another user could write into the directory."""
        self.path = path
        self._trees = path / "sha256"
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_unless_private(path)
        self._trees.mkdir(mode=0o700, exist_ok=True)
        _refuse_unless_private(self._trees)
        self._remove_abandoned()

    def find(self, digest: str) -> Path | None:
        """Return the tree of a digest when every file of it is still what was extracted; remove it otherwise.

        Raises:
            OSError: it cannot be read just now; it stays, for others use it.
        """
        tree = self._trees / digest
        if not tree.is_dir():
            return None
        if _is_intact(tree):
            return tree / MODEL
        with self._alone():
            # Another process may have put a whole one in its place meanwhile.
            if _is_intact(tree):
                return tree / MODEL
            self._remove(tree)
        return None

    def adopt(self, sealed: Sealed, digest: str) -> Path:
        """Move a sealed tree in under its digest; another process that was faster wins."""
        tree = self._trees / digest
        # Extracted elsewhere at the same moment: the other tree is this one, byte for byte.
        if self.find(digest) is None:
            try:
                with self._alone():
                    os.rename(sealed.path, tree)
            except OSError:
                if self.find(digest) is None:
                    raise
            _sync_directory(self._trees)
        return tree / MODEL

    def _remove(self, tree: Path) -> None:
        # Aside first: a half-removed tree must never be found under its digest.
        aside = self.path / f"{PREFIX}removed-{os.getpid()}-{tree.name[:16]}"
        try:
            os.rename(tree, aside)
        except FileNotFoundError:
            return  # another process has removed it
        remove_tree(aside)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process take a tree in or out: one that is found broken must be the one that is removed.

        Raises:
            OSError: another one is at it for too long.
        """
        descriptor = os.open(self._trees, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _lock(descriptor, time.monotonic() + LOCK_WITHIN_S)
            yield
        finally:
            os.close(descriptor)

    def _remove_abandoned(self) -> None:
        # Wall-clock time, because that is what files carry.
        oldest = time.time() - ABANDONED_AFTER_S
        for name in os.listdir(self.path):
            if not name.startswith(PREFIX):
                continue
            with suppress(FileNotFoundError):  # another pod's extraction has just ended
                if os.lstat(self.path / name).st_mtime < oldest:
                    remove_tree(self.path / name)


def _lock(descriptor: int, until_s: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                raise
        time.sleep(_LOCK_LOOK_S)


def _refuse_unless_private(path: Path) -> None:
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ArchiveRefused(
            "unsafe_directory",
            "The directory for extracted archives must belong to this user and be writable by nobody else.",
        )


def _is_intact(tree: Path) -> bool:
    try:
        listing = msgspec.json.decode((tree / LISTING).read_bytes(), type=tuple[ExtractedFile, ...])
        return _names_below(tree / MODEL) == [file.name for file in listing] and _contents_match(tree / MODEL, listing)
    except OSError as error:
        if error.errno in _OF_NO_TREE:
            raise
        return False
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def _names_below(root: Path) -> list[str]:
    walked = os.walk(root, onerror=_raise)
    return sorted(
        Path(directory, name).relative_to(root).as_posix() for directory, _, files in walked for name in files
    )


def _raise(error: OSError) -> NoReturn:
    raise error


def _contents_match(root: Path, listing: Sequence[ExtractedFile]) -> bool:
    return all(_digest(root / file.name) == (file.size, file.sha256) for file in listing)


def _digest(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
