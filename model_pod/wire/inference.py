"""The conversation between a pod's server and its inference process, over one inherited socketpair.

``Load`` is answered by ``Loaded`` or ``LoadFailed``; each ``Run`` by one ``Ran`` with one outcome per row, in order.
The end of the stream means that the other process is gone.
"""

from __future__ import annotations

from msgspec import Struct

from model_pod.wire.rows import Row, RowOutcome


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


ToInference = Load | Run


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


FromInference = Loaded | LoadFailed | Ran
