"""An archive file or directory becomes a read-only tree under its digest, with its manifest and configuration read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from model_pod.engine.extraction.directory_entries import directory_entries
from model_pod.engine.extraction.entry import CHUNK_BYTES, Entry
from model_pod.engine.extraction.limits import ArchiveLimits, ArchiveRefused
from model_pod.engine.extraction.staging import Sealed, Staging
from model_pod.engine.extraction.store import ExtractedStore
from model_pod.engine.extraction.tar_entries import tar_entries
from model_pod.engine.extraction.zip_entries import zip_entries
from model_pod.engine.manifest import Manifest, read_manifest
from model_pod.engine.model_config import ModelConfig, read_model_config

__all__ = ["Archive", "ArchiveLimits", "ArchiveRefused", "open_archive"]

DEFAULT_LIMITS = ArchiveLimits()


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is ready to be loaded.

    Attributes:
        directory: the extracted, read-only tree.
        digest: SHA-256 of the archive file, or of a directory's listing, in hex.
    """

    directory: Path
    digest: str
    manifest: Manifest
    config: ModelConfig


def open_archive(archive: Path, extracted_dir: Path, limits: ArchiveLimits = DEFAULT_LIMITS) -> Archive:
    """Extract a ``.mar``, a ``.tar.gz`` or a directory, or find it extracted and intact.

    Args:
        archive: the file or directory; what it is is told by its content, never by its name.
        extracted_dir: where extracted trees live; made when missing, refused when others may write to it.

    Raises:
        ArchiveRefused: the archive is unreadable, hostile or not what it says; nothing of it is left behind.
    """
    try:
        if archive.is_dir():
            return _open_directory(archive, extracted_dir, limits)
        return _open_file(archive, extracted_dir, limits)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ArchiveRefused("unreadable", f"{archive.name} cannot be read or extracted: {reason}.") from error


def _open_file(archive: Path, extracted_dir: Path, limits: ArchiveLimits) -> Archive:
    with closing(_open_regular(archive)) as file:
        digest = _digest_of(file)
        store = ExtractedStore(extracted_dir)
        if directory := store.find(digest):
            return Archive(directory, digest, *_read(directory, archive.name))
        with Staging(store.path, limits) as staging:
            for entry in _file_entries(file, limits):
                staging.add(entry)
            _refuse_if_changed(file, digest, archive.name)
            return _adopt(store, staging.seal(), digest, archive.name)


def _open_directory(archive: Path, extracted_dir: Path, limits: ArchiveLimits) -> Archive:
    store = ExtractedStore(extracted_dir)
    with Staging(store.path, limits) as staging:
        for entry in directory_entries(archive):
            staging.add(entry)
        sealed = staging.seal()
        return _adopt(store, sealed, sealed.listing_digest(), archive.name)


def _adopt(store: ExtractedStore, sealed: Sealed, digest: str, name: str) -> Archive:
    # Read first: a tree whose manifest is refused is never taken in.
    manifest, config = _read(sealed.model_directory, name)
    return Archive(store.adopt(sealed, digest), digest, manifest, config)


def _read(directory: Path, name: str) -> tuple[Manifest, ModelConfig]:
    manifest = read_manifest(directory, name)
    return manifest, read_model_config(directory, manifest.config_file)


def _open_regular(archive: Path) -> BinaryIO:
    # Non-blocking, so that a FIFO in the model store cannot hold the pod; it has no effect on a regular file.
    descriptor = os.open(archive, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArchiveRefused("unreadable", f"{archive.name} is neither a file nor a directory.")
    return os.fdopen(descriptor, "rb")


def _digest_of(file: BinaryIO) -> str:
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _refuse_if_changed(file: BinaryIO, digest: str, name: str) -> None:
    # The tree is filed under the digest, so the bytes that were extracted must be the bytes that were digested.
    if _digest_of(file) != digest:
        raise ArchiveRefused("changed_while_read", f"{name} changed while it was read; try again.")


def _file_entries(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Entry]:
    file.seek(0)
    magic = file.read(4)
    if magic[:2] == b"\x1f\x8b":
        return tar_entries(file, limits)
    if magic in (b"PK\x03\x04", b"PK\x05\x06"):
        return zip_entries(file, limits)
    raise ArchiveRefused("not_an_archive", "The file is neither a zip (.mar) nor a gzipped tar (.tar.gz).")
