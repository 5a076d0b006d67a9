"""Open Inference Protocol v2 over JSON: tensors checked against the signature, one row per index of dimension 0.

The binary tensor extension is not spoken here; a request that uses it is refused with a sentence that says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from model_pod.protocols.exchange import BatchKey, HeaderFields, HttpAnswer, RowInput, RowOutput
from model_pod.protocols.oip_checks import (
    GivenTensor,
    bad,
    check_inputs,
    check_tensor,
    output_names,
    output_tensor,
    requested_outputs,
    row_answer,
    row_count,
)
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.protocols.tensors import BYTES, DTYPES, elements_from_json, pack_strings, to_json_values
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Row, RowAnswer, Tensor

BINARY_HEADER = b"inference-header-content-length"
JSON_TYPE: HeaderFields = (("content-type", "application/json"),)


class _Input(Struct):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw = msgspec.Raw(b"")


class _RequestedOutput(Struct):
    name: str


class _InferRequest(Struct):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_RequestedOutput] | None = None


class InferRequest(NamedTuple):
    """A decoded inference request.

    Attributes:
        id: the client's own, "" when it gave none; echoed.
        rows: one per index of dimension 0.
        outputs: names in the order asked for; empty asks for all.
    """

    id: str
    rows: tuple[RowInput, ...]
    batch_key: BatchKey
    outputs: tuple[str, ...]


class ModelName(NamedTuple):
    """What answers say about who answered."""

    model: str
    version: str


_DECODER = msgspec.json.Decoder(_InferRequest)


class RequestFacts(NamedTuple):
    """What an inference request said beside its body."""

    request_id: str
    headers: HeaderFields


def decode(facts: RequestFacts, body: Buffer, signature: Signature | None, row_limit: int) -> InferRequest:
    """Return the request's rows.

    Args:
        signature: None takes any tensors that agree with what they say of themselves.
        row_limit: most rows a request may have.

    Raises:
        Refused: ``malformed_body`` when the body is no such JSON, ``bad_input`` when a tensor is not what it should be.
    """
    try:
        request = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise Refused("bad_input", f"the request is not an Open Inference Protocol request: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused("malformed_body", f"the body is not JSON: {_why_not_json(facts.headers, error)}") from error
    check_inputs(request.inputs, signature)
    specs = {spec.name: spec for spec in signature.inputs} if signature else {}
    for tensor in request.inputs:
        _check_tensor(tensor, specs.get(tensor.name))
    rows_given = row_count(request.inputs, row_limit)
    columns = [_column(tensor) for tensor in request.inputs]
    rows, key = rows_of(facts, request.inputs, columns, rows_given)
    wanted = tuple(output.name for output in request.outputs or ())
    return InferRequest(request.id, rows, key, requested_outputs(wanted, signature))


def _why_not_json(headers: HeaderFields, error: Exception) -> str:
    codings = [value for name, value in headers if name.lower() == "content-encoding" and value != "identity"]
    return f"it is compressed ({codings[0]}), and bodies are not unpacked; send it plain" if codings else str(error)


def rows_of(
    facts: RequestFacts, inputs: Sequence[GivenTensor], columns: Sequence[Sequence[Buffer]], row_count: int
) -> tuple[tuple[RowInput, ...], BatchKey]:
    """Return a request's rows, and with which others they may run.

    Args:
        columns: of each input, its data cut into rows.
    """
    tensors = tuple(
        Tensor(tensor.name, tensor.datatype, tuple(tensor.shape[1:]), index) for index, tensor in enumerate(inputs)
    )
    row = Row(facts.request_id, facts.headers, (), tensors)
    rows = tuple(RowInput(row, tuple(column[index] for column in columns)) for index in range(row_count))
    return rows, BatchKey(False, tuple((tensor.name, tensor.datatype, tensor.shape) for tensor in tensors))


def _check_tensor(tensor: _Input, spec: TensorSpec | None) -> None:
    if tensor.datatype == "FP16":
        raise bad(f"input {tensor.name!r} is FP16, which JSON cannot carry; send it as FP32 if the model takes that")
    check_tensor(tensor, spec)
    if not bytes(tensor.data):
        raise bad(f"input {tensor.name!r} has no `data`; this model takes tensors as JSON arrays only")


def _column(tensor: _Input) -> list[Buffer]:
    """Return one input's data cut into rows."""
    try:
        elements = elements_from_json(tensor.data, tensor.datatype)
    except ValueError as error:
        raise bad(f"input {tensor.name!r} {error}") from error
    wanted = math.prod(tensor.shape)
    if len(elements) != wanted:
        raise bad(f"input {tensor.name!r} has {len(elements)} elements; its shape {tensor.shape} takes {wanted}")
    per_row = wanted // tensor.shape[0]
    rows = (elements[start : start + per_row] for start in range(0, wanted, per_row))
    return [pack_strings(row) if isinstance(row, list) else row.tobytes() for row in rows]


def encode(
    request: InferRequest, name: ModelName, signature: Signature | None, outputs: Sequence[RowOutput]
) -> HttpAnswer:
    """Return the answer: the rows' tensors merged back along dimension 0.

    Raises:
        Refused: a row was refused, or the rows' tensors do not fit together or into JSON.
    """
    answers = [row_answer(output, index, len(outputs)) for index, output in enumerate(outputs)]
    names = request.outputs or output_names(answers[0], signature)
    merged = [_merge(wanted, answers, [output.blobs for output in outputs]) for wanted in names]
    body: dict[str, Any] = {"model_name": name.model, "model_version": name.version}
    if request.id:
        body["id"] = request.id
    body["outputs"] = merged
    return HttpAnswer(200, JSON_TYPE, msgspec.json.encode(body))


def _merge(name: str, answers: Sequence[RowAnswer], blobs: Sequence[Sequence[Buffer]]) -> dict[str, Any]:
    tensors = [output_tensor(answer, name) for answer in answers]
    first = tensors[0]
    if any((tensor.datatype, tensor.shape) != (first.datatype, first.shape) for tensor in tensors):
        raise Refused("bad_output", f"output {name!r} differs in datatype or shape from row to row")
    if first.datatype != BYTES and first.datatype not in DTYPES:
        raise Refused("bad_output", f"output {name!r} has the unknown datatype {first.datatype!r}")
    whole = b"".join(row_blobs[tensor.blob] for tensor, row_blobs in zip(tensors, blobs, strict=True))
    try:
        data = to_json_values(whole, first.datatype)
    except ValueError as error:
        raise Refused("bad_output", f"output {name!r} {error}") from error
    shape = [len(tensors), *first.shape]
    if len(data) != math.prod(shape):
        raise Refused("bad_output", f"output {name!r} has {len(data)} elements, not what its shape {shape} says")
    return {"name": name, "datatype": first.datatype, "shape": shape, "data": data}


def metadata(name: ModelName, signature: Signature | None) -> HttpAnswer:
    """Return what the model takes and gives; empty lists when it declares no signature."""
    known = signature or Signature((), ())
    return json_answer(
        {
            "name": name.model,
            "versions": [name.version],
            "platform": "pytorch",
            "inputs": [msgspec.to_builtins(spec) for spec in known.inputs],
            "outputs": [msgspec.to_builtins(spec) for spec in known.outputs],
        }
    )


def json_answer(value: object, status: int = 200) -> HttpAnswer:
    """Return any value as a JSON answer."""
    return HttpAnswer(status, JSON_TYPE, msgspec.json.encode(value))
