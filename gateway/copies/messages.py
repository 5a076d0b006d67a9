"""What the copies process is told and tells: by workers over a Unix socket of its own, by the supervisor over a pair.

Frames are those of ``model_pod.wire.frames``. A worker never waits for it: what it does not take is lost, and counted.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.control.messages import Drain, Pods
from gateway.copies.reports import ReplayReport, Sample, ShadowReport
from gateway.decide.stage import Stage

# Larger bodies, of requests or answers, are not copied.
MAX_COPIED_BYTES = 2**20

# --- from a worker


class Answered(Struct, frozen=True, array_like=True, tag="answered"):
    """A request that was answered, and its answer. The frame's blobs are both bodies.

    Attributes:
        at_s: when it began, seconds since the epoch.
        span_id: of the ``gateway.request`` span, parent of what its copies leave.
        sampled: its trace is kept.
        version, arm: that answered.
        method, target: as a pod is asked; of gRPC what the pod is asked by the gateway.
        fields: header lines for a pod; no credential is among them. They, the target and the request's body are empty
            where the label alone is kept.
        status: of the answer; those of a refusal by us are never told.
        answer_fields: header lines of the pod's answer.
        took_s: from the gateway to the pod and back.
        device_us: -1 when the pod did not tell.
        shadows: names of those that get a copy; tenants that do not consent have none.
        is_recorded: it is kept for replays.
        is_labelled: its label is kept until callers tell the true one.
        stage, subject: its part in a canary's trial; None for none.
        why_sample: why it is a sample; "" where it is none, as far as its worker can see.
    """

    request_id: str
    trace_id: str
    span_id: str
    sampled: bool
    at_s: float
    model: str
    version: str
    arm: str
    tenant: str
    tier: str
    method: str
    target: str
    fields: tuple[tuple[bytes, bytes], ...]
    status: int
    answer_fields: bytes
    took_s: float
    device_us: int
    shadows: tuple[str, ...] = ()
    is_recorded: bool = False
    is_labelled: bool = False
    stage: Stage | None = None
    subject: int = 0
    why_sample: str = ""


class LateLabel(Struct, frozen=True, array_like=True):
    """What the answer to a request should have been, as JSON text.

    Attributes:
        observed_s: when that was seen, seconds since the epoch; 0.0 when it is not told.
    """

    request_id: str
    label: str
    observed_s: float


class LateLabels(Struct, frozen=True, array_like=True, tag="late_labels"):
    """Labels that one tenant tells of its own requests."""

    tenant: str
    labels: tuple[LateLabel, ...]


FromGatewayWorker = Answered | LateLabels

# --- from the supervisor


class Use(Struct, frozen=True, tag="use"):
    """Go by this generation from now on. The frame's only blob is the snapshot."""

    generation: int


class AskReplay(Struct, frozen=True, tag="ask_replay"):
    """Send recorded requests of a model to a version; answered by ``Replayed``, again and again until it is over.

    Attributes:
        version: that is asked; its answers are compared with those that were recorded.
        shadow: whose comparison is used; "" for the route's first shadow, else for all of the answer as JSON.
        most: at most so many of the latest recorded requests.
        is_cancel: end the replay of this number instead.
    """

    number: int
    model: str
    version: str
    shadow: str = ""
    most: int = 1000
    is_cancel: bool = False


class Forget(Struct, frozen=True, tag="forget"):
    """Throw away what was compared for a shadow so far, or everything that was recorded of a model.

    Attributes:
        shadow: its name; "" stands for recordings.
    """

    model: str
    shadow: str


class AskSamples(Struct, frozen=True, tag="ask_samples"):
    """Tell of samples, newest first; answered by ``SamplesTold`` of the same number.

    Attributes:
        model, tenant, why: only those of it; "" for any.
        request_id: only this one, with its fields; "" for any, without.
    """

    number: int
    model: str = ""
    tenant: str = ""
    why: str = ""
    request_id: str = ""
    most: int = 100


class PurgeSamples(Struct, frozen=True, tag="purge_samples"):
    """Remove samples that all of it is true of; answered by ``SamplesTold`` of the same number.

    Attributes:
        model, tenant: only those of it; "" for any.
        subject: only those that are about somebody; "" for anybody.
        before_s: only of requests that began earlier; 0.0 for any.
    """

    number: int
    model: str = ""
    tenant: str = ""
    subject: str = ""
    before_s: float = 0.0

    def __repr__(self) -> str:
        """Say nothing of whom it is about."""
        return f"PurgeSamples(number={self.number}, model={self.model!r}, tenant={self.tenant!r})"


ToCopies = Use | Pods | Drain | AskReplay | Forget | AskSamples | PurgeSamples

# --- to the supervisor


class Listening(Struct, frozen=True, tag="listening"):
    """Workers may connect now."""

    path: str


class Shadows(Struct, frozen=True, tag="shadows"):
    """What every shadow has come to, whole, about once a second."""

    reports: tuple[ShadowReport, ...]


class LabelEvent(Struct, frozen=True, array_like=True):
    """A late label that met its answer.

    Attributes:
        at_s: when the request began, seconds since the epoch.
    """

    model: str
    version: str
    arm: str
    tier: str
    at_s: float
    is_right: bool
    trace_id: str
    stage: Stage | None
    subject: int


class Labelled(Struct, frozen=True, tag="labelled"):
    """Late labels that met their answers since this was last told."""

    events: tuple[LabelEvent, ...]


class CopyCounts(Struct, frozen=True, tag="copy_counts"):
    """Cumulative since the process started, about once a second.

    Attributes:
        copies: by model, shadow and what became of it: "compared", "failed", or why it was not sent.
        labels: by model ("" where the request is not known) and what became of the label: "right", "wrong",
            "unknown_request", "too_late", "repeated", "no_label", "not_kept" or "dropped".
        recorded_bytes: that are kept, by model.
        recordings: by model and what became of requests that were sampled to be recorded: "recorded", or why not.
        samples: by model and what became of requests that were to be samples: "kept", or why not.
        sample_bytes: that are kept of samples, by model.
        hidden: by model and rule, how often something in a sample was hidden.
    """

    copies: dict[str, dict[str, dict[str, int]]]
    labels: dict[str, dict[str, int]]
    recorded_bytes: dict[str, int]
    recordings: dict[str, dict[str, int]] = {}
    samples: dict[str, dict[str, int]] = {}
    sample_bytes: dict[str, int] = {}
    hidden: dict[str, dict[str, int]] = {}


class Replayed(Struct, frozen=True, tag="replayed"):
    """How a replay stands."""

    report: ReplayReport


class SamplesTold(Struct, frozen=True, tag="samples_told"):
    """What ``AskSamples`` or ``PurgeSamples`` has come to.

    Attributes:
        purged: how many were removed.
        problem: why it could not be done, or not all of it; "" where it is.
    """

    number: int
    samples: tuple[Sample, ...] = ()
    purged: int = 0
    problem: str = ""


FromCopies = Listening | Shadows | Labelled | CopyCounts | Replayed | SamplesTold
