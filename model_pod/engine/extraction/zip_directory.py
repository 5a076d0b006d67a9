"""The central directory of a zip, with its end records, read strictly."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from model_pod.engine.extraction.limits import ArchiveRefused
from model_pod.engine.extraction.names import MAX_NAME_BYTES

STORED, DEFLATED = 0, 8
HAS_DESCRIPTOR = 1 << 3
# Traditional encryption, strong encryption, and an encrypted directory (APPNOTE.TXT 4.4.4).
_ENCRYPTED = 1 | 1 << 6 | 1 << 13

# APPNOTE.TXT 4.3.12, 4.3.14 to 4.3.16.
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_END = struct.Struct("<4sHHHHIIH")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR64 = struct.Struct("<4sIQI")
_EXTRA = struct.Struct("<HH")
_ZIP64_EXTRA = 1
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
# A record's fixed part, its longest allowed name and as much again for extra fields.
_MAX_RECORD_BYTES = _CENTRAL.size + 2 * MAX_NAME_BYTES


@dataclass(frozen=True, slots=True)
class ZipRecord:
    """One entry as the central directory declares it, 64-bit sizes resolved.

    Attributes:
        packed: bytes in the archive.
        size: bytes once extracted.
        header_at: where its local header lies.
        mode: Unix mode, 0 when the archive was made elsewhere.
    """

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    header_at: int
    mode: int

    @property
    def is_directory(self) -> bool:
        return self.name.endswith("/")

    @property
    def is_encrypted(self) -> bool:
        return bool(self.flags & _ENCRYPTED)


def corrupt(what: str) -> ArchiveRefused:
    """Return the refusal of a damaged archive."""
    return ArchiveRefused("corrupt", f"The archive is damaged: {what}.")


def read_exactly(file: BinaryIO, at: int, size: int, *, allow_short: bool = False) -> bytes:
    """Return the bytes at a place.

    Raises:
        ArchiveRefused: the file ends before.
    """
    file.seek(at)
    data = file.read(size)
    if len(data) != size and not allow_short:
        raise corrupt("it ends too early")
    return data


def read_records(file: BinaryIO, max_entries: int) -> tuple[list[ZipRecord], int]:
    """Return the entries of the central directory, and where the directory begins.

    Raises:
        ArchiveRefused: the directory is damaged, too large, or not the last thing in the file.
    """
    count, directory_bytes, directory_at = _read_end(file)
    if count > max_entries:
        raise ArchiveRefused("too_many_entries", f"The archive has more than {max_entries} entries.")
    if directory_bytes > count * _MAX_RECORD_BYTES:
        raise ArchiveRefused("headers_disagree", "The directory is larger than its entries can be.")
    directory = read_exactly(file, directory_at, directory_bytes)
    records, at = [], 0
    for _ in range(count):
        record, at = _parse_record(directory, at)
        records.append(record)
    if at != len(directory):
        raise ArchiveRefused("headers_disagree", "The directory holds more than it declares.")
    return records, directory_at


def read_zip64_sizes(extra: bytes, size: int, packed: int) -> tuple[int, int]:
    """Return a header's (size, packed) with its 64-bit extra field applied."""
    values = _zip64_values(extra)
    if size == _MAX32:
        size = _take(values)
    if packed == _MAX32:
        packed = _take(values)
    return size, packed


def _read_end(file: BinaryIO) -> tuple[int, int, int]:
    """Return (entry count, directory bytes, directory position)."""
    end_at = file.seek(0, 2) - _END.size
    if end_at < 0:
        raise corrupt("it ends too early")
    signature, disk, start_disk, here, count, size, at, comment = _END.unpack(read_exactly(file, end_at, _END.size))
    if signature != b"PK\x05\x06" or comment:
        raise ArchiveRefused("hidden_data", "The zip does not end with its end record (a comment, or bytes after it).")
    if disk or start_disk or here != count:
        raise corrupt("it is one part of several")
    if end64 := _read_end64(file, end_at):
        end_at, count64, size64, at64 = end64
        narrow = ((count, count64, _MAX16), (size, size64, _MAX32), (at, at64, _MAX32))
        if any(short not in (limit, long) for short, long, limit in narrow):
            raise ArchiveRefused("headers_disagree", "The zip's two end records disagree.")
        count, size, at = count64, size64, at64
    if at + size != end_at:
        raise ArchiveRefused("hidden_data", "The directory is not where the end record says, or bytes follow it.")
    return count, size, at


def _read_end64(file: BinaryIO, end_at: int) -> tuple[int, int, int, int] | None:
    """Return (position of the 64-bit end record, entry count, directory bytes, directory position)."""
    locator_at = end_at - _LOCATOR64.size
    if locator_at < _END64.size:
        return None
    signature, disk, record_at, disks = _LOCATOR64.unpack(read_exactly(file, locator_at, _LOCATOR64.size))
    if signature != b"PK\x06\x07":
        return None
    if record_at + _END64.size != locator_at or disk or disks != 1:
        raise ArchiveRefused("headers_disagree", "The zip's 64-bit end record is not where it should be.")
    fields = _END64.unpack(read_exactly(file, record_at, _END64.size))
    if fields[0] != b"PK\x06\x06" or fields[1] != _END64.size - 12 or fields[6] != fields[7]:
        raise corrupt("its 64-bit end record is wrong")
    return record_at, fields[7], fields[8], fields[9]


def _parse_record(directory: bytes, at: int) -> tuple[ZipRecord, int]:
    if len(directory) - at < _CENTRAL.size:
        raise corrupt("its directory ends too early")
    fields = _CENTRAL.unpack_from(directory, at)
    signature, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, attributes, header_at = fields
    name_end = at + _CENTRAL.size + lengths[0]
    extra_end = name_end + lengths[1]
    end = extra_end + lengths[2]
    if signature != b"PK\x01\x02" or end > len(directory) or disk:
        raise corrupt("an entry of its directory is wrong")
    raw_name = directory[at + _CENTRAL.size : name_end]
    extra = directory[name_end:extra_end]
    size, packed, header_at = _resolve_zip64(extra, size, packed, header_at)
    name = _decode_name(raw_name)
    return ZipRecord(name, raw_name, flags, method, crc, packed, size, header_at, attributes >> 16), end


def _decode_name(raw_name: bytes) -> str:
    try:
        return raw_name.decode("ascii")
    except UnicodeDecodeError as error:
        raise ArchiveRefused("unsafe_name", f"{raw_name[:80]!r} is not a plain relative name.") from error


def _resolve_zip64(extra: bytes, size: int, packed: int, header_at: int) -> tuple[int, int, int]:
    values = _zip64_values(extra)
    resolved = [_take(values) if value == _MAX32 else value for value in (size, packed, header_at)]
    if values:
        raise ArchiveRefused("headers_disagree", "A 64-bit size is given where none is due.")
    return resolved[0], resolved[1], resolved[2]


def _zip64_values(extra: bytes) -> list[int]:
    at = 0
    while len(extra) - at >= _EXTRA.size:
        kind, length = _EXTRA.unpack_from(extra, at)
        at += _EXTRA.size
        if at + length > len(extra):
            raise corrupt("an extra field is wrong")
        if kind == _ZIP64_EXTRA:
            return [value for (value,) in struct.iter_unpack("<Q", extra[at : at + length - length % 8])]
        at += length
    return []


def _take(values: list[int]) -> int:
    if not values:
        raise corrupt("a 64-bit size is missing")
    return values.pop(0)
