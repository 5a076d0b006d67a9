"""The conversation between a pod's server and its inference process, over one inherited socketpair.

``Load`` is answered by ``Loaded`` or ``LoadFailed``; each ``Run`` by one ``Ran`` with one outcome per row, in order.
Before its ``Ran`` a batch may be answered in part, by ``Partial`` and ``Cut``, as far as ``Taken`` gives room; ``Gone``
says whom no caller waits for any more; ``LogLevel`` comes at any time. ``Watch`` asks for summaries of rows, and
``Summarised`` brings them. The end of the stream means that the other process is gone.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from model_pod.wire.link import CREDIT_BYTES, WINDOW_BYTES
from model_pod.wire.rows import Row, RowAnswer, RowOutcome

# Of one row's pieces the inference process sends so much beyond what ``Taken`` has told of.
STREAM_WINDOW_BYTES = WINDOW_BYTES
# ``Taken`` tells of so much at once, and no piece is larger. With what an edge leaves unread without a word, which is
# less than CREDIT_BYTES, they fit the window; were their sum larger, both ends could wait for each other.
PIECE_BYTES = (STREAM_WINDOW_BYTES - CREDIT_BYTES) // 2


class Load(Struct, frozen=True, tag="load"):
    """Load the model that lies in an extracted archive.

    Attributes:
        model_dir: absolute path of the extracted archive.
        device: ``auto`` (the least used CUDA device, else CPU), ``cpu`` or ``cuda:N``.
        max_rows: the most rows a batch will have; handlers see it as ``batch_size``.
    """

    model: str
    version: str
    model_dir: str
    device: str
    max_rows: int


class Run(Struct, frozen=True, tag="run"):
    """Run one batch.

    Attributes:
        traceparent: the batch's span as a W3C value; "" when nobody records.
    """

    batch_id: int
    rows: tuple[Row, ...]
    traceparent: str = ""


class Taken(Struct, frozen=True, tag="taken"):
    """The reader of a row's pieces has taken so many bytes more.

    Attributes:
        row: position in the batch.
    """

    batch_id: int
    row: int
    byte_count: int


class Gone(Struct, frozen=True, tag="gone"):
    """Nobody waits for these rows any more; a batch that has not begun is run without them.

    Attributes:
        rows: positions in the batch.
    """

    batch_id: int
    rows: tuple[int, ...]


class WatchedPart(Struct, frozen=True, array_like=True):
    """One part of an input or output that is summarised.

    Attributes:
        path: JSON Pointer; its first step names a tensor or a form's field; "" is all of it.
        at_least, at_most: numbers outside are counted as out of range.
        classes: texts that are counted by name; no other text is told.
    """

    path: str = ""
    at_least: float | None = None
    at_most: float | None = None
    classes: tuple[str, ...] = ()


class Watch(Struct, frozen=True, tag="watch"):
    """Summarise rows from now on.

    Attributes:
        share: of the rows; 0 for none.
    """

    share: float = 0.0
    inputs: tuple[WatchedPart, ...] = ()
    outputs: tuple[WatchedPart, ...] = ()


class LogLevel(Struct, frozen=True, tag="log_level"):
    """Let ``logging`` in the handler's process write from this level on; the number is ``logging``'s own.

    Attributes:
        has_messages: the texts of a handler's exceptions are written too.
    """

    level: int
    has_messages: bool = False


ToInference = Load | Run | Taken | Gone | Watch | LogLevel


class Loaded(Struct, frozen=True, tag="loaded"):
    """The model answers from now on.

    Attributes:
        device: where it runs: ``cpu`` or ``cuda:N``.
        load_s: seconds that loading took.
        timed_stages: whether preprocess and postprocess are timed apart (a handler with these methods).
        records_spans: the handler records spans of its own, and wants to know whose children they are.
    """

    device: str
    load_s: float
    timed_stages: bool
    records_spans: bool = False


class LoadFailed(Struct, frozen=True, tag="load_failed"):
    """The model cannot answer; the process ends after saying so.

    Attributes:
        message: one sentence for the model's owner, with the handler's own error.
        detail: the handler's traceback, for the log; "" where the message says everything.
        out_of_memory: the device or the host had no room.
    """

    message: str
    detail: str
    out_of_memory: bool = False


class StageTimes(Struct, frozen=True, array_like=True):
    """Seconds of one batch's run. A module-level ``handle`` has everything in ``inference_s``."""

    preprocess_s: float = 0.0
    inference_s: float = 0.0
    postprocess_s: float = 0.0


class Piece(Struct, frozen=True, array_like=True):
    """A part of one row's answer, at most ``PIECE_BYTES`` long.

    Attributes:
        row: position in the batch.
        blob: index of the bytes among the frame's blobs.
        head: how the answer begins; only in the first piece of a row.
    """

    row: int
    blob: int
    head: RowAnswer | None = None


class Partial(Struct, frozen=True, tag="partial"):
    """Parts of answers that a handler sends while its batch runs; the outcome of such a row is the last part."""

    batch_id: int
    pieces: tuple[Piece, ...]


class Cut(Struct, frozen=True, tag="cut"):
    """One row's answer ends here, unfinished, while its batch runs on.

    Attributes:
        row: position in the batch.
        reason: a name from ``refusals.REASONS``.
        message: one sentence for the caller, should nothing have been sent yet.
    """

    batch_id: int
    row: int
    reason: str
    message: str


class Ran(Struct, frozen=True, tag="ran"):
    """One batch has run.

    Attributes:
        outcomes: one per row of the batch, in order.
        device_s: seconds the device was held by the batch.
        runs: how often the handler was called for it (more than one when a poisoned row had to be found).
        began_s, ended_s: when the run began and ended, on the machine's monotonic clock.
        charged_us: what each row is charged of the device's time, in microseconds.
    """

    batch_id: int
    outcomes: tuple[RowOutcome, ...]
    stages: StageTimes
    device_s: float
    runs: int = 1
    began_s: float = 0.0
    ended_s: float = 0.0
    charged_us: tuple[int, ...] = ()


class Summarised(Struct, frozen=True, tag="summarised"):
    """What rows of the last moments had; for the sidecar, the server only passes it on.

    Attributes:
        parts: side, path and a ``telemetry.drift.fields.Field`` as a tuple, of each part that is watched.
    """

    parts: tuple[tuple[str, str, tuple[Any, ...]], ...]


FromInference = Loaded | LoadFailed | Partial | Cut | Ran | Summarised
