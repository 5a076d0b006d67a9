"""Tensor data between JSON values and row-major little-endian bytes; every element is checked against its datatype."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from itertools import chain
from types import GenericAlias
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from model_pod.wire.frames import Buffer

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
BYTES = "BYTES"
MAX_NESTING = 32
_PIECE_BYTES = 256 * 2**10  # decoding one holds the interpreter for about 2 ms
_LENGTH = struct.Struct("<I")


def elements_from_json(raw: msgspec.Raw, datatype: str) -> list[bytes] | npt.NDArray[Any]:
    """Return a tensor's elements, flat, in row-major order; one bytes object per element for BYTES.

    Args:
        raw: the JSON array as it was sent, flat or nested (nested evenly or not: the shape is judged elsewhere).

    Raises:
        ValueError: an element is not of the datatype or not in its range; the text ends a sentence about the tensor.
    """
    pieces = _flat_pieces(raw, datatype)
    if datatype == BYTES:
        return [element.encode() for piece in pieces for element in piece]
    try:
        with np.errstate(over="ignore"):
            elements = np.concatenate([np.array(piece, dtype=DTYPES[datatype]) for piece in pieces])
    except OverflowError:
        raise ValueError(f"has an element outside the range of {datatype}") from None
    if elements.dtype.kind == "f" and not np.isfinite(elements).all():
        raise ValueError(f"has an element outside the range of {datatype}")
    return elements


def _flat_pieces(raw: msgspec.Raw, datatype: str) -> Iterator[list[Any]]:
    """Yield the elements in order; a long flat array of numbers in pieces, between which other threads may run."""
    depth = _leading_brackets(bytes(memoryview(raw)[: 4 * MAX_NESTING]))
    if depth == 0 or depth > MAX_NESTING:
        raise ValueError("has no `data` that is a JSON array")
    try:
        for piece in _cut(bytes(raw)) if depth == 1 and datatype != BYTES else (raw,):
            nested = _decoder(datatype, depth).decode(piece)
            for _ in range(depth - 1):
                nested = list(chain.from_iterable(nested))
            yield nested
    except msgspec.DecodeError:  # cut inside a deeper array, which makes the nesting uneven, a piece is not even JSON
        raise ValueError(f"has an element that is not of datatype {datatype}, or is nested unevenly") from None


def _cut(array: bytes) -> Iterator[bytes]:
    """Yield a JSON array of numbers as several, each of about ``_PIECE_BYTES``."""
    start, end = array.index(b"[") + 1, array.rindex(b"]")
    while (comma := array.find(b",", start + _PIECE_BYTES, end)) > 0:
        yield b"[%b]" % array[start:comma]
        start = comma + 1
    yield b"[%b]" % array[start:end]


def _leading_brackets(start: bytes) -> int:
    """Return how deep the array is nested, told by its first element."""
    text = start.translate(None, b" \t\r\n")
    return len(text) - len(text.lstrip(b"["))


@cache
def _decoder(datatype: str, depth: int) -> msgspec.json.Decoder[list[Any]]:
    nested: Any = {"BOOL": bool, BYTES: str}.get(datatype, float if datatype.startswith("FP") else int)
    for _ in range(depth):
        nested = GenericAlias(list, (nested,))
    return msgspec.json.Decoder(nested)


def pack_strings(elements: list[bytes]) -> bytes:
    """Return BYTES elements as one blob: each a little-endian u32 length and its bytes."""
    return b"".join(piece for element in elements for piece in (_LENGTH.pack(len(element)), element))


def to_json_values(blob: Buffer, datatype: str) -> list[Any]:
    """Return a blob's elements as values that JSON has.

    Raises:
        ValueError: an element has no JSON form (NaN, infinity, bytes that are not UTF-8) or the blob is cut short.
    """
    if datatype == BYTES:
        return [element.decode() for element in unpack_strings(memoryview(blob))]
    elements = np.frombuffer(blob, dtype=DTYPES[datatype])
    if elements.dtype.kind == "f" and not np.isfinite(elements).all():
        raise ValueError("has NaN or infinity, which JSON cannot carry")
    values: list[Any] = elements.tolist()
    return values


def unpack_strings(blob: memoryview, most: int | None = None) -> list[bytes]:
    """Return the elements of a BYTES blob; raises ``ValueError`` when it is cut short.

    Args:
        most: of them are wanted; where there are more, reading stops at the first of those.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(blob) and (most is None or len(elements) <= most):
        if at + _LENGTH.size > len(blob):
            raise ValueError("is cut short")
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size
        if at + length > len(blob):
            raise ValueError("is cut short")
        elements.append(bytes(blob[at : at + length]))
        at += length
    return elements
