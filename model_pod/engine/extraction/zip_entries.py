"""Reads a zip strictly: every byte of the file is accounted for, and both copies of each header must agree.

The standard library's reader believes the central directory alone; entries may then overlap, hide from other readers or
declare what they are not. Here the local headers, their data and the central directory tile the file without a gap.
"""

from __future__ import annotations

import stat
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from model_pod.engine.extraction.entry import CHUNK_BYTES, Entry
from model_pod.engine.extraction.limits import ArchiveLimits, ArchiveRefused, Meter
from model_pod.engine.extraction.zip_directory import (
    DEFLATED,
    HAS_DESCRIPTOR,
    STORED,
    ZipRecord,
    corrupt,
    read_exactly,
    read_records,
    read_zip64_sizes,
)

# APPNOTE.TXT 4.3.7: signature, version, flags, method, time, date, CRC, packed, size, name length, extra length.
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
# With and without a signature, with 4-byte and with 8-byte sizes (APPNOTE.TXT 4.3.9).
_DESCRIPTORS = (struct.Struct("<III"), struct.Struct("<4sIII"), struct.Struct("<IQQ"), struct.Struct("<4sIQQ"))
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
_PERMISSION_TRICKS = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX


def zip_entries(file: BinaryIO, limits: ArchiveLimits) -> Iterator[Entry]:
    """Yield the entries of a zip, in the order they lie in the file, after the whole directory was checked.

    Raises:
        ArchiveRefused: the file is damaged, ambiguous, encrypted, or larger than the limits.
    """
    records, directory_at = read_records(file, limits.entries)
    _check_declared(records, limits)
    expected_at = 0
    spans: list[_Span] = []
    for record in sorted(records, key=lambda record: record.header_at):
        if record.header_at != expected_at:
            kind = "overlapping_entries" if record.header_at < expected_at else "hidden_data"
            raise ArchiveRefused(kind, f"{record.name!r:.120} does not follow the entry before it.")
        span = _read_local(file, record, directory_at)
        spans.append(span)
        expected_at = span.end
    if expected_at != directory_at:
        raise ArchiveRefused("hidden_data", "There are bytes between the last entry and the directory.")
    for span in spans:
        yield Entry(span.record.name.removesuffix("/"), span.record.is_directory, span.record.size, _chunks(file, span))


@dataclass(frozen=True, slots=True)
class _Span:
    """Where an entry's packed bytes lie, and where the next entry starts."""

    record: ZipRecord
    data_at: int
    end: int


def _check_declared(records: list[ZipRecord], limits: ArchiveLimits) -> None:
    meter = Meter(limits)
    for record in records:
        meter.count_entry()
        meter.count_bytes(record.name, record.size)
        meter.check_ratio(record.name, record.size, record.packed)
        _check_kind(record)


def _check_kind(record: ZipRecord) -> None:
    if record.is_encrypted:
        raise ArchiveRefused("encrypted", f"{record.name!r:.120} is encrypted.")
    if record.method not in (STORED, DEFLATED):
        raise ArchiveRefused("method_not_supported", f"{record.name!r:.120} uses compression method {record.method}.")
    if record.method == STORED and record.size != record.packed:
        raise ArchiveRefused("size_mismatch", f"{record.name!r:.120} is stored and declares two sizes.")
    kind = stat.S_IFMT(record.mode)
    expected = stat.S_IFDIR if record.is_directory else stat.S_IFREG
    if kind not in (0, expected):
        raise ArchiveRefused("not_a_file", f"{record.name!r:.120} is a link or a special file.")
    if record.is_directory and record.size:
        raise ArchiveRefused("not_a_file", f"{record.name!r:.120} is a directory with content.")
    if record.mode & _PERMISSION_TRICKS and not record.is_directory:
        raise ArchiveRefused("special_mode", f"{record.name!r:.120} has a set-user-id, set-group-id or sticky bit.")


def _read_local(file: BinaryIO, record: ZipRecord, directory_at: int) -> _Span:
    header = _LOCAL.unpack(read_exactly(file, record.header_at, _LOCAL.size))
    signature, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes = header
    tail = read_exactly(file, record.header_at + _LOCAL.size, name_bytes + extra_bytes)
    size, packed = read_zip64_sizes(tail[name_bytes:], size, packed)
    agrees = (flags, method, tail[:name_bytes]) == (record.flags, record.method, record.raw_name)
    described_later = bool(flags & HAS_DESCRIPTOR)
    if not described_later or (crc, packed, size) != (0, 0, 0):
        agrees = agrees and (crc, packed, size) == (record.crc, record.packed, record.size)
    if signature != b"PK\x03\x04" or not agrees:
        raise ArchiveRefused("headers_disagree", f"{record.name!r:.120} is described in two different ways.")
    data_at = record.header_at + _LOCAL.size + name_bytes + extra_bytes
    end = data_at + record.packed
    if end > directory_at:
        raise ArchiveRefused("overlapping_entries", f"{record.name!r:.120} runs into the directory.")
    return _Span(record, data_at, end + (_descriptor_bytes(file, record, end) if described_later else 0))


def _descriptor_bytes(file: BinaryIO, record: ZipRecord, at: int) -> int:
    facts = (record.crc, record.packed, record.size)
    available = read_exactly(file, at, _DESCRIPTORS[-1].size, allow_short=True)
    for layout in reversed(_DESCRIPTORS):
        if len(available) < layout.size:
            continue
        found = layout.unpack_from(available)
        if found in (facts, (_DESCRIPTOR_SIGNATURE, *facts)):
            return layout.size
    raise ArchiveRefused("headers_disagree", f"{record.name!r:.120} is described in two different ways.")


def _chunks(file: BinaryIO, span: _Span) -> Iterator[bytes]:
    crc = 0
    unpacked = _inflated(file, span) if span.record.method == DEFLATED else _packed(file, span)
    for chunk in unpacked:
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if crc != span.record.crc:
        raise ArchiveRefused("bad_checksum", f"{span.record.name!r:.120} is damaged: its checksum does not match.")


def _packed(file: BinaryIO, span: _Span) -> Iterator[bytes]:
    at, end = span.data_at, span.data_at + span.record.packed
    while at < end:
        chunk = read_exactly(file, at, min(CHUNK_BYTES, end - at))
        at += len(chunk)
        yield chunk


def _inflated(file: BinaryIO, span: _Span) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for packed in _packed(file, span):
            while packed and not inflater.eof:
                if chunk := inflater.decompress(packed, CHUNK_BYTES):
                    yield chunk
                packed = inflater.unconsumed_tail
        while chunk := inflater.decompress(inflater.unconsumed_tail, CHUNK_BYTES):
            yield chunk
    except zlib.error as error:
        raise corrupt(f"{span.record.name!r:.120} does not decompress") from error
    if not inflater.eof or inflater.unused_data:
        raise corrupt(f"{span.record.name!r:.120} does not end where it says")
