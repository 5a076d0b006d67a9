"""Reads a gzipped tar strictly, in one pass and in bounded memory: files and directories only."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import BinaryIO

from model_pod.engine.extraction.entry import CHUNK_BYTES, Entry
from model_pod.engine.extraction.limits import ArchiveLimits, ArchiveRefused, Meter, holds_weights

BLOCK_BYTES = 512
# GNU long names and pax records describe one name; more is an attack on memory.
MAX_EXTENSION_BYTES = 64 * 2**10

_REGULAR, _DIRECTORY = (b"0", b"\0"), b"5"
_GNU_LONG_NAME, _PAX, _PAX_GLOBAL = b"L", b"x", b"g"
_MODE_TRICKS = 0o7000


def tar_entries(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Entry]:
    """Yield the entries of a ``.tar.gz`` in order.

    Raises:
        ArchiveRefused: the file is damaged, larger than the limits, or holds links or special files.
    """
    stream = _Inflated(file, limits)
    long_name = ""
    while (header := stream.take(BLOCK_BYTES)) != bytes(BLOCK_BYTES):
        size, kind = _checked_size(header), header[156:157]
        if kind in (_GNU_LONG_NAME, _PAX, _PAX_GLOBAL):
            long_name = _read_extension(stream, kind, size) or long_name
            continue
        name = long_name or _plain_name(header)
        long_name = ""
        _check_kind(header, name, kind, size)
        if name.strip("./"):
            yield from _entry(stream, name, kind, size)
    stream.expect_only_zeros()


def _entry(stream: _Inflated, name: str, kind: bytes, size: int) -> Iterator[Entry]:
    plain = name.removeprefix("./").removesuffix("/")
    if kind == _DIRECTORY:
        yield Entry(plain, True, 0)
        return
    left = [size]
    yield Entry(plain, False, size, _chunks(stream, plain, left))
    if left[0]:
        raise ArchiveRefused("corrupt", f"{plain!r:.120} was not read to its end.")
    stream.take(-size % BLOCK_BYTES)


def _chunks(stream: _Inflated, name: str, left: list[int]) -> Iterator[bytes]:
    while left[0]:
        chunk = stream.take(min(CHUNK_BYTES, left[0]))
        left[0] -= len(chunk)
        if not holds_weights(name):
            stream.check_ratio(name, len(chunk))
        yield chunk


def _check_kind(header: bytes, name: str, kind: bytes, size: int) -> None:
    if kind not in (*_REGULAR, _DIRECTORY):
        raise ArchiveRefused("not_a_file", f"{name!r:.120} is a link or a special file.")
    if kind == _DIRECTORY and size:
        raise ArchiveRefused("not_a_file", f"{name!r:.120} is a directory with content.")
    if kind != _DIRECTORY and _number(header[100:108]) & _MODE_TRICKS:
        raise ArchiveRefused("special_mode", f"{name!r:.120} has a set-user-id, set-group-id or sticky bit.")


def _checked_size(header: bytes) -> int:
    unsigned = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    if _number(header[148:156]) != unsigned:
        raise ArchiveRefused("bad_checksum", "The archive is damaged: a header's checksum does not match.")
    return _number(header[124:136])


def _number(field: bytes) -> int:
    if field[0] & 0x80:
        # GNU's base-256 form, for sizes above 8 GiB.
        return int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    text = field.strip(b"\0 ")
    if not all(digit in b"01234567" for digit in text):
        raise ArchiveRefused("corrupt", "The archive is damaged: a header holds no number where one is due.")
    return int(text or b"0", 8)


def _plain_name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    raw = field.split(b"\0", 1)[0]
    try:
        return raw.decode("ascii")
    except UnicodeDecodeError as error:
        raise ArchiveRefused("unsafe_name", f"{raw[:80]!r} is not a plain relative name.") from error


def _read_extension(stream: _Inflated, kind: bytes, size: int) -> str:
    """Return the name that an extension header gives to the next entry, "" when it gives none."""
    if size > MAX_EXTENSION_BYTES:
        raise ArchiveRefused("unsafe_name", f"A name or attribute is longer than {MAX_EXTENSION_BYTES} bytes.")
    stream.count_extension()
    content = stream.take(size)
    stream.take(-size % BLOCK_BYTES)
    if kind == _GNU_LONG_NAME:
        return _text(content)
    records = _pax_records(content)
    if "size" in records or any(key.startswith("GNU.sparse") for key in records):
        raise ArchiveRefused("headers_disagree", "A pax header changes an entry's size; pack without sparse files.")
    return records.get("path", "") if kind == _PAX else ""


def _pax_records(content: bytes) -> dict[str, str]:
    records = {}
    while content:
        length_text, _, _ = content.partition(b" ")
        if not length_text.isdigit() or len(length_text) > 6 or not 0 < int(length_text) <= len(content):
            raise ArchiveRefused("corrupt", "The archive is damaged: a pax header is wrong.")
        record, content = content[: int(length_text)], content[int(length_text) :]
        key, _, value = record[len(length_text) + 1 : -1].partition(b"=")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
    return records


class _Inflated:
    """The decompressed bytes of one gzip member, a bounded piece at a time."""

    def __init__(self, file: BinaryIO, limits: ArchiveLimits) -> None:
        self._file = file
        self._file.seek(0)
        self._inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        self._pending = bytearray()
        self._limits = limits
        self._other_bytes = 0
        self._extensions = Meter(limits)

    def take(self, size: int) -> bytes:
        """Return exactly ``size`` bytes.

        Raises:
            ArchiveRefused: the archive ends before, or does not decompress.
        """
        while len(self._pending) < size:
            self._pending += self._next_piece()
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        return taken

    def check_ratio(self, name: str, size: int) -> None:
        """Raises: ArchiveRefused when the files without weights together expand as only a bomb does."""
        self._other_bytes += size
        Meter(self._limits).check_ratio(name, self._other_bytes, self._file.tell())

    def count_extension(self) -> None:
        """Raises: ArchiveRefused when there are more extension headers than entries allowed."""
        self._extensions.count_entry()

    def expect_only_zeros(self) -> None:
        """Raises: ArchiveRefused when anything but padding follows the end of the tar or of the gzip member."""
        padding = len(self._pending)
        if any(self._pending):
            raise ArchiveRefused("hidden_data", "There are bytes after the end of the archive.")
        while not self._inflater.eof:
            piece = self._next_piece()
            padding += len(piece)
            # tar pads to a record of 10 KiB; a megabyte of zeros is something else.
            if any(piece) or padding > 2**20:
                raise ArchiveRefused("hidden_data", "There are bytes after the end of the archive.")
        if self._inflater.unused_data or self._file.read(1):
            raise ArchiveRefused("hidden_data", "There are bytes after the end of the archive.")

    def _next_piece(self) -> bytes:
        packed = self._inflater.unconsumed_tail or self._file.read(CHUNK_BYTES)
        if self._inflater.eof:
            raise ArchiveRefused("corrupt", "The archive is damaged: it ends too early.")
        try:
            piece = self._inflater.decompress(packed, CHUNK_BYTES)
        except zlib.error as error:
            raise ArchiveRefused("corrupt", "The archive is damaged: it does not decompress.") from error
        if not piece and not packed:
            raise ArchiveRefused("corrupt", "The archive is damaged: it ends too early.")
        return piece
