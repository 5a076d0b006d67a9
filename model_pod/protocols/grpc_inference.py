"""Open Inference Protocol v2 over gRPC: raw or typed contents to rows, and rows' tensors back in the caller's form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from model_pod.protocols.exchange import HttpAnswer, RowOutput
from model_pod.protocols.grpc_messages import MESSAGE_TYPE, framed, message_class, parsed, unframed
from model_pod.protocols.grpc_torchserve import check_is_for
from model_pod.protocols.oip_checks import (
    MAX_RANK,
    MAX_TENSORS,
    bad,
    check_inputs,
    check_tensor,
    output_names,
    output_tensor,
    requested_outputs,
    row_answer,
    row_count,
)
from model_pod.protocols.oip_v2 import InferRequest, ModelName, RequestFacts, rows_of
from model_pod.protocols.signature import Signature
from model_pod.protocols.tensors import BYTES, DTYPES, pack_strings, unpack_strings
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer

STREAMED: Final = b"ModelStreamInfer"
# A typed element costs about 120 ns to read, and as an object up to 50 bytes; raw contents cost neither.
MAX_TYPED_ELEMENTS: Final = 2**20
_SLICE_ELEMENTS: Final = 2**14  # read at once, in about 2 ms; other threads may run between
_CONTENTS: Final = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}


class GrpcInference:
    """One call's two ends: how it was asked is how it is answered.

    Args:
        is_streamed: the answer is one of a stream's.
        most_bytes: largest message, once it is inflated.
    """

    def __init__(self, name: ModelName, most_bytes: int, *, is_streamed: bool) -> None:
        self._name = name
        self._most_bytes = most_bytes
        self._is_streamed = is_streamed
        self._is_raw = False

    def decode(self, facts: RequestFacts, body: bytes, signature: Signature | None, row_limit: int) -> InferRequest:
        """Return the call's rows.

        Raises:
            Refused: as ``oip_v2.decode``; ``model_not_found`` where the message is for another model.
        """
        request = parsed(message_class("inference.ModelInferRequest"), unframed(body, self._most_bytes))
        check_is_for(self._name, request.model_name, request.model_version)
        _check_counts(request)
        inputs = list(request.inputs)
        check_inputs(inputs, signature)
        specs = {spec.name: spec for spec in signature.inputs} if signature else {}
        for tensor in inputs:
            check_tensor(tensor, specs.get(tensor.name))
        rows_given = row_count(inputs, row_limit)
        raw = list(request.raw_input_contents)
        self._is_raw = bool(raw)
        _check_raw(inputs, raw)
        columns = [_raw_column(*pair) for pair in zip(inputs, raw, strict=True)] if raw else map(_column, inputs)
        rows, key = rows_of(facts, inputs, list(columns), rows_given)
        wanted = tuple(output.name for output in request.outputs)
        return InferRequest(request.id, rows, key, requested_outputs(wanted, signature))

    def encode(
        self, request: InferRequest, name: ModelName, signature: Signature | None, outputs: Sequence[RowOutput]
    ) -> HttpAnswer:
        """Return the answer: the rows' tensors merged along dimension 0.

        Raises:
            Refused: as ``oip_v2.encode``.
        """
        rows = [row_answer(output, index, len(outputs)) for index, output in enumerate(outputs)]
        names = request.outputs or output_names(rows[0], signature)
        merged = [_merge(wanted, rows, [output.blobs for output in outputs]) for wanted in names]
        answer = message_class("inference.ModelInferResponse")(
            model_name=name.model, model_version=name.version, id=request.id
        )
        # Raw for all or for none; half floats have no other form.
        is_raw = self._is_raw or any(datatype == "FP16" for _, datatype, _, _ in merged)
        for output_name, datatype, shape, whole in merged:
            output = answer.outputs.add(name=output_name, datatype=datatype, shape=shape)
            if is_raw:
                answer.raw_output_contents.append(whole)
            else:
                getattr(output.contents, _CONTENTS[datatype]).extend(_elements(whole, datatype))
        if self._is_streamed:
            answer = message_class("inference.ModelStreamInferResponse")(infer_response=answer)
        return HttpAnswer(200, MESSAGE_TYPE, framed(answer.SerializeToString()))


def _check_counts(request: Any) -> None:
    """Refuse what is too many, before anything is made for each: a message of a few KiB can hold millions."""
    if len(request.inputs) > MAX_TENSORS or len(request.outputs) > MAX_TENSORS:
        raise bad(f"the request has over {MAX_TENSORS} inputs or outputs")
    if len(request.raw_input_contents) > MAX_TENSORS:
        raise bad(f"the request has over {MAX_TENSORS} raw_input_contents")
    if any(len(tensor.shape) > MAX_RANK for tensor in request.inputs):
        raise bad(f"an input's shape has over {MAX_RANK} sizes")
    strings = (math.prod(tensor.shape) for tensor in request.inputs if tensor.datatype == BYTES)
    typed = sum(len(given) for tensor in request.inputs for _, given in tensor.contents.ListFields())
    if typed > MAX_TYPED_ELEMENTS or sum(strings) > MAX_TYPED_ELEMENTS:
        limit = f"of which a request may have {MAX_TYPED_ELEMENTS}"
        raise bad(f"the request has too many typed or BYTES elements, {limit}; send numbers in raw_input_contents")


def _check_raw(inputs: Sequence[Any], raw: Sequence[bytes]) -> None:
    if not raw:
        return
    if len(raw) != len(inputs):
        raise bad(f"the request has {len(inputs)} inputs and {len(raw)} raw_input_contents; it needs one for each")
    if any(tensor.HasField("contents") for tensor in inputs):
        raise bad("an input has contents beside raw_input_contents; it may have one of them")


def _raw_column(tensor: Any, raw: bytes) -> list[Buffer]:
    """Return one input's raw data cut into rows."""
    wanted = math.prod(tensor.shape)
    per_row = wanted // tensor.shape[0]
    view = memoryview(raw)
    if tensor.datatype == BYTES:
        try:
            elements = unpack_strings(view, wanted)
        except ValueError as error:
            raise bad(f"input {tensor.name!r} {error}") from error
        _check_count(tensor, len(elements), wanted)
        return [pack_strings(elements[at : at + per_row]) for at in range(0, wanted, per_row)]
    row_bytes = per_row * DTYPES[tensor.datatype].itemsize
    if len(raw) != row_bytes * tensor.shape[0]:
        raise bad(f"input {tensor.name!r} has {len(raw)} bytes; its shape takes {row_bytes * tensor.shape[0]}")
    if tensor.datatype == "BOOL" and raw.strip(b"\x00\x01"):
        raise bad(f"input {tensor.name!r} has an element that is neither 0 nor 1")
    return [view[at : at + row_bytes] for at in range(0, len(raw), row_bytes)]


