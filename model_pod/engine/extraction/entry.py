"""One entry of an archive, whatever its format."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

CHUNK_BYTES = 256 * 2**10


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or directory as its archive declares it; ``chunks`` must be read before the next entry is asked for.

    Attributes:
        size: declared bytes of a file; 0 for a directory.
        chunks: the file's bytes; raises ``ArchiveRefused`` where they are not what the archive declares.
    """

    name: str
    is_directory: bool
    size: int
    chunks: Iterable[bytes] = ()
