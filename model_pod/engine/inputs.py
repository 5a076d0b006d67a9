"""Rows of a frame -> what a handler finds in ``data`` and in its context."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import torch

from model_pod.wire.frames import Buffer
from model_pod.wire.rows import Part, PartKind, Row, Tensor

TORCH_DTYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "UINT16": torch.uint16,
    "UINT32": torch.uint32,
    "UINT64": torch.uint64,
    "INT8": torch.int8,
    "INT16": torch.int16,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FP16": torch.float16,
    "FP32": torch.float32,
    "FP64": torch.float64,
}
_LENGTH = struct.Struct("<I")


class BadInput(Exception):
    """A tensor's bytes are not what its shape and datatype say."""


def handler_row(row: Row, blobs: Sequence[Buffer]) -> dict[str, Any]:
    """Return one element of a handler's ``data``; made anew for every run, because handlers change what they get.

    Raises:
        BadInput: a tensor's bytes do not fit its shape.
    """
    if row.tensors:
        return {tensor.name: _tensor_value(tensor, blobs[tensor.blob]) for tensor in row.tensors}
    return {part.name: _part_value(part, blobs[part.blob]) for part in row.parts}


def request_header(row: Row) -> dict[str, Any]:
    """Return what ``context.get_all_request_header`` gives for a row: the client's fields and TorchServe's own."""
    header: dict[str, Any] = dict(row.headers)
    header["explain"] = str(row.explain)
    header["url_path"] = row.url_path
    for part in row.parts:
        if part.content_type:
            header[part.name] = {"content-type": part.content_type}
    return header


def _part_value(part: Part, blob: Buffer) -> Any:
    content = bytearray(blob)
    try:
        if part.kind is PartKind.JSON:
            return json.loads(content)
        if part.kind is PartKind.TEXT:
            return content.decode()
    except (ValueError, RecursionError):
        # TorchServe hands over what it cannot decode as it came.
        return content
    return content


def _tensor_value(tensor: Tensor, blob: Buffer) -> Any:
    if tensor.datatype == "BYTES":
        return _byte_strings(tensor, memoryview(blob))
    dtype = TORCH_DTYPES.get(tensor.datatype)
    if dtype is None:
        raise BadInput(f"The datatype {tensor.datatype!r:.20} of input {tensor.name!r:.80} is not known.")
    content = bytearray(blob)
    if len(content) != math.prod(tensor.shape) * dtype.itemsize:
        raise BadInput(f"The bytes of input {tensor.name!r:.80} do not fit its shape.")
    if not content:
        return torch.empty(tensor.shape, dtype=dtype)
    if dtype is torch.bool:
        # Any byte but 0 is true; a bool that is neither 0 nor 1 would be undefined behaviour.
        return (torch.frombuffer(content, dtype=torch.uint8) != 0).reshape(tensor.shape)
    return torch.frombuffer(content, dtype=dtype).reshape(tensor.shape)


def _byte_strings(tensor: Tensor, blob: memoryview) -> list[bytes]:
    strings, at = [], 0
    while at < len(blob):
        if len(blob) - at < _LENGTH.size:
            break
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size + length
        strings.append(bytes(blob[at - length : at]))
    if at != len(blob) or len(strings) != math.prod(tensor.shape):
        raise BadInput(f"The bytes of input {tensor.name!r:.80} do not fit its shape.")
    return strings
