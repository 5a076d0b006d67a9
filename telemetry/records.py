"""What processes tell their sidecar: one compact record per request, batch and load, which become spans there.

On the hot path a record is a plain tuple with a type's tag and fields in the order below; msgspec writes tuples and
array-like structs alike, so what is a tuple to its writer is typed to its reader. Moments are monotonic seconds of the
machine, which all processes on it share; each frame says how far that clock is from the wall's.

Only one span id is drawn per request and process: those of its parts follow from it (``part_id``), so that a record
need not carry them, and the inference process can be told of its span before anything is recorded.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from telemetry.drift.fields import Field

FRAME_VERSION = 1

# A pod's own span ids end in four zero digits; its parts' ids fill them.
PART_SPAN_DIGITS = 4
MAX_PARTS = 2**12 - 1
"""Parts of a request beyond this have no spans of their own."""


class Stage(IntEnum):
    """The spans of one part of a pod's request."""

    QUEUE = 1
    PREPROCESS = 2
    INFERENCE = 3
    POSTPROCESS = 4


def part_id(request_span_id: str, part: int, stage: Stage) -> str:
    """Return the id of one part's span; ``part`` is at most ``MAX_PARTS``."""
    return f"{request_span_id[:-PART_SPAN_DIGITS]}{part:03x}{stage:x}"


class Attempt(Struct, frozen=True, array_like=True):
    """One try at one pod.

    Attributes:
        span_id: what the pod was told as its parent.
        pod: ``model/version/index``.
        reason: "" when the pod answered, else why it did not.
        status: what the pod answered; 0 when it did not.
    """

    span_id: str
    pod: str
    started_s: float
    ended_s: float
    reason: str = ""
    status: int = 0


class GatewayRequest(Struct, frozen=True, array_like=True, tag="g"):
    """One request as a gateway worker settled it.

    Attributes:
        parent_id: the caller's span in the same trace, "" when it sent none or is not believed.
        sampled: its trace belongs to the consistent share that is kept.
        method: of HTTP; of gRPC with its service, as ``SERVICE/METHOD``.
        api: which API's path it used; "" when none matched.
        status: what the caller got; 499 when it left before.
        reason: of a refusal; "" for an answer of the model.
        outcome: ``good``, ``bad`` or ``ignored`` in the worst objective of its model; "" without an objective.
        caller_trace: ``traceparent`` of a caller that is not believed: its trace is linked, not joined.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    started_s: float
    ended_s: float
    method: str
    api: str
    status: int
    reason: str
    request_id: str
    generation: int
    tenant: str
    model: str
    version: str
    arm: str
    outcome: str
    attempts: tuple[Attempt, ...] = ()
    trace_state: str = ""
    caller_trace: str = ""


class GatewayCopy(Struct, frozen=True, array_like=True, tag="c"):
    """One copy of a request, as it was sent to a pod whose answer nobody gets.

    Attributes:
        parent_id: of the ``gateway.request`` that was copied.
        sampled: as of that request.
        shadow: the name of the shadow that it was sent for.
        pod: ``model/version/index``.
        status: what the pod answered; 0 when it did not.
        is_repeat: the version that answered was asked again.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    started_s: float
    ended_s: float
    request_id: str
    generation: int
    tenant: str
    model: str
    version: str
    shadow: str
    pod: str
    status: int
    is_repeat: bool


class BatchTimes(Struct, frozen=True, array_like=True):
    """One executed batch.

    The inference process tells its own moments; stages follow one another there from ``began_s`` on.

    Attributes:
        sent_s: when the server gave it to the inference process, or when that came to it.
        began_s, ended_s: of the run, in the inference process.
        answered_s: when the server had the outcomes.
        row_count, request_count: of the whole batch.
        runs: how often the handler was called for it.
        device_s: seconds the device was held.
    """

    batch_id: int
    trace_id: str
    span_id: str
    sent_s: float
    began_s: float
    preprocess_s: float
    inference_s: float
    postprocess_s: float
    ended_s: float
    answered_s: float
    row_count: int
    request_count: int
    runs: int
    device_s: float


