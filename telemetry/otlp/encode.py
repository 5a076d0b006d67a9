"""Spans -> an ``ExportTraceServiceRequest`` in protobuf, written field by field.

Building the official classes takes two to four times as long, and a sidecar encodes all that its pod exports. The bytes
of most attributes repeat from span to span, and are kept. Which fields there are, and their numbers, is said by
``opentelemetry/proto/trace/v1/trace.proto`` and ``common/v1/common.proto``; on the wire a field begins with a tag: its
number times eight plus how its value is written (0: varint, 1: eight bytes, 2: a length and that many bytes).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from struct import Struct

from telemetry.span import Attributes, Event, Kind, Link, Span, Value

MAX_KNOWN = 4096
MAX_KNOWN_CHARACTERS = 128
"""Longer keys and values are written anew each time, so that what is kept stays below a few MiB."""

_RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
_INT64 = range(-(2**63), 2**63)
_START_AND_END = Struct("<BQBQ")
_EVENT_TIME = Struct("<BQ")
_DOUBLE = Struct("<d")
_ID_BYTES, _LINK_ID_BYTES = 38, 28  # with their tags and lengths


def encode_spans(spans: Sequence[Span]) -> bytes:
    """Return one request with all spans, grouped by resource and scope; no bytes for no spans.

    An integer beyond 64 bits travels as its decimal text, and half of a surrogate pair as a question mark.

    Raises:
        ValueError: an id is not as many hexadecimal digits as it must be.
    """
    resources: dict[int, bytes] = {}  # by identity: what one process recorded shares one
    groups: dict[bytes, dict[str, list[bytes]]] = {}
    for span in spans:
        resource = resources.get(id(span.resource))
        if resource is None:
            resource = resources[id(span.resource)] = _block(b"\x0a", _attributes(b"\x0a", span.resource))
        groups.setdefault(resource, {}).setdefault(span.scope, []).append(_span(span))
    return b"".join([_block(b"\x0a", resource + _scopes(scopes)) for resource, scopes in groups.items()])


def encode_status(code: int, message: str, retry_after_s: int = 0) -> bytes:
    """Return a ``google.rpc.Status``, which is what errors are told in.

    Args:
        retry_after_s: when to come again, as a ``google.rpc.RetryInfo``; 0 says nothing.
    """
    status = _count(b"\x08", code) + _text(b"\x12", message)
    if not retry_after_s:
        return status
    retry_info = _block(b"\x0a", _count(b"\x08", retry_after_s))
    return status + _block(b"\x1a", _text(b"\x0a", _RETRY_INFO) + _block(b"\x12", retry_info))


def _scopes(scopes: dict[str, list[bytes]]) -> bytes:
    return b"".join(
        [_block(b"\x12", _block(b"\x0a", _text(b"\x0a", scope)) + b"".join(spans)) for scope, spans in scopes.items()]
    )


def _span(span: Span) -> bytes:
    fields = [
        _ids(span),
        _name_and_kind(span.name, span.kind),
        _START_AND_END.pack(0x39, span.start_ns, 0x41, span.end_ns),
        _attributes(b"\x4a", span.attributes),
    ]
    if span.events:
        fields += [_block(b"\x5a", _event(event)) for event in span.events]
    if span.links:
        fields += [_block(b"\x6a", _link(link)) for link in span.links]
    if span.status or span.message:
        fields.append(_block(b"\x7a", _text(b"\x12", span.message) + _count(b"\x18", span.status)))
    if span.trace_state:
        fields.append(_text(b"\x1a", span.trace_state))
    if span.dropped_attributes or span.dropped_events or span.dropped_links:
        fields += [_count(b"\x50", span.dropped_attributes), _count(b"\x60", span.dropped_events)]
        fields.append(_count(b"\x70", span.dropped_links))
    return _block(b"\x12", b"".join(fields))


def _ids(span: Span) -> bytes:
    # The parent of a first span has no digits, but still a field: an empty one says the same as none.
    parent = f"2208{span.parent_id}" if span.parent_id else "2200"
    ids = bytes.fromhex(f"0a10{span.trace_id}1208{span.span_id}{parent}")
    if len(ids) != (_ID_BYTES if span.parent_id else _ID_BYTES - 8):
        raise ValueError("the ids of a span are 32, 16 and 16 or no digits")
    return ids


def _link(link: Link) -> bytes:
    ids = bytes.fromhex(f"0a10{link.trace_id}1208{link.span_id}")
    if len(ids) != _LINK_ID_BYTES:
        raise ValueError("the ids of a link are 32 and 16 digits")
    return ids + _attributes(b"\x22", link.attributes)


def _event(event: Event) -> bytes:
    return _EVENT_TIME.pack(0x09, event.at_ns) + _text(b"\x12", event.name) + _attributes(b"\x1a", event.attributes)


@lru_cache(maxsize=256)  # spans have few names
def _name_and_kind(name: str, kind: Kind) -> bytes:
    return _text(b"\x2a", name) + _count(b"\x30", kind)


_known: dict[tuple[str, Value], tuple[type[Value], bytes]] = {}


def _attributes(tag: bytes, attributes: Attributes) -> bytes:
    if not attributes:
        return b""
    encoded = []
    for item in attributes.items():
        known = _known.get(item)
        # True, 1 and 1.0 are one key to a dictionary.
        encoded.append(known[1] if known and known[0] is type(item[1]) else _attribute(*item))
    return tag + tag.join(encoded)


def _attribute(key: str, value: Value) -> bytes:
    """Return a key and its value behind their length."""
    if type(value) is float:
        return _before_double(key) + _DOUBLE.pack(value)
    encoded = _block(b"", _block(_before_value(key), _any_value(value)))
    if len(key) <= MAX_KNOWN_CHARACTERS and _repeats(value):
        if len(_known) >= MAX_KNOWN:
            _known.clear()  # what repeats is back with the next few spans
        _known[key, value] = type(value), encoded
    return encoded


def _repeats(value: Value) -> bool:
    """Return whether a value is worth keeping; measurements and long texts are not."""
    if isinstance(value, str):
        return len(value) <= MAX_KNOWN_CHARACTERS
    return isinstance(value, int) and -1 <= value < _SMALL


@lru_cache(maxsize=1024)
def _before_value(key: str) -> bytes:
    return _text(b"\x0a", key) + b"\x12"


@lru_cache(maxsize=1024)
def _before_double(key: str) -> bytes:
    content = _before_value(key) + b"\x09\x21"
    return _varint(len(content) + _DOUBLE.size) + content


def _any_value(value: Value) -> bytes:
    # The empty text and zero are values too, so these are written even where a plain field would be left out.
    if isinstance(value, str):
        return _block(b"\x0a", _utf8(value))
    if isinstance(value, bool):
        return b"\x10\x01" if value else b"\x10\x00"
    if isinstance(value, int):
        return b"\x18" + _varint(value % 2**64) if value in _INT64 else _block(b"\x0a", b"%d" % value)
    if isinstance(value, float):
        return b"\x21" + _DOUBLE.pack(value)
    if isinstance(value, bytes):
        return _block(b"\x3a", value)
    return _block(b"\x2a", b"".join([_block(b"\x0a", _any_value(item)) for item in value]))


def _text(tag: bytes, text: str) -> bytes:
    return _block(tag, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _count(tag: bytes, count: int) -> bytes:
    return tag + _varint(count) if count else b""


def _block(tag: bytes, content: bytes) -> bytes:
    length = len(content)
    return tag + (_VARINTS[length] if length < _SMALL else _long_varint(length)) + content


def _varint(number: int) -> bytes:
    return _VARINTS[number] if number < _SMALL else _long_varint(number)


def _long_varint(number: int) -> bytes:
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    groups.append(number)
    return bytes(groups)


_SMALL = 2048  # the lengths of nearly all spans, links and attributes
_VARINTS = tuple(_long_varint(number) for number in range(_SMALL))
