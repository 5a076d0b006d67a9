"""Reads a model directory as if it were an archive: regular files only, no link followed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from model_pod.engine.extraction.entry import CHUNK_BYTES, Entry
from model_pod.engine.extraction.limits import ArchiveRefused

MAX_DEPTH = 32

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Left behind by whoever ran the handler there; never part of the model.
_SKIPPED = frozenset(("__pycache__",))


def directory_entries(root: Path) -> Iterator[Entry]:
    """Yield the files below a directory, in the order of their names.

    Raises:
        ArchiveRefused: something there is neither a regular file nor a directory, or a file changes while it is read.
    """
    descriptor = os.open(root.resolve(), _DIRECTORY_FLAGS)
    try:
        yield from _entries(descriptor, "", 0)
    finally:
        os.close(descriptor)


def _entries(directory_fd: int, prefix: str, depth: int) -> Iterator[Entry]:
    if depth > MAX_DEPTH:
        raise ArchiveRefused("unsafe_name", f"Directories are nested deeper than {MAX_DEPTH} levels.")
    for base in sorted(os.listdir(directory_fd)):
        name = f"{prefix}{base}"
        mode = os.stat(base, dir_fd=directory_fd, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            yield from _file(directory_fd, base, name)
        elif stat.S_ISDIR(mode) and base not in _SKIPPED:
            yield from _subdirectory(directory_fd, base, name, depth)
        elif not stat.S_ISDIR(mode):
            raise ArchiveRefused("not_a_file", f"{name!r:.120} is a link or a special file; copy what it stands for.")


def _subdirectory(directory_fd: int, base: str, name: str, depth: int) -> Iterator[Entry]:
    descriptor = os.open(base, _DIRECTORY_FLAGS, dir_fd=directory_fd)
    try:
        yield from _entries(descriptor, f"{name}/", depth + 1)
    finally:
        os.close(descriptor)


def _file(directory_fd: int, base: str, name: str) -> Iterator[Entry]:
    descriptor = os.open(base, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory_fd)
    with os.fdopen(descriptor, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        yield Entry(name, False, size, iter(lambda: file.read(CHUNK_BYTES), b""))
