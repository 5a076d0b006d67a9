"""Messages of gRPC as what the same answers would be as JSON: inference answers, and TorchServe's predictions."""

from __future__ import annotations

import struct
from typing import Any

from gateway.copies.compare.elements import Unreadable, elements_of, text_or_bytes
from gateway.dataplane.grpc.protobuf import counted_fields
from model_pod.wire.refusals import Refused

_PREFIX_BYTES = 5
# Numbers of fields: of PredictionResponse, of ModelInferResponse, of its outputs, of an output's contents.
_PREDICTION = 1
_OUTPUT, _RAW = 5, 6
_NAME, _DATATYPE, _SHAPE, _CONTENTS = 1, 2, 3, 5
_TRUTHS, _UNSIGNED, _FLOATS, _TEXTS = (1,), (4, 5), {6: "f", 7: "d"}, 8
_TWO_TO_63, _TWO_TO_64 = 2**63, 2**64


def said(body: bytes) -> bytes | dict[str, Any]:
    """Return what a handler answered, or an inference answer as its JSON would be.

    A message with nothing but its first field is a prediction: an inference answer has outputs.

    Raises:
        Unreadable: compressed, cut short, or no message.
    """
    try:
        fields = [field for message in _messages(body) for field in counted_fields(message)]
        if all(number == _PREDICTION for number, _ in fields):
            return b"".join(value for _, value in fields)
        return _inference(fields)
    except (Refused, UnicodeDecodeError):
        raise Unreadable("no message") from None


def _messages(body: bytes) -> list[bytes]:
    messages = []
    at = 0
    while at < len(body):
        size = int.from_bytes(body[at + 1 : at + _PREFIX_BYTES])
        if body[at]:
            raise Unreadable("compressed")
        at += _PREFIX_BYTES + size
        if at > len(body):
            raise Unreadable("cut short")
        messages.append(body[at - size : at])
    return messages


def _inference(fields: list[tuple[int, bytes]]) -> dict[str, Any]:
    raw = [value for number, value in fields if number == _RAW]
    outputs = [counted_fields(value) for number, value in fields if number == _OUTPUT]
    if raw and len(raw) != len(outputs):
        raise Unreadable("not as many raw contents as outputs")
    return {"outputs": [_output(output, raw[at] if raw else None) for at, output in enumerate(outputs)]}


def _output(fields: list[tuple[int, bytes]], raw: bytes | None) -> dict[str, Any]:
    told = dict(fields)
    datatype = told.get(_DATATYPE, b"").decode()
    data = _contents(counted_fields(told.get(_CONTENTS, b""))) if raw is None else elements_of(raw, datatype, len(raw))
    shape = [_signed(number) for number in _varints(told.get(_SHAPE, b""))]
    return {"name": told.get(_NAME, b"").decode(), "datatype": datatype, "shape": shape, "data": data}


def _contents(fields: list[tuple[int, bytes]]) -> list[Any]:
    """Return the elements of typed contents, of which each datatype has a field of its own."""
    elements: list[Any] = []
    for number, packed in fields:
        if number == _TEXTS:
            elements.append(text_or_bytes(packed))
        elif number in _FLOATS:
            letter = _FLOATS[number]
            width = struct.calcsize(f"<{letter}")
            if len(packed) % width:
                raise Unreadable("cut short")
            elements += struct.unpack(f"<{len(packed) // width}{letter}", packed)
        elif number in _TRUTHS:
            elements += [value != 0 for value in _varints(packed)]
        else:
            elements += [value if number in _UNSIGNED else _signed(value) for value in _varints(packed)]
    return elements


def _signed(number: int) -> int:
    return number - _TWO_TO_64 if number >= _TWO_TO_63 else number


def _varints(packed: bytes) -> list[int]:
    numbers = []
    value = shift = 0
    for byte in packed:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    if shift:
        raise Unreadable("cut short")
    return numbers
