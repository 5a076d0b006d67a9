"""Writes entries into a private directory, through directory descriptors only, and seals the result."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from model_pod.engine.extraction.entry import Entry
from model_pod.engine.extraction.limits import ArchiveLimits, ArchiveRefused, Meter
from model_pod.engine.extraction.names import NameLedger, check_names_together

PREFIX = "staging-"
MODEL = "model"
LISTING = "files.json"

_INCOMING = "incoming"
# A .pth file is a checkpoint (a zip, or a pickle in the oldest ones) or a start-up hook of Python's (text).
_CHECKPOINT_STARTS = (b"PK\x03\x04", b"\x80")
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ExtractedFile(msgspec.Struct, frozen=True):
    """One file of an extracted tree: enough to see later whether it is still the same."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Sealed:
    """A finished tree, still in staging: ``path`` holds the read-only tree (``model``) and its listing."""

    path: Path
    files: tuple[ExtractedFile, ...]

    @property
    def model_directory(self) -> Path:
        return self.path / MODEL

    def listing_digest(self) -> str:
        """Return SHA-256 over names, sizes and contents, in hex."""
        return hashlib.sha256(msgspec.json.encode(self.files)).hexdigest()


class Staging:
    """A private directory that takes entries one by one and is removed unless its tree was moved away."""

    def __init__(self, parent: Path, limits: ArchiveLimits) -> None:
        self._meter = Meter(limits)
        self._names = NameLedger()
        self._files: list[ExtractedFile] = []
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        self._incoming_fd = _make_and_open(self.path / _INCOMING)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._incoming_fd)
        remove_tree(self.path)

    def add(self, entry: Entry) -> None:
        """Write one entry.

        Raises:
            ArchiveRefused: its name, size or bytes are not acceptable.
        """
        self._meter.count_entry()
        self._names.enter(entry.name, is_directory=entry.is_directory)
        parent, _, base = entry.name.rpartition("/")
        if entry.is_directory:
            os.close(self._open_directory(entry.name))
            return
        parent_fd = self._open_directory(parent)
        try:
            self._files.append(self._write(entry, parent_fd, base))
        finally:
            os.close(parent_fd)

    def seal(self) -> Sealed:
        """Strip a single top directory, make everything read-only and durable, and write the listing.

        Raises:
            ArchiveRefused: the archive is empty, or a name is dangerous where it lies.
        """
        if not self._files:
            raise ArchiveRefused("empty", "The archive holds no file.")
        top = _single_top_directory([file.name for file in self._files])
        files = tuple(
            sorted(
                (ExtractedFile(file.name[len(top) :], file.size, file.sha256) for file in self._files),
                key=lambda file: file.name,
            )
        )
        check_names_together([file.name for file in files])
        os.rename(self.path / _INCOMING / top, self.path / MODEL)
        _make_read_only(self.path / MODEL)
        _write_durably(self.path / LISTING, msgspec.json.encode(files))
        return Sealed(self.path, files)

    def _open_directory(self, name: str) -> int:
        # Each step is opened relative to the one before and never through a link, so nothing outside can be reached.
        current = os.dup(self._incoming_fd)
        for part in name.split("/") if name else ():
            try:
                following = _make_and_open(part, current)
            finally:
                os.close(current)
            current = following
        return current

    def _write(self, entry: Entry, parent_fd: int, base: str) -> ExtractedFile:
        digest, written, start = hashlib.sha256(), 0, b""
        with os.fdopen(os.open(base, _FILE_FLAGS, 0o600, dir_fd=parent_fd), "wb") as file:
            for chunk in entry.chunks:
                written += len(chunk)
                if written > entry.size:
                    raise ArchiveRefused("size_mismatch", f"{entry.name!r} holds more bytes than it declares.")
                self._meter.count_bytes(entry.name, len(chunk))
                start = start or chunk[:4]
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if written != entry.size:
            raise ArchiveRefused("size_mismatch", f"{entry.name!r} declares {entry.size} bytes and holds {written}.")
        if base.lower().endswith(".pth") and not start.startswith(_CHECKPOINT_STARTS):
            raise ArchiveRefused("reserved_name", f"{entry.name!r} is no checkpoint; Python runs other .pth files.")
        return ExtractedFile(entry.name, written, digest.hexdigest())


def remove_tree(path: Path) -> None:
    """Remove a tree of ours, read-only directories included; another process may be at it too."""
    for directory, _, _ in os.walk(path):
        with suppress(FileNotFoundError):
            os.chmod(directory, stat.S_IRWXU)
    shutil.rmtree(path, ignore_errors=True)


def _make_and_open(path: Path | str, parent_fd: int | None = None) -> int:
    # There already when another entry lies in it; opening refuses anything but a directory.
    with suppress(FileExistsError):
        os.mkdir(path, 0o700, dir_fd=parent_fd)
    return os.open(path, _DIRECTORY_FLAGS, dir_fd=parent_fd)


def _single_top_directory(names: list[str]) -> str:
    """Return the prefix to strip ("top/"), or "" when the archive's files already lie at the top."""
    tops = {name.partition("/")[0] for name in names}
    if len(tops) != 1 or any("/" not in name for name in names) or tops == {"MAR-INF"}:
        return ""
    return f"{tops.pop()}/"


def _make_read_only(root: Path) -> None:
    for directory, _, files in os.walk(root, topdown=False):
        for name in files:
            os.chmod(Path(directory, name), 0o400)
        descriptor = os.open(directory, _DIRECTORY_FLAGS)
        try:
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o500)
        finally:
            os.close(descriptor)


def _write_durably(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, _FILE_FLAGS, 0o400), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
