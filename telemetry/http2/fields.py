"""Header fields of HTTP/2: those of requests checked (RFC 9113 8), those of answers written plainly."""

from __future__ import annotations

import re

from msgspec import Struct

from telemetry.http2.frames import Code, StreamBroken
from telemetry.http2.header_blocks import Fields

# RFC 9113 8.2.1: no value holds one of these, nor begins or ends with space. All values of a request are judged at
# once, with a NUL around each, which none of them may hold either.
_CONTROL = bytes([*range(1, 9), *range(10, 32), 127])
_EDGES = (b"\x00 ", b" \x00", b"\x00\t", b"\t\x00")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+\Z")
_PATH = re.compile(rb"/[\x21-\x7e]*\Z")
_OF_A_CONNECTION = frozenset({b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"})
_MAX_NAMES = 4096
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path"})


class Head(Struct, frozen=True, gc=False):
    """A request's header fields, checked.

    Attributes:
        path: begins with a slash.
        fields: without the pseudo fields; names are lower case.
        content_length: -1 when the request does not say.
    """

    method: bytes
    path: bytes
    authority: bytes
    fields: Fields
    content_length: int


def request_head(fields: Fields) -> Head:
    """Return a request's head.

    Raises:
        StreamBroken: it is malformed.
    """
    pseudo: dict[bytes, bytes] = {}
    at = 0
    for name, value in fields:
        if not name.startswith(b":"):
            break
        if name not in _PSEUDO or name in pseudo:
            raise _malformed("a pseudo field that is unknown, or is there twice")
        pseudo[name] = value
        at += 1
    regular = fields[at:]
    _check_names(regular)
    _check_values(fields)
    method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if not method or b":scheme" not in pseudo or not _PATH.match(path):
        raise _malformed("the request lacks :method, :scheme or :path, or they are not what they should be")
    return Head(method, path, pseudo.get(b":authority", b""), regular, _content_length(regular))


def check_trailers(fields: Fields) -> None:
    """Raise ``StreamBroken`` where trailers are malformed; nobody reads them."""
    _check_names(fields)
    _check_values(fields)


def _check_names(fields: Fields) -> None:
    for name, value in fields:
        if not _is_good[name]:  # a pseudo field after others fails here too
            raise _malformed("a field's name is not of lower-case letters, or it speaks of a connection")
        if name == b"te" and value != b"trailers":
            raise _malformed("te is something else than trailers")


def _check_values(fields: Fields) -> None:
    joined = b"\x00".join([b"", *[value for _, value in fields], b""])
    is_plain = joined.count(b"\x00") == len(fields) + 1 and len(joined.translate(None, _CONTROL)) == len(joined)
    if not is_plain or any(edge in joined for edge in _EDGES):
        raise _malformed("a field's value holds a control character, or space around it")


class _GoodNames(dict[bytes, bool]):
    """Which names a field may have: names recur, so each is judged once."""

    def __missing__(self, name: bytes) -> bool:
        is_good = _NAME.match(name) is not None and name not in _OF_A_CONNECTION
        if len(self) < _MAX_NAMES:
            self[name] = is_good
        return is_good


_is_good = _GoodNames()


def _content_length(fields: Fields) -> int:
    given = {value for name, value in fields if name == b"content-length"}
    if not given:
        return -1
    value = given.pop()
    if given or not value.isdigit() or len(value) > 15:  # bytes.isdigit is of ASCII alone
        raise _malformed("content-length is no number, or there are two")
    return int(value)


def _malformed(message: str) -> StreamBroken:
    return StreamBroken(Code.PROTOCOL_ERROR, message)


def field(name: bytes, value: bytes) -> bytes:
    """Return one field of an answer, as a literal that no table learns: the next answer's has other values anyway."""
    return named(name) + counted(value)


def named(name: bytes) -> bytes:
    """Return the first part of a field."""
    return b"\x00" + _length(len(name)) + name


def counted(value: bytes) -> bytes:
    """Return the second part of a field."""
    return _length(len(value)) + value


def _length(count: int) -> bytes:
    """Return an integer with a prefix of seven bits (RFC 7541 5.1)."""
    if count < 0x7F:
        return _ONE_BYTE[count]
    count -= 0x7F
    written = bytearray(b"\x7f")
    while count >= 0x80:
        written.append(count & 0x7F | 0x80)
        count >>= 7
    written.append(count)
    return bytes(written)


_ONE_BYTE = [bytes([count]) for count in range(0x7F)]
