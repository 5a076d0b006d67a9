"""What the supervisor and its workers say to each other, over one inherited socketpair per worker.

Frames are those of ``model_pod.wire.frames``. A new generation is switched in two phases: every worker prepares it,
then every worker commits it, so no request sees half of one. A worker that starts gets the generation in force first.
"""

from __future__ import annotations

from msgspec import Struct

from model_pod.wire.status import PodState

# The memory that all workers share for rate limits; whoever makes it and whoever maps it must agree on its size.
LIMITS_TABLE_BYTES = 2**20
# The finest slots in which SLO events are counted.
SLOT_S = 10


class Prepare(Struct, frozen=True, tag="prepare"):
    """Build this generation and hold it; answered by ``Prepared``. The frame's only blob is the snapshot."""

    generation: int


class Commit(Struct, frozen=True, tag="commit"):
    """Decide by this prepared generation from now on; answered by ``Committed``."""

    generation: int


class PodView(Struct, frozen=True, array_like=True):
    """One pod as the supervisor's probe last saw it.

    Attributes:
        name: ``model/version/index``, for people.
        address: ``unix:/path`` or ``host:port``.
        state: STARTING when it did not answer.
        was_ready: it has been ready at least once.
        message: why it is not ready, in its own words, fit to be shown to callers; "" when it is or says nothing.
    """

    name: str
    model: str
    version: str
    address: str
    state: PodState
    was_ready: bool
    message: str = ""


class Pods(Struct, frozen=True, tag="pods"):
    """All pods, whole, whenever one of them changes."""

    pods: tuple[PodView, ...]


class Drain(Struct, frozen=True, tag="drain"):
    """Finish: say not ready at once, take new requests for ``delay_s`` more, then finish what runs and exit.

    Attributes:
        delay_s: seconds to go on accepting after readiness turned false.
        within_s: seconds after which what still runs is cut off.
    """

    delay_s: float
    within_s: float


class OthersRate(Struct, frozen=True, tag="others_rate"):
    """How many requests per second the other workers settle: together they keep so many traces as policy says."""

    per_s: float


ToWorker = Prepare | Commit | Pods | Drain | OthersRate


class Prepared(Struct, frozen=True, tag="prepared"):
    """The generation is built; ``error`` says why not, and vetoes it."""

    generation: int
    error: str = ""


class Committed(Struct, frozen=True, tag="committed"):
    """Requests are decided by this generation from now on."""

    generation: int


class Accepting(Struct, frozen=True, tag="accepting"):
    """The worker has a generation and accepts connections."""


class Counts(Struct, frozen=True, tag="counts"):
    """Cumulative since the worker started: sent about once a second from its start, by the spare too, and at its end.

    Attributes:
        requests: requests settled, refusals included.
        by_reason: refusals by reason.
        in_flight: requests being answered now.
        connections: open client connections.
    """

    requests: int
    by_reason: dict[str, int]
    in_flight: int
    connections: int


class RequestCounts(Struct, frozen=True, array_like=True):
    """Requests of one kind that a worker settled.

    Attributes:
        model, version, tenant, tier: "" as far as they were not known when the request was refused.
        status: what the caller got; 499 when it left before.
        reason: of a refusal; "" for an answer of the model.
        buckets: how many took up to each of the model's ``edges_s``, not cumulative; the last took longer than all.
        sum_s: of their durations.
        exemplar_s, exemplar_trace: one of them whose trace is kept; "" when there is none.
    """

    model: str
    version: str
    tenant: str
    tier: str
    status: int
    reason: str
    buckets: tuple[int, ...]
    sum_s: float
    exemplar_s: float = 0.0
    exemplar_trace: str = ""


class SloEvents(Struct, frozen=True, array_like=True):
    """What requests meant to one objective."""

    slo: str
    model: str
    version: str
    tier: str
    good: int
    bad: int
    ignored: int


class Tally(Struct, frozen=True, tag="tally"):
    """What was settled since this worker's last tally; none spans two slots. Sent about once a second.

    Attributes:
        slot_s: start of the slot, seconds since the epoch, a multiple of ``SLOT_S``.
        edges_s: upper edges of the buckets by model; they include the thresholds of its objectives.
        dropped: records for the sidecar that were lost since this worker's start, by why.
    """

    slot_s: int
    edges_s: dict[str, tuple[float, ...]]
    requests: tuple[RequestCounts, ...]
    events: tuple[SloEvents, ...]
    dropped: dict[str, int]


FromWorker = Prepared | Committed | Accepting | Counts | Tally
