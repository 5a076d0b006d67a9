"""A file of lines that only grows: a line is in it whole and on the disk, or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from gateway.control.audit.files import lines_backwards
from gateway.control.state_dir import sync_folder


class AppendFile:
    """An open file, private to its owner.

    Attributes:
        torn: what stood after the last line's end and was cut off at opening, b"" as a rule.
        size: bytes that are known to be good.
    """

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            OSError: it cannot be.
        """
        is_new = not path.exists()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if is_new:
                sync_folder(path.parent)
            last = next(lines_backwards(path), b"\n")
            self.torn = b"" if last.endswith(b"\n") else last
            self.size = os.fstat(self._descriptor).st_size - len(self.torn)
            if self.torn:
                os.ftruncate(self._descriptor, self.size)
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, line: bytes) -> None:
        """Return when the line is on the disk.

        Raises:
            OSError: it is not in the file; what was written of it is cut off again as far as the disk lets us. The file
                is to be closed then: after a failed sync nobody knows what a second one would say of.
        """
        try:
            if os.write(self._descriptor, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(line)

    def close(self) -> None:
        """Close it; every line is on the disk already."""
        os.close(self._descriptor)
