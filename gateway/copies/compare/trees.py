"""Trees: what a body says, in one form whatever protocol it came in: JSON values, tensors, text or bytes.

A tensor is the same whether it came as JSON or as bytes behind the JSON, so that both forms can be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from gateway.copies.compare.elements import Unreadable, elements_of
from gateway.copies.compare.messages import said
from gateway.copies.messages import MAX_COPIED_BYTES
from gateway.dataplane.grpc.answers import is_message

_BINARY_AT = re.compile(rb"(?:\A|\n)inference-header-content-length:[ \t]*([0-9]{1,10})[ \t]*\r\n", re.IGNORECASE)
# Which version answered, and what the caller calls the request: they differ by themselves.
_OF_THE_CALL = frozenset({"id", "model_name", "model_version"})
# Deeper than what any handler means to answer, and shallower than what Python's stack takes.
_MAX_DEPTH = 64
# Lists and objects; far more of them than the same bytes of anything else would have, and as slow.
_MAX_BRACKETS = 2**17
_NESTED = (list, dict)
_SIZE = "binary_data_size"
_DECODE: Callable[[bytes], Any] = msgspec.json.Decoder().decode


class Tensor(Struct):
    """One output of the Open Inference Protocol.

    Attributes:
        elements: flat, in row-major order; numbers, booleans, text, or bytes that are no text.
    """

    datatype: str
    shape: tuple[int, ...]
    elements: list[Any]


def read(fields: bytes, body: bytes) -> Any:
    """Return the tree of a body.

    What is JSON is read as JSON whatever its content type, since TorchServe's handlers answer JSON as plain text.

    Raises:
        Unreadable: too large, cut short, or nested deeper than anything should be.
    """
    if len(body) > MAX_COPIED_BYTES:
        raise Unreadable("too large")
    if is_message(fields):
        message = said(body)
        return with_tensors(_value_of(message) if type(message) is bytes else message)
    split = _BINARY_AT.search(fields)
    if split is not None:
        return _with_blobs(body, int(split[1]))
    return with_tensors(_value_of(body))


def with_tensors(tree: Any) -> Any:
    """Return the tree with the outputs of an Open Inference Protocol answer as tensors; any other tree as it is."""
    outputs = tree.get("outputs") if type(tree) is dict else None
    if type(outputs) is not list or not all(type(output) is dict for output in outputs):
        return tree
    told = [_with_tensor(output) for output in outputs]
    if not any(type(output.get("data")) is Tensor for output in told):
        return tree
    return {**{key: value for key, value in tree.items() if key not in _OF_THE_CALL}, "outputs": told}


def _flat(items: list[Any]) -> list[Any]:
    """Return the innermost items of nested lists, in order."""
    while any(type(item) is list for item in items):
        items = [leaf for item in items for leaf in (item if type(item) is list else [item])]
    return items


def _with_tensor(output: dict[str, Any]) -> dict[str, Any]:
    data, datatype, shape = output.get("data"), output.get("datatype"), output.get("shape")
    if type(data) is not list or type(datatype) is not str or type(shape) is not list:
        return output
    if not all(type(length) is int for length in shape):
        return output
    kept = {key: value for key, value in output.items() if key not in ("datatype", "shape", "parameters")}
    parameters = output.get("parameters")
    if type(parameters) is dict and (others := {key: parameters[key] for key in parameters if key != _SIZE}):
        kept["parameters"] = others
    return {**kept, "data": Tensor(datatype, tuple(shape), _flat(data))}


def _with_blobs(body: bytes, head_bytes: int) -> Any:
    """Return the tree of JSON with the outputs' bytes behind it, one after the other, in the order of the outputs."""
    tree = _value_of(body[:head_bytes])
    outputs = tree.get("outputs") if type(tree) is dict else None
    at = head_bytes
    for output in outputs if type(outputs) is list else ():
        size = _binary_size(output)
        if size is None:
            continue
        output["data"] = elements_of(body[at : at + size], output.get("datatype"), size)
        at += size
    return with_tensors(tree)


def _binary_size(output: Any) -> int | None:
    parameters = output.get("parameters") if type(output) is dict else None
    size = parameters.get(_SIZE) if type(parameters) is dict else None
    return size if type(size) is int and size >= 0 else None


def _value_of(body: bytes) -> Any:
    try:
        value = _DECODE(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = _odd_value_of(body)
    except RecursionError:
        raise Unreadable("nested too deep") from None
    brackets = body.count(b"[") + body.count(b"{")
    if brackets > _MAX_BRACKETS:
        raise Unreadable("too large")
    if brackets > _MAX_DEPTH and _is_deep(value):
        raise Unreadable("nested too deep")
    return value


def _odd_value_of(body: bytes) -> Any:
    """Return JSON with NaN or infinity, which Python writes and the standard does not know; else text; else bytes."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    try:
        return json.loads(text)
    except ValueError:
        return text
    except RecursionError:
        raise Unreadable("nested too deep") from None


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH + 1):
        lists = [item for each in level if type(each) is list for item in each if type(item) in _NESTED]
        objects = [item for each in level if type(each) is dict for item in each.values() if type(item) in _NESTED]
        level = lists + objects
        if not level:
            return False
    return True
