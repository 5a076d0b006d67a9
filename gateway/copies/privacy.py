"""Privacy: what of a request may be copied. What policy drops is gone before anything waits, is sent or is written.

Headers go by name, fields of the body by JSON Pointer. A body that has to lose fields and cannot be read as JSON with
an object or a list in it, or as the JSON head of binary tensors, is not copied at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote_plus

import msgspec

from gateway.copies.copied import Copied, Fields
from gateway.copies.messages import Answered
from model_pod.wire.http1.head import HOP_BY_HOP

# Credentials by the names that clouds and frameworks give them, and what says of one exchange how it is to be read and
# to whom it belongs. What is the caller's of ours is written anew.
NEVER_COPIED = HOP_BY_HOP | {
    b"api-key",
    b"authorization",
    b"baggage",
    b"content-length",
    b"cookie",
    b"expect",
    b"host",
    b"idempotency-key",
    b"ocp-apim-subscription-key",
    b"traceparent",
    b"tracestate",
    b"x-access-token",
    b"x-amz-security-token",
    b"x-api-key",
    b"x-auth-token",
    b"x-csrf-token",
    b"x-goog-api-key",
    b"x-request-id",
    b"x-xsrf-token",
}
_OURS = b"penstock-"
# How many bytes of a request of binary tensors are JSON (the binary tensor extension of the Open Inference Protocol).
_JSON_BYTES = b"inference-header-content-length"
_TAIL_BYTES = "binary_data_size"
EVERY_ITEM = "*"

Pointer = tuple[str, ...]


class NotRedactable(Exception):
    """The body has to lose fields, and what is where in it nobody can tell."""


class _Gone:
    """Stands where an item of a list was, so that the others keep their places until all is done."""


class _Tail:
    """Stands for the data of a binary tensor, and goes where they would go if they were JSON."""

    def __init__(self, data: bytes) -> None:
        self.data = data


_GONE = _Gone()


class Redaction:
    """What one shadow or recording leaves out.

    Args:
        drop_headers: in lower case, beside those that are never copied.
        drop_fields: JSON Pointers into the body; ``*`` stands for every item of a list. One of a single name drops the
            parameter of that name from the query too.
    """

    def __init__(self, drop_headers: Iterable[str] = (), drop_fields: Iterable[str] = ()) -> None:
        self._headers = NEVER_COPIED | {name.encode("latin-1", "replace") for name in drop_headers}
        self._pointers = tuple(map(tokens_of, drop_fields))
        self._parameters = frozenset(pointer[0] for pointer in self._pointers if len(pointer) == 1)

    def copied(self, answered: Answered, body: bytes) -> Copied:
        """Return the request without what is left out.

        Raises:
            NotRedactable: that cannot be done.
        """
        fields, body = self.request(answered.fields, body)
        return Copied(
            answered.request_id,
            answered.trace_id,
            answered.span_id,
            answered.sampled,
            answered.model,
            answered.version,
            answered.tenant,
            answered.method,
            self.target(answered.target),
            fields,
            body,
        )

    def request(self, fields: Fields, body: bytes) -> tuple[Fields, bytes]:
        """Return header fields and body without what is left out; the head of binary tensors says its new length.

        Raises:
            NotRedactable: that cannot be done.
        """
        kept = tuple(pair for pair in fields if self._keeps(pair[0].lower()))
        if not self._pointers or not body:
            return kept, body
        lengths = [value for name, value in kept if name.lower() == _JSON_BYTES]
        if not lengths:
            return kept, _without(body, self._pointers)
        head, tail = _without_binary(body, _head_bytes(lengths, len(body)), self._pointers)
        told = b"%d" % len(head)
        return tuple((n, told if n.lower() == _JSON_BYTES else v) for n, v in kept), head + tail

    def answer(self, body: bytes) -> bytes:
        """Return a body of an answer without the same fields.

        Raises:
            NotRedactable: that cannot be done.
        """
        return _without(body, self._pointers) if self._pointers and body else body

    def target(self, target: str) -> str:
        """Return a request's target without the parameters that are left out."""
        path, mark, query = target.partition("?")
        if not mark or not self._parameters:
            return target
        kept = [part for part in query.split("&") if unquote_plus(part.partition("=")[0]) not in self._parameters]
        return f"{path}?{'&'.join(kept)}" if kept else path

    def _keeps(self, name: bytes) -> bool:
        return name not in self._headers and not name.startswith(_OURS)


