"""Segment: one append-only file of recorded requests, which a kill at any moment leaves readable.

A frame is ``u32 bytes, u32 crc32 of them`` (little endian) and then the bytes: one ``Recorded`` as MessagePack. What
follows the last whole frame is the rest of a write that was cut off, and is cut off in turn when the file is opened.
"""

from __future__ import annotations

import os
import struct
import zlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from gateway.copies.messages import MAX_COPIED_BYTES, Answered

_PREFIX = struct.Struct("<II")
# Both bodies at their largest, and a head with all the fields that a request may have.
MAX_FRAME_BYTES = 2 * MAX_COPIED_BYTES + 2**20
BESIDE = ".beside"
"""Ends the name of a file that is to replace another one, and is left behind by a kill."""


class Recorded(Struct, frozen=True, array_like=True):
    """A request as it was recorded, without what is never kept, and the answer that its caller got.

    Attributes:
        subject: a keyed digest of whom it is about; "" where nobody has to know.
    """

    answered: Answered
    body: bytes
    answer_body: bytes
    subject: str = ""


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Recorded)


def frame_of(recorded: Recorded) -> bytes:
    """Return the frame of one request."""
    content = _ENCODER.encode(recorded)
    return _PREFIX.pack(len(content), zlib.crc32(content)) + content


class Segment:
    """One file, and what is known of it.

    Attributes:
        size: bytes of its whole frames.
        first_s: when the first of its requests began, seconds since the epoch; 0.0 while there is none.
        tenants: how many of its requests are of each.
        is_gone: it was removed or replaced; nothing is read from it any more.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.first_s = 0.0
        self.tenants: Counter[str] = Counter()
        self.is_gone = False
        self._offsets = array("Q")

    def __len__(self) -> int:
        return len(self._offsets)

    @classmethod
    def opened(cls, path: Path) -> Segment:
        """Read a file that is there, and cut off what follows its last whole frame.

        Raises:
            OSError: it cannot be read or cut.
        """
        segment = cls(path)
        with path.open("r+b") as file:
            for frame_bytes, recorded in _frames(file):
                segment._note(recorded.answered, frame_bytes)
            file.truncate(segment.size)
        return segment

    def append(self, recorded: Recorded, frame: bytes) -> None:
        """Add one request; ``frame`` is what ``frame_of`` makes of it.

        Raises:
            OSError: it could not be written; the file is as it was.
        """
        anew = 0 if self.size else os.O_TRUNC
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | anew, 0o600)
        try:
            written = os.write(descriptor, frame)
            if written < len(frame):
                os.ftruncate(descriptor, self.size)
                raise OSError(f"only {written} of {len(frame)} bytes could be written")
        finally:
            os.close(descriptor)
        self._note(recorded.answered, len(frame))

    def _note(self, answered: Answered, frame_bytes: int) -> None:
        self._offsets.append(self.size)
        self.size += frame_bytes
        self.tenants[answered.tenant] += 1
        if len(self._offsets) == 1:
            self.first_s = answered.at_s

    def read(self, at: int) -> Recorded | None:
        """Return one request by its place in the file; None when it is there no more."""
        if self.is_gone:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(self._offsets[at])
                return next((recorded for _, recorded in _frames(file)), None)
        except OSError:
            return None

    def all(self) -> Iterator[Recorded]:
        """Yield its requests, oldest first; those that can be read.

        Raises:
            OSError: it cannot be read.
        """
        if not self.is_gone:
            with self.path.open("rb") as file:
                for _, recorded in _frames(file):
                    yield recorded

    def without(self, is_unwanted: Callable[[Recorded], bool]) -> Segment:
        """Write the file anew without some requests, in one step, and return what it is then.

        Raises:
            OSError: it could not be done; the file is as it was.
        """
        beside = self.path.with_suffix(BESIDE)
        rest = Segment(beside)
        beside.unlink(missing_ok=True)
        try:
            beside.touch(mode=0o600)
            with self.path.open("rb") as file:
                for _, recorded in _frames(file):
                    if not is_unwanted(recorded):
                        rest.append(recorded, frame_of(recorded))
            beside.replace(self.path)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        self.is_gone = True
        rest.path = self.path
        return rest

    def remove(self) -> None:
        """Remove the file.

        Raises:
            OSError: it cannot be removed, and stays.
        """
        self.path.unlink(missing_ok=True)
        self.is_gone = True


def _frames(file: BinaryIO) -> Iterator[tuple[int, Recorded]]:
    """Yield the size of each whole frame and what it holds, from where the file stands to the first that is not."""
    while len(prefix := file.read(_PREFIX.size)) == _PREFIX.size:
        length, checksum = _PREFIX.unpack(prefix)
        if length > MAX_FRAME_BYTES:
            return
        content = file.read(length)
        if len(content) < length or zlib.crc32(content) != checksum:
            return
        try:
            recorded = _DECODER.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        yield _PREFIX.size + length, recorded
