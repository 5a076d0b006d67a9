"""Answers as pods give them, and what a worker tells of a request."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

from gateway.copies.compare.answer import Answer
from gateway.copies.messages import Answered

JSON = b"content-type: application/json\r\n"
_LETTERS = {"FP16": "e", "FP32": "f", "FP64": "d", "INT8": "b", "INT64": "q", "UINT8": "B", "BOOL": "?"}


def says(value: Any, status: int = 200, took_s: float = 0.01, device_us: int = -1) -> Answer:
    """Return an answer of JSON."""
    return Answer(status, JSON, json.dumps(value).encode(), took_s, device_us)


def text(said: str, status: int = 200) -> Answer:
    """Return an answer of plain text."""
    return Answer(status, b"Content-Type: text/plain\r\n", said.encode(), 0.01)


NO_ANSWER = Answer(0, b"", b"", 5.0)


def packed(datatype: str, elements: Sequence[Any]) -> bytes:
    """Return the bytes of a tensor."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(element)) + element for element in elements)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", element)[2:] for element in elements)
    return struct.pack(f"<{len(elements)}{_LETTERS[datatype]}", *elements)


def binary(*tensors: tuple[str, str, list[int], Sequence[Any]], status: int = 200) -> Answer:
    """Return an answer of tensors (name, datatype, shape, elements) whose data are bytes behind the JSON."""
    blobs = [packed(datatype, elements) for _, datatype, _, elements in tensors]
    outputs = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(blob)}}
        for (name, datatype, shape, _), blob in zip(tensors, blobs, strict=True)
    ]
    head = json.dumps({"model_name": "m", "model_version": "1", "id": "x", "outputs": outputs}).encode()
    fields = b"content-type: application/octet-stream\r\nInference-Header-Content-Length: %d\r\n" % len(head)
    return Answer(status, fields, head + b"".join(blobs), 0.01)


def tensors(*told: tuple[str, str, list[int], Sequence[Any]], version: str = "1") -> Answer:
    """Return the same answer with the data as JSON."""
    outputs = [
        {"name": name, "datatype": datatype, "shape": shape, "data": elements}
        for name, datatype, shape, elements in told
    ]
    return says({"model_name": "m", "model_version": version, "id": "y", "outputs": outputs})


def answered(request_id: str = "r-1", tenant: str = "ads", model: str = "digits") -> Answered:
    """Return what a worker tells of a request."""
    return Answered(
        request_id,
        f"trace of {request_id}",
        "span",
        False,
        1000.0,
        model,
        "1",
        "stable",
        tenant,
        "gold",
        "POST",
        "/predictions/digits",
        (),
        200,
        JSON,
        0.01,
        -1,
        ("dark",),
    )
