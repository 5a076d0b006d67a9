"""What both forms of the Open Inference Protocol judge alike, in JSON and in protobuf: names, shapes, rows, outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from model_pod.protocols.exchange import RowOutput, check_names
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.protocols.tensors import BYTES, DTYPES
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer, RowRefused, Tensor

MAX_TENSORS = 256
MAX_RANK = 32


class GivenTensor(Protocol):
    """What a request says of one input."""

    @property
    def name(self) -> str: ...
    @property
    def datatype(self) -> str: ...
    @property
    def shape(self) -> Sequence[int]: ...


def bad(message: str) -> Refused:
    """Return the refusal of what is not what it should be."""
    return Refused("bad_input", message)


def check_inputs(inputs: Sequence[GivenTensor], signature: Signature | None) -> None:
    """Refuse inputs that are too many, nameless, twice there, or not the model's."""
    names = [tensor.name for tensor in inputs]
    if not names or len(names) > MAX_TENSORS:
        raise bad(f"the request has {len(names)} inputs; it needs 1 to {MAX_TENSORS}")
    check_names(names)
    if repeated := next((name for index, name in enumerate(names) if name in names[:index]), None):
        raise bad(f"input {repeated!r} is there twice")
    if signature is None:
        return
    known = [spec.name for spec in signature.inputs]
    for name in names:
        if name not in known:
            raise bad(f"input {name!r} is unknown; the model takes {_listed(known)}")
    for name in known:
        if name not in names:
            raise bad(f"input {name!r} is missing; the model takes {_listed(known)}")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def check_tensor(tensor: GivenTensor, spec: TensorSpec | None) -> None:
    """Refuse an input that cannot be, or is not what the model takes."""
    shape = list(tensor.shape)
    if not 1 <= len(shape) <= MAX_RANK or min(shape) < 1:
        raise bad(f"input {tensor.name!r} has the shape {shape!s:.80}; it needs 1 to {MAX_RANK} sizes of at least 1")
    if tensor.datatype != BYTES and tensor.datatype not in DTYPES:
        raise bad(f"input {tensor.name!r} has the unknown datatype {tensor.datatype!r:.80}")
    if spec is not None:
        _check_against(tensor, spec)


def _check_against(tensor: GivenTensor, spec: TensorSpec) -> None:
    if tensor.datatype != spec.datatype:
        raise bad(f"input {tensor.name!r} is {tensor.datatype}; the model takes {spec.datatype}")
    if len(tensor.shape) != len(spec.shape) or any(
        declared not in (-1, size) for size, declared in zip(tensor.shape, spec.shape, strict=True)
    ):
        raise bad(
            f"input {tensor.name!r} has the shape {list(tensor.shape)}; "
            f"the model takes {list(spec.shape)}, where -1 is any size"
        )


def row_count(inputs: Sequence[GivenTensor], row_limit: int) -> int:
    """Return how many rows a request has; all inputs have as many."""
    first = inputs[0]
    if first.shape[0] > row_limit:
        raise bad(f"the request has {first.shape[0]} rows; one request may have {row_limit}")
    for tensor in inputs:
        if tensor.shape[0] != first.shape[0]:
            raise bad(
                f"inputs {first.name!r} and {tensor.name!r} have {first.shape[0]} and {tensor.shape[0]} rows; "
                "all inputs need as many"
            )
    return first.shape[0]


def requested_outputs(names: tuple[str, ...], signature: Signature | None) -> tuple[str, ...]:
    """Return the outputs that are asked for; empty asks for all."""
    if len(names) > MAX_TENSORS:
        raise bad(f"the request asks for {len(names)} outputs; it may ask for {MAX_TENSORS}")
    check_names(names)
    known = [spec.name for spec in signature.outputs] if signature else []
    for index, name in enumerate(names):
        if name in names[:index]:
            raise bad(f"output {name!r} is asked for twice")
        if known and name not in known:
            raise bad(f"output {name!r} is unknown; the model gives {_listed(known)}")
    return names


def row_answer(output: RowOutput, index: int, row_count: int) -> RowAnswer:
    """Return what the handler answered for a row; raises ``Refused`` where that is none."""
    place = f"row {index}: " if row_count > 1 else ""
    outcome = output.outcome
    if isinstance(outcome, RowRefused):
        raise Refused(outcome.reason, place + outcome.message, outcome.status)
    if 400 <= outcome.status <= 599:
        raise Refused("row_refused", f"{place}the handler answered status {outcome.status}", outcome.status)
    if not outcome.tensors:
        raise Refused("bad_output", f"{place}the handler answered no tensors")
    return outcome


def output_names(answer: RowAnswer, signature: Signature | None) -> tuple[str, ...]:
    """Return the outputs to answer: those that the model declares, else those that it gave."""
    declared = signature.outputs if signature else ()
    return tuple(spec.name for spec in declared) or tuple(tensor.name for tensor in answer.tensors)


def output_tensor(answer: RowAnswer, name: str) -> Tensor:
    """Return one output of a row; raises ``Refused`` where the handler did not give it."""
    for tensor in answer.tensors:
        if tensor.name == name:
            return tensor
    raise Refused("bad_output", f"the handler gave no output {name!r}")
