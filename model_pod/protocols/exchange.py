"""What every protocol decodes a request to and encodes an answer from; HTTP's syntax and the queue are unknown here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

from model_pod.wire.frames import Buffer
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Part, Row, RowOutcome, Tensor

HeaderFields = tuple[tuple[str, str], ...]
# Names travel beside the bytes that they name, once for every row, and are not streamed.
MAX_NAME_BYTES = 256
MAX_NAMES_BYTES = 64 * 1024  # of one row, with the content types of its parts


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

    @property
    def byte_count(self) -> int:
        """About how many bytes the row holds: its blobs, and the texts that travel beside them."""
        row = self.row
        fields = sum(map(len, chain.from_iterable(row.headers))) + len(row.url_path)
        parts = sum(len(part.name) + len(part.content_type) for part in row.parts)
        tensors = sum(len(tensor.name) for tensor in row.tensors)
        return fields + parts + tensors + sum(map(len, self.blobs))


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


def check_names(names: Iterable[str], content_types: Iterable[str] = ()) -> None:
    """Refuse a row whose names would not fit beside its bytes.

    Raises:
        Refused: ``malformed_body``.
    """
    total = sum(map(_byte_length, content_types))
    for name in names:
        byte_length = _byte_length(name)
        if byte_length > MAX_NAME_BYTES:
            raise Refused("malformed_body", f"the name {name[:40]!r}... is longer than {MAX_NAME_BYTES} bytes")
        total += byte_length
    if total > MAX_NAMES_BYTES:
        raise Refused("malformed_body", f"the body's names are longer than {MAX_NAMES_BYTES} bytes together")


def _byte_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


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
        row.traceparent,
    )