def _column(tensor: Any) -> list[Buffer]:
    """Return one input's typed contents cut into rows."""
    field = _CONTENTS.get(tensor.datatype)
    if field is None:
        raise bad(f"input {tensor.name!r} is {tensor.datatype}, which only raw_input_contents can carry")
    if any(given.name != field for given, _ in tensor.contents.ListFields()):
        raise bad(f"input {tensor.name!r} is {tensor.datatype}; its contents belong in {field} alone")
    elements = getattr(tensor.contents, field)
    wanted = math.prod(tensor.shape)
    _check_count(tensor, len(elements), wanted)
    per_row = wanted // tensor.shape[0]
    if tensor.datatype == BYTES:
        return [pack_strings(list(elements[at : at + per_row])) for at in range(0, wanted, per_row)]
    try:
        array = _array(elements, DTYPES[tensor.datatype])
    except OverflowError:
        raise bad(f"input {tensor.name!r} has an element outside the range of {tensor.datatype}") from None
    return [array[at : at + per_row].tobytes() for at in range(0, wanted, per_row)]


def _array(elements: Sequence[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(elements), dtype)
    for at in range(0, len(elements), _SLICE_ELEMENTS):
        # Of a list, which a slice is, since numpy casts what it takes for an array without a word.
        array[at : at + _SLICE_ELEMENTS] = np.array(elements[at : at + _SLICE_ELEMENTS], dtype=dtype)
    return array


def _check_count(tensor: Any, given: int, wanted: int) -> None:
    if given != wanted:
        raise bad(f"input {tensor.name!r} has {given} elements; its shape {list(tensor.shape)} takes {wanted}")


def _merge(
    name: str, rows: Sequence[RowAnswer], blobs: Sequence[Sequence[Buffer]]
) -> tuple[str, str, list[int], bytes]:
    """Return an output's name, datatype, shape and data."""
    tensors = [output_tensor(row, name) for row in rows]
    first = tensors[0]
    if any((tensor.datatype, tensor.shape) != (first.datatype, first.shape) for tensor in tensors):
        raise Refused("bad_output", f"output {name!r} differs in datatype or shape from row to row")
    if first.datatype != BYTES and first.datatype not in DTYPES:
        raise Refused("bad_output", f"output {name!r} has the unknown datatype {first.datatype!r}")
    whole = b"".join(row_blobs[tensor.blob] for tensor, row_blobs in zip(tensors, blobs, strict=True))
    shape = [len(tensors), *first.shape]
    if _element_count(name, whole, first.datatype) != math.prod(shape):
        raise Refused("bad_output", f"output {name!r} has not as many elements as its shape {shape} says")
    return name, first.datatype, shape, whole


def _element_count(name: str, whole: bytes, datatype: str) -> int:
    try:
        if datatype == BYTES:
            return len(unpack_strings(memoryview(whole)))
        return len(np.frombuffer(whole, dtype=DTYPES[datatype]))
    except ValueError as error:
        raise Refused("bad_output", f"output {name!r} is cut short") from error


def _elements(whole: bytes, datatype: str) -> list[Any]:
    if datatype == BYTES:
        return list(unpack_strings(memoryview(whole)))
    elements: list[Any] = np.frombuffer(whole, dtype=DTYPES[datatype]).tolist()
    return elements
