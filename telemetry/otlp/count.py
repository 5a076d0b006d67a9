"""Counts what a body holds before any object is made of it: a message of two bytes becomes a hundred in memory.

It knows the messages of traces alone; fields that none of them has are stepped over, as the official parser does.
"""

from __future__ import annotations

from enum import IntEnum

MAX_MESSAGES = 150_000
"""Of a body: spans, attributes, values, links and so on. Eight thousand spans of eight attributes have 140,000, and
take a third of a second."""

MAX_SPANS = 10_000
MAX_FIELDS = 500_000
"""Values that are no messages cost little, but each costs a step here."""

MAX_OBJECTS = 20_000
MAX_MEMBERS = 50_000
"""Of a body in JSON, whose official parser takes twenty times as long; its texts are counted as if they were none."""


class TooMany(Exception):
    """A body holds more than is looked at; the text is for its sender."""


class BadWire(Exception):
    """A body is no protobuf message."""


_TOO_MANY = (
    f"A body has at most {MAX_SPANS} spans, {MAX_MESSAGES} messages and {MAX_FIELDS} fields, attributes and their "
    "values counted: send fewer spans at once."
)
_TOO_MANY_IN_JSON = (
    f"A body in JSON has at most {MAX_OBJECTS} objects and {MAX_MEMBERS} members: send fewer spans at once, or in "
    "protobuf."
)


class _Message(IntEnum):
    REQUEST = 0
    RESOURCE_SPANS = 1
    RESOURCE = 2
    SCOPE_SPANS = 3
    SCOPE = 4
    SPAN = 5
    EVENT = 6
    LINK = 7
    STATUS = 8
    KEY_VALUE = 9
    ANY_VALUE = 10
    ARRAY = 11
    KEY_VALUES = 12


# The messages in each message by the number of their field.
# Source: opentelemetry-proto v1.10.0, trace/v1/trace.proto, common/v1/common.proto, resource/v1/resource.proto.
_FIELDS: dict[_Message, dict[int, _Message]] = {
    _Message.REQUEST: {1: _Message.RESOURCE_SPANS},
    _Message.RESOURCE_SPANS: {1: _Message.RESOURCE, 2: _Message.SCOPE_SPANS},
    _Message.RESOURCE: {1: _Message.KEY_VALUE},
    _Message.SCOPE_SPANS: {1: _Message.SCOPE, 2: _Message.SPAN},
    _Message.SCOPE: {3: _Message.KEY_VALUE},
    _Message.SPAN: {9: _Message.KEY_VALUE, 11: _Message.EVENT, 13: _Message.LINK, 15: _Message.STATUS},
    _Message.EVENT: {3: _Message.KEY_VALUE},
    _Message.LINK: {4: _Message.KEY_VALUE},
    _Message.STATUS: {},
    _Message.KEY_VALUE: {2: _Message.ANY_VALUE},
    _Message.ANY_VALUE: {5: _Message.ARRAY, 6: _Message.KEY_VALUES},
    _Message.ARRAY: {1: _Message.ANY_VALUE},
    _Message.KEY_VALUES: {1: _Message.KEY_VALUE},
}
_VARINT, _BYTES = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
_VARINT_BYTES = 10
_WIRE_TYPE, _WIRE_TYPE_BITS = 0b111, 3
_MORE = 0x80
_LEAST_BYTES = 2  # of a message: its tag and its length


def check_json(body: bytes) -> None:
    """Look at a body in JSON before it is read.

    Raises:
        TooMany: it is not to be read.
    """
    if body.count(b"{") > MAX_OBJECTS or body.count(b":") > MAX_MEMBERS:
        raise TooMany(_TOO_MANY_IN_JSON)


def check_protobuf(body: bytes) -> None:
    """Look at a body in protobuf before it is read; a short one cannot hold too much.

    Raises:
        TooMany: it is not to be read.
        BadWire: it is no such message.
    """
    if len(body) <= MAX_MESSAGES * _LEAST_BYTES:
        return
    try:
        _walk(body)
    except IndexError:
        raise BadWire from None


def _walk(body: bytes) -> None:
    """Go over every field once, and into those that are messages, until there are too many."""
    messages = spans = at = 0
    inside, end = _FIELDS[_Message.REQUEST], len(body)
    outer: list[tuple[dict[int, _Message], int]] = []
    for _ in range(MAX_FIELDS):
        while at == end:
            if not outer:
                return
            inside, end = outer.pop()
        tag = body[at]  # most tags and lengths are of one byte, and here is where the time goes
        at += 1
        if tag >= _MORE:
            tag, at = _varint(body, at - 1)
        if tag & _WIRE_TYPE != _BYTES:
            at = _behind(body, at, tag & _WIRE_TYPE)
            message = None
        else:
            length = body[at]
            at += 1
            if length >= _MORE:
                length, at = _varint(body, at - 1)
            message = inside.get(tag >> _WIRE_TYPE_BITS)
            if message is None:
                at += length
        if at > end:
            raise BadWire
        if message is not None:
            messages += 1
            spans += message is _Message.SPAN
            if at + length > end:
                raise BadWire
            if messages > MAX_MESSAGES or spans > MAX_SPANS:
                break
            outer.append((inside, end))
            inside, end = _FIELDS[message], at + length
    raise TooMany(_TOO_MANY)


def _behind(body: bytes, at: int, wire_type: int) -> int:
    """Return where a field without a length ends; ``at`` is behind its tag."""
    if wire_type == _VARINT:
        return _varint(body, at)[1]
    if wire_type in _FIXED_BYTES:
        return at + _FIXED_BYTES[wire_type]
    raise BadWire  # a group, of which these messages have none


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return the number that begins there, and where it ends."""
    value = 0
    for shift in range(0, 7 * _VARINT_BYTES, 7):
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, at
    raise BadWire
