"""As much of protobuf's wire format as the gateway needs: two names out of a message, and small answers of its own.

Messages of models go through as they are; who decodes them is the pod.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from model_pod.wire.refusals import Refused

_VARINT, _EIGHT_BYTES, _COUNTED, _FOUR_BYTES = 0, 1, 2, 5
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_MAX_VARINT_BYTES = 10
_TWO_TO_64 = 2**64


class Names(Struct, frozen=True):
    """Which model a message is for; ``version`` is "" when it names none."""

    model: str
    version: str


class _CutShort(Exception):
    pass


def names_of(message: bytes, *, is_whole: bool) -> Names | None:
    """Return the model (field 1) and version (field 2) that a message names; None when more of it is needed.

    All requests of models have these numbers. Encoders write fields in the order of their numbers, so a message's first
    bytes tell; one that has them elsewhere, or twice, is judged by the pod, which refuses what is not its own.

    Raises:
        Refused: ``malformed_body``.
    """
    found = {1: b"", 2: b""}
    at = 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            number, wire_type = tag >> 3, tag & 7
            if number > 2 and found[1]:
                return _names(found)
            value, at = _value(message, at, wire_type)
            if number in found:
                if wire_type != _COUNTED:
                    raise _malformed()
                found[number] = value
            if found[1] and found[2]:
                return _names(found)
    except _CutShort:
        if is_whole:
            raise _malformed() from None
        return None
    return _names(found) if is_whole else None


def _names(found: dict[int, bytes]) -> Names:
    try:
        return Names(found[1].decode(), found[2].decode())
    except UnicodeDecodeError:
        raise _malformed() from None


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    for end in range(at, at + _MAX_VARINT_BYTES):
        if end >= len(message):
            raise _CutShort
        byte = message[end]
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, end + 1
        shift += 7
    raise _malformed()


def _value(message: bytes, at: int, wire_type: int) -> tuple[bytes, int]:
    if wire_type == _VARINT:
        _, end = _varint(message, at)
        return b"", end
    if wire_type == _COUNTED:
        size, at = _varint(message, at)
    elif wire_type in _FIXED:
        size = _FIXED[wire_type]
    else:  # groups, which proto3 does not have
        raise _malformed()
    if at + size > len(message):
        raise _CutShort
    return message[at : at + size], at + size


def _malformed() -> Refused:
    return Refused("malformed_body", "the message is no protobuf message of this method")


def counted_fields(message: bytes) -> list[tuple[int, bytes]]:
    """Return the strings, bytes and messages of a whole message, by field number.

    Raises:
        Refused: ``malformed_body``.
    """
    fields: list[tuple[int, bytes]] = []
    at = 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            value, at = _value(message, at, tag & 7)
            if tag & 7 == _COUNTED:
                fields.append((tag >> 3, value))
    except _CutShort:
        raise _malformed() from None
    return fields


def without(message: bytes, field: int) -> bytes:
    """Return a whole message without a field of text, bytes or a message.

    Raises:
        Refused: ``malformed_body``.
    """
    kept, at = [], 0
    try:
        while at < len(message):
            begins = at
            tag, at = _varint(message, at)
            _, at = _value(message, at, tag & 7)
            if tag != field << 3 | _COUNTED:
                kept.append(message[begins:at])
    except _CutShort:
        raise _malformed() from None
    return b"".join(kept)


def is_set(message: bytes, field: int) -> bool:
    """Whether a boolean of a whole message is true; the last one counts.

    Raises:
        Refused: ``malformed_body``.
    """
    found = at = 0
    try:
        while at < len(message):
            tag, at = _varint(message, at)
            if tag == field << 3 | _VARINT:
                found, at = _varint(message, at)
            else:
                _, at = _value(message, at, tag & 7)
    except _CutShort:
        raise _malformed() from None
    return found != 0


def varint(number: int) -> bytes:
    """Return a number; below zero as protobuf writes an int64."""
    number %= _TWO_TO_64
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def counted(field: int, value: bytes | str) -> bytes:
    """Return a field of text, bytes or a message."""
    content = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | _COUNTED) + varint(len(content)) + content


def number(field: int, value: int) -> bytes:
    """Return a field of a number or a boolean; nothing for 0, as proto3 writes it."""
    return varint(field << 3 | _VARINT) + varint(value) if value else b""


def numbers(field: int, values: Sequence[int]) -> bytes:
    """Return a field of several numbers."""
    return counted(field, b"".join(varint(value) for value in values)) if values else b""
