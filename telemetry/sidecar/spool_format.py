"""How spans that wait to be exported lie on disk: segments of records, and what is remembered of them beside.

Every span has an ordinal, from the first that was ever written to a folder. A record says the ordinal of its first
span, so that whatever is missing between two of them can be counted.
"""

from __future__ import annotations

import zlib
from struct import Struct as Layout

import msgspec
from msgspec import Struct

from telemetry.sidecar.export_queue import Parcel

SEGMENT_HEAD = Layout("<8sQ")
_MAGIC = b"pnstkspl"
RECORD_HEAD = Layout("<QIII")
_UNSUMMED = Layout("<QII")
MOST_BODY_BYTES = 2**26
"""Of a record; a length beyond it is no length."""
SLOT_BYTES = 4096
_SLOT_HEAD = Layout("<II")


class RecordHead(Struct, frozen=True):
    """What is said of a record before its body.

    Attributes:
        first: ordinal of its first span.
        checksum: CRC-32 of the rest of this head and of the body.
    """

    first: int
    span_count: int
    body_bytes: int
    checksum: int

    @property
    def size_bytes(self) -> int:
        """Of the whole record."""
        return RECORD_HEAD.size + self.body_bytes


class State(Struct, frozen=True, array_like=True):
    """What is remembered of a folder.

    Attributes:
        number: the higher of two is the later one.
        head: ordinal of the first span that was not given to a sender yet.
        end: ordinal of the next span to be written.
        sent_first, sent_count: of the record that is being sent; 0 spans when none is.
        exported: spans that a receiver took, since the folder is there.
        dropped: spans that were lost, by why.
    """

    number: int = 0
    head: int = 0
    end: int = 0
    sent_first: int = 0
    sent_count: int = 0
    exported: int = 0
    dropped: dict[str, int] = {}


def segment_head(first: int) -> bytes:
    """Return what a segment begins with.

    Args:
        first: ordinal of the first span in it.
    """
    return SEGMENT_HEAD.pack(_MAGIC, first)


def first_of_segment(head: bytes) -> int | None:
    """Return the ordinal of the first span of a segment; None when it is none of ours."""
    if len(head) != SEGMENT_HEAD.size:
        return None
    magic, first = SEGMENT_HEAD.unpack(head)
    return int(first) if magic == _MAGIC else None


def record_head(parcel: Parcel, first: int) -> bytes:
    """Return what is written before a parcel's body."""
    summed = _UNSUMMED.pack(first, parcel.span_count, len(parcel.body))
    return RECORD_HEAD.pack(first, parcel.span_count, len(parcel.body), zlib.crc32(parcel.body, zlib.crc32(summed)))


def read_record_head(head: bytes) -> RecordHead | None:
    """Return what is said of a record; None when it cannot be one."""
    if len(head) != RECORD_HEAD.size:
        return None
    read = RecordHead(*RECORD_HEAD.unpack(head))
    return read if read.span_count and read.body_bytes <= MOST_BODY_BYTES else None


def is_sound(head: RecordHead, body: bytes) -> bool:
    """Whether a record is as it was written."""
    summed = _UNSUMMED.pack(head.first, head.span_count, head.body_bytes)
    return len(body) == head.body_bytes and zlib.crc32(body, zlib.crc32(summed)) == head.checksum


def written_state(state: State) -> tuple[int, bytes]:
    """Return where in its file a state is written, and what: of two slots the one with the older state.

    One of both is whole, whenever writing is cut off.
    """
    content = msgspec.msgpack.encode(state)
    slot = _SLOT_HEAD.pack(len(content), zlib.crc32(content)) + content
    if len(slot) > SLOT_BYTES:
        raise ValueError(f"a state has {len(slot)} bytes")
    return state.number % 2 * SLOT_BYTES, slot.ljust(SLOT_BYTES, b"\0")


def newest_state(file: bytes) -> State:
    """Return the newest state of a file that is whole; that of a new folder where none is."""
    states = [state for at in (0, SLOT_BYTES) if (state := _read_slot(file[at : at + SLOT_BYTES])) is not None]
    return max(states, key=lambda state: state.number, default=State())


def _read_slot(slot: bytes) -> State | None:
    if len(slot) < _SLOT_HEAD.size:
        return None
    size, checksum = _SLOT_HEAD.unpack_from(slot)
    content = slot[_SLOT_HEAD.size : _SLOT_HEAD.size + size]
    if len(content) != size or zlib.crc32(content) != checksum:
        return None
    try:
        return msgspec.msgpack.decode(content, type=State)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