class Part(Struct, frozen=True, array_like=True):
    """What became of one part of a request: most requests have one.

    Attributes:
        part: its number in the request.
        enqueued_s: when it came into the queue.
        batch: the batch it ran in; None when it never ran, and its request's reason says why.
        device_us: microseconds of the device that its rows are charged.
    """

    part: int
    row_count: int
    enqueued_s: float
    batch: BatchTimes | None = None
    device_us: int = 0


class PodRequest(Struct, frozen=True, array_like=True, tag="p"):
    """One request as a pod answered it.

    Attributes:
        parent_id: the gateway's attempt; "" when the pod was asked directly.
        endpoint: ``predict``, ``explain`` or ``infer``.
        status: what was answered; 499 when the caller left before.
        reason: of a refusal; "" for an answer of the model.
        tenant: as the gateway says, "" without one.
        cold: it waited for a model that was not loaded yet.
        shadow: it is a copy for the shadow of this name; "" for a request of somebody who waits.
    """

    trace_id: str
    span_id: str
    parent_id: str
    sampled: bool
    started_s: float
    ended_s: float
    endpoint: str
    status: int
    reason: str
    request_id: str
    tenant: str
    row_count: int
    cold: bool
    parts: tuple[Part, ...] = ()
    shadow: str = ""


class Member(Struct, frozen=True, array_like=True):
    """Whose rows a batch had.

    Attributes:
        span_id: of the member's ``pod.request``.
        part: which part of that request it was.
        queue_s: how long this part waited.
        device_us: what it was charged of the device's time, in microseconds.
    """

    trace_id: str
    span_id: str
    part: int
    request_id: str
    row_count: int
    queue_s: float
    device_us: int = 0


class PodBatch(Struct, frozen=True, array_like=True, tag="b"):
    """One executed batch and who rode in it.

    Attributes:
        queued_rows: that were left waiting when it was sent.
        reason: why the batch was lost; "" when it ran.
    """

    times: BatchTimes
    members: tuple[Member, ...]
    device: str
    queued_rows: int
    reason: str = ""


class PodLoad(Struct, frozen=True, array_like=True, tag="l"):
    """One load of the model.

    Attributes:
        message: why it failed; "" when it did not.
        device: "" when it failed.
        handler_s: what of it the handler took; the rest is the process's start and its imports.
    """

    trace_id: str
    span_id: str
    started_s: float
    ended_s: float
    message: str
    device: str
    handler_s: float


class PodSummary(Struct, frozen=True, array_like=True, tag="s"):
    """What sampled rows of a few seconds had at one place of their inputs or outputs; no span is made of it.

    Attributes:
        ended_s: when it was told.
        side: ``input`` or ``output``.
        path: JSON Pointer, as policy has it.
    """

    ended_s: float
    side: str
    path: str
    field: Field


Record = GatewayRequest | GatewayCopy | PodRequest | PodBatch | PodLoad
"""What becomes spans."""


class Source(Struct, frozen=True, array_like=True):
    """Who records.

    Attributes:
        service: ``penstock-gateway`` or ``penstock-pod``.
        instance: which process of it: ``worker 0``, ``digits/1``.
        model, version: of a pod; "" for the gateway.
        package: version of Penstock.
    """

    service: str
    instance: str
    pid: int
    model: str = ""
    version: str = ""
    package: str = ""


class Frame(Struct, frozen=True, array_like=True):
    """What one packet on the socket to a sidecar holds.

    Attributes:
        frame_version: ``FRAME_VERSION``.
        wall_offset_ns: nanoseconds since the epoch minus nanoseconds of the monotonic clock.
        dropped: records lost by this process since its start, by why.
    """

    frame_version: int
    source: Source
    wall_offset_ns: int
    dropped: dict[str, int]
    records: tuple[Record | PodSummary, ...]
