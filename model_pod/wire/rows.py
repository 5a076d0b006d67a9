"""Rows and their outcomes: what the pod's server hands to the inference process, and what comes back.

Bytes (bodies, tensors) travel beside the message as blobs (see ``frames``); a ``Part`` or ``Tensor`` names its blob by
position in the frame.
"""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class PartKind(StrEnum):
    """How a handler sees one part of a row (TorchServe's rules for bodies, by content type)."""

    BYTES = "bytes"  # a bytearray
    TEXT = "text"  # a str
    JSON = "json"  # decoded; a bytearray where it is not JSON after all, as TorchServe does


class Part(Struct, frozen=True, array_like=True):
    """One named value of a TorchServe row: the whole body (``body``), a form field or a file.

    Attributes:
        name: the key under which the handler finds it.
        kind: what the handler finds there.
        blob: index into the frame's blobs.
        content_type: as the client sent it for this part, "" when it sent none.
    """

    name: str
    kind: PartKind
    blob: int
    content_type: str = ""


class Tensor(Struct, frozen=True, array_like=True):
    """A dense tensor, row-major, little endian, as the Open Inference Protocol lays it out.

    Attributes:
        name: input or output name of the model's signature.
        datatype: BOOL, UINT8 ... UINT64, INT8 ... INT64, FP16, FP32, FP64 or BYTES.
        shape: without the batch dimension when it belongs to a row.
        blob: index into the frame's blobs; BYTES elements are each a u32 length and their bytes.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    blob: int


class Row(Struct, frozen=True, array_like=True):
    """One input of a request inside a batch: TorchServe parts, or Open Inference Protocol tensors.

    Attributes:
        request_id: of the request the row belongs to; handlers see it in ``context.request_ids``.
        headers: the client's header fields in the client's spelling.
        parts: what the handler finds in its dict; empty for a tensor row.
        tensors: what the handler finds in its dict (input name -> torch.Tensor or list of bytes); empty otherwise.
        url_path: what followed the version in a TorchServe path, "" when nothing did.
        explain: the request came by an explanations path.
        traceparent: the span of this row's inference as a W3C value: parent of what the handler records for it; "" when
            nobody records.
    """

    request_id: str
    headers: tuple[tuple[str, str], ...] = ()
    parts: tuple[Part, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    url_path: str = ""
    explain: bool = False
    traceparent: str = ""


class RowAnswer(Struct, frozen=True, array_like=True, tag="answer"):
    """What the handler answered for one row.

    Attributes:
        status: 200 unless the handler set another.
        phrase: the handler's reason phrase, "" when it set none.
        content_type: "" when the handler set none.
        headers: fields the handler set.
        blob: index of the body among the frame's blobs; -1 for a tensor row, which answers ``tensors``.
        tensors: one per output of the signature, for a tensor row.
        tokens: that the handler counted in the row; 0 when it counted none.
    """

    status: int = 200
    phrase: str = ""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    blob: int = -1
    tensors: tuple[Tensor, ...] = ()
    tokens: int = 0


class RowRefused(Struct, frozen=True, array_like=True, tag="refused"):
    """Why one row has no answer.

    Attributes:
        reason: a name from ``refusals.REASONS``.
        message: one sentence for the caller; names no path, address or process of ours.
        status: overrides the reason's status when a handler chose one (``PredictionException``); 0 keeps it.
    """

    reason: str
    message: str
    status: int = 0


RowOutcome = RowAnswer | RowRefused
