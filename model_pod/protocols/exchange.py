"""What every protocol decodes a request to and encodes an answer from; HTTP's syntax and the queue are unknown here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from model_pod.wire.frames import Buffer
from model_pod.wire.rows import Part, Row, RowOutcome, Tensor

HeaderFields = tuple[tuple[str, str], ...]


class BatchKey(NamedTuple):
    """Requests with equal keys may share one run of the handler; others may not.

    Attributes:
        explain: explanations and predictions never mix.
        tensors: name, datatype and shape of every tensor of a row; empty for TorchServe rows.
    """

    explain: bool = False
    tensors: tuple[tuple[str, str, tuple[int, ...]], ...] = ()


class RowInput(NamedTuple):
    """One row and the bytes that it names; ``blob`` indices are into ``blobs``."""

    row: Row
    blobs: tuple[Buffer, ...]


class RowOutput(NamedTuple):
    """One row's outcome and the bytes that it names; ``blob`` indices are into ``blobs``, which rows may share."""

    outcome: RowOutcome
    blobs: Sequence[Buffer]


class HttpAnswer(NamedTuple):
    """An answer before it is written as HTTP.

    Attributes:
        phrase: "" stands for the status's usual phrase.
        headers: without those of framing, which the writer adds.
    """

    status: int
    headers: HeaderFields
    body: Buffer
    phrase: str = ""


def moved(row: Row, offset: int) -> Row:
    """Return the row with its blob indices moved up by ``offset``, for a frame that has other rows' blobs first."""
    if not offset:
        return row
    return Row(
        row.request_id,
        row.headers,
        tuple(Part(part.name, part.kind, part.blob + offset, part.content_type) for part in row.parts),
        tuple(Tensor(tensor.name, tensor.datatype, tensor.shape, tensor.blob + offset) for tensor in row.tensors),
        row.url_path,
        row.explain,
    )
