"""What a handler returned and set for one row -> ``RowAnswer`` and blobs, or a refusal of that row alone."""

from __future__ import annotations

import io
import json
import re
import struct
from collections.abc import Iterator
from typing import Any

import torch
from ts.context import RequestProcessor

from model_pod.engine.failures import describe, is_out_of_memory
from model_pod.engine.inputs import TORCH_DTYPES
from model_pod.protocols.signature import Signature, TensorSpec
from model_pod.wire.frames import MAX_BLOBS_BYTES, Buffer
from model_pod.wire.rows import Row, RowAnswer, RowOutcome, RowRefused, Tensor
from telemetry.conventions import TOKENS

MAX_ANSWER_BYTES = 64 * 2**20
# What clients accept in practice for a whole head (nginx and llhttp: 8 to 16 KiB).
MAX_HEADER_BYTES = 8 * 2**10

_DATATYPES = {dtype: name for name, dtype in TORCH_DTYPES.items()}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# More than any request has; the gateway adds up what many requests had.
_TOKEN_COUNT = re.compile(r"[0-9]{1,12}")
_PHRASE = re.compile(r"[\t\x20-\x7e]{0,128}")
# The server writes these itself; a handler's copy could only contradict it.
_FRAMING = frozenset(("connection", "content-length", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade"))
# The content type is told beside the others, and tokens are for the pod's server alone.
_NOT_SENT = _FRAMING | {"content-type", TOKENS}
_BODYLESS = (204, 304)
_LENGTH = struct.Struct("<I")


class BadOutput(Exception):
    """A handler's answer for one row cannot be sent; the text is for the caller."""


class Outbox:
    """The blobs of one answer frame, within what a frame can carry."""

    def __init__(self) -> None:
        self.blobs: list[Buffer] = []
        self._size = 0

    def put(self, content: Buffer) -> int:
        """Return the index of the blob.

        Raises:
            BadOutput: the answer, or all answers of the batch together, are too large.
        """
        size = len(content)
        if size > MAX_ANSWER_BYTES or self._size + size > MAX_BLOBS_BYTES:
            raise BadOutput(f"The handler's answer of {size} bytes is larger than {MAX_ANSWER_BYTES} bytes.")
        self._size += size
        self.blobs.append(content)
        return len(self.blobs) - 1


def row_outcome(
    row: Row, value: object, processor: RequestProcessor, signature: Signature | None, outbox: Outbox
) -> RowOutcome:
    """Encode one row's answer; whatever is wrong with it refuses this row and no other."""
    try:
        status, phrase, content_type, headers, tokens = _head(processor)
        if row.tensors:
            tensors = tuple(_encode_tensors(value, signature, outbox))
            return RowAnswer(status, phrase, content_type, headers, tensors=tensors, tokens=tokens)
        return RowAnswer(status, phrase, content_type, headers, outbox.put(encode_body(value)), tokens=tokens)
    except BadOutput as error:
        return RowRefused("bad_output", str(error))
    except BaseException as error:
        # A value's own methods run here; not even their SystemExit may reach the batch-mates.
        if is_out_of_memory(error):
            return RowRefused("out_of_memory", "There was no memory left for this row's answer.")
        return RowRefused("bad_output", f"The handler's answer cannot be sent: {describe(error)}")


def stream_head(processor: RequestProcessor) -> RowAnswer:
    """Return how a streamed answer begins; its bytes are beside it.

    Raises:
        BadOutput: HTTP cannot carry it.
    """
    status, phrase, content_type, headers, _ = _head(processor)
    if status in _BODYLESS:
        raise BadOutput(f"The handler set the status {status}, whose answers have no body, and sends one.")
    return RowAnswer(status, phrase, content_type, headers)


def _head(processor: RequestProcessor) -> tuple[int, str, str, tuple[tuple[str, str], ...], int]:
    # The handler's own, so of any type.
    status: object = processor.get_response_status_code()
    phrase = processor.get_response_status_phrase()
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise BadOutput(f"The handler set the status {status!r:.20}; it must be 200 to 599.")
    if _PHRASE.fullmatch(str(phrase)) is None:
        raise BadOutput("The handler set a reason phrase that HTTP cannot carry.")
    fields = [(str(name), str(value)) for name, value in processor.get_response_headers().items()]
    if not fields:
        return status, str(phrase), "", (), 0
    if sum(len(name) + len(value) for name, value in fields) > MAX_HEADER_BYTES:
        raise BadOutput(f"The handler set more than {MAX_HEADER_BYTES} bytes of header fields.")
    for name, value in fields:
        if _TOKEN.fullmatch(name) is None or _FIELD_VALUE.fullmatch(value) is None:
            raise BadOutput(f"The handler set the header field {name!r:.80}, which HTTP cannot carry.")
    content_types = [value for name, value in fields if name.lower() == "content-type"]
    others = tuple(item for item in fields if item[0].lower() not in _NOT_SENT)
    return status, str(phrase), content_types[-1] if content_types else "", others, _tokens(fields)


def _tokens(fields: list[tuple[str, str]]) -> int:
    told = [value for name, value in fields if name.lower() == TOKENS]
    if not told:
        return 0
    if _TOKEN_COUNT.fullmatch(told[-1]) is None:
        raise BadOutput(f"The handler set {TOKENS} to {told[-1]!r:.40}; it must be a whole number of tokens.")
    return int(told[-1])


def encode_body(value: object) -> Buffer:
    """Return a handler's value as TorchServe writes it."""
    if isinstance(value, bytes | bytearray):
        return value
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, torch.Tensor):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()
    return json.dumps(value, indent=2).encode()


def _encode_tensors(value: object, signature: Signature | None, outbox: Outbox) -> Iterator[Tensor]:
    specs = signature.outputs if signature else ()
    if not specs:
        named = value if isinstance(value, dict) else {"output": value}
        for name, item in named.items():
            yield _encode_tensor(str(name), item, None, outbox)
        return
    if not isinstance(value, dict):
        if len(specs) != 1:
            raise BadOutput(f"The handler must answer a dict with the outputs {_names(specs)}.")
        value = {specs[0].name: value}
    if missing := [spec for spec in specs if spec.name not in value]:
        raise BadOutput(f"The handler's answer lacks {_names(missing)}.")
    for spec in specs:
        yield _encode_tensor(spec.name, value[spec.name], spec, outbox)


def _names(specs: tuple[TensorSpec, ...] | list[TensorSpec]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)


def _encode_tensor(name: str, value: Any, spec: TensorSpec | None, outbox: Outbox) -> Tensor:
    strings = list(_flat(value))
    if spec.datatype == "BYTES" if spec else any(isinstance(item, str | bytes | bytearray) for item in strings):
        content = b"".join(_length_prefixed(name, item) for item in strings)
        shape = _fit(name, _shape_of(value), len(strings), spec)
        return Tensor(name, "BYTES", shape, outbox.put(content))
    tensor = _dense(name, value, TORCH_DTYPES[spec.datatype] if spec else None)
    shape = _fit(name, tuple(tensor.shape), tensor.numel(), spec)
    return Tensor(name, _DATATYPES[tensor.dtype], shape, outbox.put(tensor.numpy().tobytes()))


def _flat(value: object) -> Iterator[object]:
    """Yield the elements of nested lists; a tensor or an array counts as one element."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield value


def _shape_of(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return (len(value), *_shape_of(value[0])) if value else (0,)


def _length_prefixed(name: str, item: object) -> bytes:
    if not isinstance(item, str | bytes | bytearray):
        raise BadOutput(f"The output {name!r:.80} is BYTES, and the handler gave a {type(item).__name__}.")
    content = item.encode() if isinstance(item, str) else item
    return _LENGTH.pack(len(content)) + content


def _dense(name: str, value: Any, dtype: torch.dtype | None) -> torch.Tensor:
    """Return a contiguous CPU tensor of a datatype that the protocol has."""
    if not isinstance(value, torch.Tensor):
        plain = torch.as_tensor(value) if hasattr(value, "__array__") else torch.tensor(value)
    else:
        plain = value.detach().resolve_conj().resolve_neg()
    if dtype is None:
        dtype = plain.dtype if plain.dtype in _DATATYPES else torch.float32
    if not torch.can_cast(plain.dtype, dtype):
        raise BadOutput(f"The output {name!r:.80} is {plain.dtype}, which does not convert to {dtype}.")
    return plain.to(device="cpu", dtype=dtype).contiguous()


def _fit(name: str, shape: tuple[int, ...], count: int, spec: TensorSpec | None) -> tuple[int, ...]:
    """Return the shape to send: as given where it fits the signature, as declared where only that differs."""
    if spec is None:
        return shape
    declared = spec.shape[1:]
    if len(shape) == len(declared) and all(want in (-1, size) for want, size in zip(declared, shape, strict=True)):
        return shape
    if -1 not in declared and torch.Size(declared).numel() == count:
        return declared
    raise BadOutput(f"The output {name!r:.80} has the shape {list(shape)} and should have {list(declared)}.")
