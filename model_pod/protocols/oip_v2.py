"""Open Inference Protocol v2 over JSON: tensors checked against the signature, one row per index of dimension 0.

The binary tensor extension is not spoken here; a request that uses it is refused with a sentence that says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from model_pod.protocols.exchange import BatchKey, HeaderFields, HttpAnswer, RowInput, RowOutput, check_names
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.protocols.tensors import BYTES, DTYPES, elements_from_json, pack_strings, to_json_values
from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Row, RowAnswer, RowRefused, Tensor

BINARY_HEADER = b"inference-header-content-length"
JSON_TYPE: HeaderFields = (("content-type", "application/json"),)
MAX_TENSORS = 256
MAX_RANK = 32


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
        raise Refused("malformed_body", f"the body is not JSON: {error}") from error
    _check_names(request.inputs, signature)
    specs = {spec.name: spec for spec in signature.inputs} if signature else {}
    for tensor in request.inputs:
        _check_tensor(tensor, specs.get(tensor.name))
    row_count = _row_count(request.inputs, row_limit)
    columns = [_column(tensor) for tensor in request.inputs]
    tensors = tuple(
        Tensor(tensor.name, tensor.datatype, tuple(tensor.shape[1:]), index)
        for index, tensor in enumerate(request.inputs)
    )
    row = Row(facts.request_id, facts.headers, (), tensors)
    rows = tuple(RowInput(row, tuple(column[index] for column in columns)) for index in range(row_count))
    key = BatchKey(False, tuple((tensor.name, tensor.datatype, tensor.shape) for tensor in tensors))
    return InferRequest(request.id, rows, key, _requested(request.outputs, signature))


def _bad(message: str) -> Refused:
    return Refused("bad_input", message)


def _check_names(inputs: list[_Input], signature: Signature | None) -> None:
    names = [tensor.name for tensor in inputs]
    if not names or len(names) > MAX_TENSORS:
        raise _bad(f"the request has {len(names)} inputs; it needs 1 to {MAX_TENSORS}")
    check_names(names)
    if repeated := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise _bad(f"input {repeated!r} is there twice")
    if signature is None:
        return
    known = [spec.name for spec in signature.inputs]
    for name in names:
        if name not in known:
            raise _bad(f"input {name!r} is unknown; the model takes {_listed(known)}")
    for name in known:
        if name not in names:
            raise _bad(f"input {name!r} is missing; the model takes {_listed(known)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _check_tensor(tensor: _Input, spec: TensorSpec | None) -> None:
    shape = tensor.shape
    if not 1 <= len(shape) <= MAX_RANK or min(shape) < 1:
        raise _bad(f"input {tensor.name!r} has the shape {shape!s:.80}; it needs 1 to {MAX_RANK} sizes of at least 1")
    if tensor.datatype == "FP16":
        raise _bad(f"input {tensor.name!r} is FP16, which JSON cannot carry; send it as FP32 if the model takes that")
    if tensor.datatype != BYTES and tensor.datatype not in DTYPES:
        raise _bad(f"input {tensor.name!r} has the unknown datatype {tensor.datatype!r:.80}")
    if not bytes(tensor.data):
        raise _bad(f"input {tensor.name!r} has no `data`; this model takes tensors as JSON arrays only")
    if spec is not None:
        _check_against(tensor, spec)


def _check_against(tensor: _Input, spec: TensorSpec) -> None:
    if tensor.datatype != spec.datatype:
        raise _bad(f"input {tensor.name!r} is {tensor.datatype}; the model takes {spec.datatype}")
    if len(tensor.shape) != len(spec.shape) or any(
        declared not in (-1, size) for size, declared in zip(tensor.shape, spec.shape, strict=True)
    ):
        raise _bad(
            f"input {tensor.name!r} has the shape {tensor.shape}; "
            f"the model takes {list(spec.shape)}, where -1 is any size"
        )


def _column(tensor: _Input) -> list[Buffer]:
    """Return one input's data cut into rows."""
    try:
        elements = elements_from_json(tensor.data, tensor.datatype)
    except ValueError as error:
        raise _bad(f"input {tensor.name!r} {error}") from error
    wanted = math.prod(tensor.shape)
    if len(elements) != wanted:
        raise _bad(f"input {tensor.name!r} has {len(elements)} elements; its shape {tensor.shape} takes {wanted}")
    per_row = wanted // tensor.shape[0]
    rows = (elements[start : start + per_row] for start in range(0, wanted, per_row))
    return [pack_strings(row) if isinstance(row, list) else row.tobytes() for row in rows]


def _row_count(inputs: list[_Input], row_limit: int) -> int:
    first = inputs[0]
    if first.shape[0] > row_limit:
        raise _bad(f"the request has {first.shape[0]} rows; one request may have {row_limit}")
    for tensor in inputs:
        if tensor.shape[0] != first.shape[0]:
            raise _bad(
                f"inputs {first.name!r} and {tensor.name!r} have {first.shape[0]} and {tensor.shape[0]} rows; "
                "all inputs need as many"
            )
    return first.shape[0]


def _requested(outputs: list[_RequestedOutput] | None, signature: Signature | None) -> tuple[str, ...]:
    names = tuple(output.name for output in outputs or ())
    if len(names) > MAX_TENSORS:
        raise _bad(f"the request asks for {len(names)} outputs; it may ask for {MAX_TENSORS}")
    check_names(names)
    known = [spec.name for spec in signature.outputs] if signature else []
    for index, name in enumerate(names):
        if name in names[:index]:
            raise _bad(f"output {name!r} is asked for twice")
        if known and name not in known:
            raise _bad(f"output {name!r} is unknown; the model gives {_listed(known)}")
    return names


def encode(
    request: InferRequest, name: ModelName, signature: Signature | None, outputs: Sequence[RowOutput]
) -> HttpAnswer:
    """Return the answer: the rows' tensors merged back along dimension 0.

    Raises:
        Refused: a row was refused, or the rows' tensors do not fit together or into JSON.
    """
    answers = [_answer(output, index, len(outputs)) for index, output in enumerate(outputs)]
    names = request.outputs or _output_names(answers[0], signature)
    merged = [_merge(wanted, answers, [output.blobs for output in outputs]) for wanted in names]
    body: dict[str, Any] = {"model_name": name.model, "model_version": name.version}
    if request.id:
        body["id"] = request.id
    body["outputs"] = merged
    return HttpAnswer(200, JSON_TYPE, msgspec.json.encode(body))


def _answer(output: RowOutput, index: int, row_count: int) -> RowAnswer:
    place = f"row {index}: " if row_count > 1 else ""
    outcome = output.outcome
    if isinstance(outcome, RowRefused):
        raise Refused(outcome.reason, place + outcome.message, outcome.status)
    if 400 <= outcome.status <= 599:
        raise Refused("row_refused", f"{place}the handler answered status {outcome.status}", outcome.status)
    if not outcome.tensors:
        raise Refused("bad_output", f"{place}the handler answered no tensors")
    return outcome


def _output_names(answer: RowAnswer, signature: Signature | None) -> tuple[str, ...]:
    declared = signature.outputs if signature else ()
    return tuple(spec.name for spec in declared) or tuple(tensor.name for tensor in answer.tensors)


def _merge(name: str, answers: Sequence[RowAnswer], blobs: Sequence[Sequence[Buffer]]) -> dict[str, Any]:
    tensors = [_tensor(answer, name) for answer in answers]
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


def _tensor(answer: RowAnswer, name: str) -> Tensor:
    for tensor in answer.tensors:
        if tensor.name == name:
            return tensor
    raise Refused("bad_output", f"the handler gave no output {name!r}")


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
