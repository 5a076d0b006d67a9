"""Elements: the bytes of one tensor as numbers, truth values or text, as the Open Inference Protocol lays them out."""

from __future__ import annotations

import struct
from typing import Any

# As ``struct`` writes them; BF16 is not among them: it is the upper half of an FP32.
_FORMATS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_LENGTH = struct.Struct("<I")


class Unreadable(Exception):
    """A body says nothing that can be compared; the text says why."""


def elements_of(blob: bytes, datatype: Any, size: int) -> list[Any]:
    """Return a tensor's elements, in row-major order.

    Args:
        size: bytes that the tensor is said to have.

    Raises:
        Unreadable: fewer bytes than said, not a whole number of elements, or a datatype that nobody knows.
    """
    if len(blob) != size:
        raise Unreadable("cut short")
    if datatype == "BYTES":
        return _texts(blob)
    if datatype == "BF16":
        blob, datatype = _widened(blob), "FP32"
    letter = _FORMATS.get(datatype)
    if letter is None:
        raise Unreadable(f"of datatype {str(datatype)[:20]!r}")
    width = struct.calcsize(f"<{letter}")
    if len(blob) % width:
        raise Unreadable("cut short")
    return list(struct.unpack(f"<{len(blob) // width}{letter}", blob))


def text_or_bytes(element: bytes) -> str | bytes:
    """Return text where the bytes are UTF-8, as JSON would carry them."""
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element


def _widened(blob: bytes) -> bytes:
    if len(blob) % 2:
        raise Unreadable("cut short")
    wide = bytearray(2 * len(blob))
    wide[2::4] = blob[0::2]
    wide[3::4] = blob[1::2]
    return bytes(wide)


def _texts(blob: bytes) -> list[Any]:
    """Return the elements of a BYTES tensor: each has its length before it, as a little-endian u32."""
    elements: list[Any] = []
    at = 0
    while at < len(blob):
        if at + _LENGTH.size > len(blob):
            raise Unreadable("cut short")
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size + length
        if at > len(blob):
            raise Unreadable("cut short")
        elements.append(text_or_bytes(blob[at - length : at]))
    return elements