def tokens_of(pointer: str) -> Pointer:
    """Return the names of a JSON Pointer (RFC 6901); () for the one of all."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def _head_bytes(lengths: Sequence[bytes], body_bytes: int) -> int:
    told = lengths[0].strip(b" \t")
    if len(lengths) > 1 or not told.isdigit() or len(told) > 10 or int(told) > body_bytes:
        raise NotRedactable
    return int(told)


def _without(body: bytes, pointers: Sequence[Pointer]) -> bytes:
    # Always written anew: what stands twice in it is read once, and only what was read is known to be clean.
    value = _read(body)
    _drop_all(value, pointers)
    return msgspec.json.encode(value)


def _without_binary(body: bytes, head_bytes: int, pointers: Sequence[Pointer]) -> tuple[bytes, bytes]:
    """Return the JSON head and the data of the tensors that are still there; bytes that belong to none are dropped."""
    value = _read(body[:head_bytes])
    _take_up_tails(value, body, head_bytes)
    _drop_all(value, pointers)
    tails = []
    for tensor in _tensors(value):
        parameters = tensor.get("parameters")
        tail = tensor.get("data")
        has_size = isinstance(parameters, dict) and _TAIL_BYTES in parameters
        if isinstance(tail, _Tail):
            del tensor["data"]
            if has_size:
                tails.append(tail.data)
        elif has_size and isinstance(parameters, dict):
            del parameters[_TAIL_BYTES]
    return msgspec.json.encode(value), b"".join(tails)


def _take_up_tails(value: Any, body: bytes, at: int) -> None:
    """Put each binary tensor's data where a pointer finds them."""
    for tensor in _tensors(value):
        parameters = tensor.get("parameters")
        size = parameters.get(_TAIL_BYTES) if isinstance(parameters, dict) else None
        if size is None:
            continue
        if not isinstance(size, int) or not 0 <= size <= len(body) - at or "data" in tensor:
            raise NotRedactable
        tensor["data"] = _Tail(body[at : at + size])
        at += size


def _tensors(value: Any) -> list[dict[str, Any]]:
    inputs = value.get("inputs") if isinstance(value, dict) else None
    return [tensor for tensor in inputs if isinstance(tensor, dict)] if isinstance(inputs, list) else []


def _read(text: bytes) -> Any:
    try:
        value = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise NotRedactable from error
    if not isinstance(value, dict | list):  # a string may hold JSON of its own
        raise NotRedactable
    return value


def _drop_all(value: Any, pointers: Sequence[Pointer]) -> None:
    holed: list[list[Any]] = []
    for pointer in pointers:
        if not pointer:
            raise NotRedactable  # nothing would be left
        _drop(value, pointer, holed)
    for items in holed:
        items[:] = [item for item in items if item is not _GONE]


def _drop(value: Any, pointer: Pointer, holed: list[list[Any]]) -> None:
    name, rest = pointer[0], pointer[1:]
    if isinstance(value, _Tail):
        raise NotRedactable  # which of its bytes are meant depends on what they are
    if isinstance(value, dict):
        if name not in value:
            return
        if rest:
            _drop(value[name], rest, holed)
        else:
            del value[name]
    elif isinstance(value, list):
        for place in _places(name, len(value)):
            if rest:
                _drop(value[place], rest, holed)
            else:
                value[place] = _GONE
                holed.append(value)


def _places(name: str, count: int) -> range:
    if name == EVERY_ITEM:
        return range(count)
    if name.isascii() and name.isdigit() and len(name) < 10 and int(name) < count:
        return range(int(name), int(name) + 1)
    return range(0)
