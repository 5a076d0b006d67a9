"""What the supervisor and its workers say to each other, over one inherited socketpair per worker.

Frames are those of ``model_pod.wire.frames``. A new generation is switched in two phases: every worker prepares it,
then every worker commits it, so no request sees half of one. A worker that starts gets the generation in force first.
"""

from __future__ import annotations

from msgspec import Struct

from gateway.decide.stage import Stage
from model_pod.wire.status import PodState

# The finest slots in which SLO events are counted.
SLOT_S = 10
# Upper edges of what is told of waits: tiers let requests wait a second or so, and some do much longer.
WAIT_EDGES_S = (0.001, 0.005, 0.02, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
# Pairs of model and tier of which waits are told apart, and models of which ejections are; others are of "other".
MAX_WAITS = 200
OTHER_WAITS = "other"
MAX_EJECTIONS = 1000
OTHER_MODELS = "other"


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
        link: version of the link that it speaks; 0 when it speaks HTTP only, or was never asked.
    """

    name: str
    model: str
    version: str
    address: str
    state: PodState
    was_ready: bool
    message: str = ""
    link: int = 0


class Pods(Struct, frozen=True, tag="pods"):
    """All pods, whole, whenever one of them changes.

    Attributes:
        ready_once: models and their versions of which a pod has been ready, be it none of these any more.
    """

    pods: tuple[PodView, ...]
    ready_once: tuple[tuple[str, str], ...] = ()


class Drain(Struct, frozen=True, tag="drain"):
    """Finish: say not ready at once, take new requests for ``delay_s`` more, then finish what runs and exit.

    Attributes:
        delay_s: seconds to go on accepting after readiness turned false.
        within_s: seconds after which what still runs is cut off.
        is_replaced: a successor accepts already, so the gateway stays ready while this worker leaves.
    """

    delay_s: float
    within_s: float
    is_replaced: bool = False


class OthersRate(Struct, frozen=True, tag="others_rate"):
    """How many requests per second the other workers settle: together they keep so many traces as policy says."""

    per_s: float


class Revoked(Struct, frozen=True, tag="revoked"):
    """Ids of all keys that are revoked beside what policy says, whole, whenever one is added or taken back."""

    key_ids: tuple[str, ...]


class IssuerKeys(Struct, frozen=True, tag="issuer_keys"):
    """The public keys of one issuer, whole, whenever they were fetched.

    Attributes:
        issuer: its name in ``mesh.yaml``.
        jwks: the JSON Web Key Set as it was fetched; b"" when it is too old to be trusted.
    """

    issuer: str
    jwks: bytes


class ShowCertificate(Struct, frozen=True, tag="show_certificate"):
    """What the TLS of one listening socket is made of, at the start and whenever it was replaced; all as PEM.

    Attributes:
        listen_fd: the socket, by the number that it was inherited under.
        ca: the authorities of callers' certificates; b"" asks callers for none.
        is_required: a caller without a certificate is cut off.
        identity_from: "san-uri", "san-dns" or "subject": what of a caller's certificate names it; "" without ``ca``.
    """

    listen_fd: int
    cert: bytes
    key: bytes
    ca: bytes
    is_required: bool
    identity_from: str

    def __repr__(self) -> str:
        """Say nothing of the key."""
        return f"ShowCertificate(listen_fd={self.listen_fd}, cert={self.cert!r}, is_required={self.is_required})"


class Releases(Struct, frozen=True, tag="releases"):
    """Where every canary stands, whole, whenever one of them moves. One that is not told of has a share of 0."""

    stages: tuple[Stage, ...]


class CopiesAt(Struct, frozen=True, tag="copies_at"):
    """Where the copies process listens, as the path of a Unix socket; "" when there is none."""

    path: str


class Drifting(Struct, frozen=True, tag="drifting"):
    """Which versions of which models drift, as far as samples are kept on that; whole, whenever it changes."""

    versions: tuple[tuple[str, str], ...]


ToWorker = (
    Prepare
    | Commit
    | Pods
    | Drain
    | OthersRate
    | Revoked
    | IssuerKeys
    | ShowCertificate
    | Releases
    | CopiesAt
    | Drifting
)


class Prepared(Struct, frozen=True, tag="prepared"):
    """The generation is built; ``error`` says why not, and vetoes it."""

    generation: int
    error: str = ""


class Committed(Struct, frozen=True, tag="committed"):
    """Requests are decided by this generation from now on."""

    generation: int


class Accepting(Struct, frozen=True, tag="accepting"):
    """The worker has a generation and accepts connections."""


class Waits(Struct, frozen=True, array_like=True):
    """For how long requests of one model and tier waited for a pod to have room.

    Attributes:
        buckets: how many waited up to each of ``WAIT_EDGES_S``, not cumulative; the last waited longer than all.
        sum_s: of them.
    """

    model: str
    tier: str
    buckets: tuple[int, ...]
    sum_s: float


class Counts(Struct, frozen=True, tag="counts"):
    """Cumulative since the worker started: sent about once a second from its start, by the spare too, and at its end.

    Attributes:
        requests: requests settled, refusals included.
        by_reason: refusals by reason.
        in_flight: requests being answered now.
        connections: open client connections.
        lag_s: by how much the worker's loop was late at worst since it last told.
        waiting: requests that wait for a pod to have room.
        retries: requests that were to be sent to another pod, since the first had failed them.
        retries_refused: those that were not, because their model's retry budget was used up.
        ejected: pods that are ready and get nothing, or a trial at most, because they failed this worker's requests.
        waits: of requests that waited, and wait no more.
        ejections: by model, how often a pod began to be left out, or went on to be because it failed its trial.
        links: that are open to pods.
        copies_lost: requests that were to be copied and were not handed over, by why.
        log_lines: that it logged, by level.
        log_suppressed: that it did not log: too many of one event, or nobody read them.
    """

    requests: int
    by_reason: dict[str, int]
    in_flight: int
    connections: int
    lag_s: float = 0.0
    waiting: int = 0
    retries: int = 0
    retries_refused: int = 0
    ejected: int = 0
    waits: tuple[Waits, ...] = ()
    ejections: dict[str, int] = {}
    links: int = 0
    copies_lost: dict[str, int] = {}
    log_lines: dict[str, int] = {}
    log_suppressed: int = 0


class RequestCounts(Struct, frozen=True, array_like=True):
    """Requests of one kind that a worker settled.

    Attributes:
        model, version, tenant, tier: "" as far as they were not known when the request was refused.
        status: what the caller got; 499 when it left before.
        reason: of a refusal; "" for an answer of the model.
        buckets: how many took up to each of the model's ``edges_s``, not cumulative; the last took longer than all.
        sum_s: of their durations.
        exemplar_s, exemplar_trace: one of them whose trace is kept; "" when there is none.
        device_us, body_bytes, tokens: what they cost: microseconds of devices, bytes of both bodies, tokens.
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
    device_us: int = 0
    body_bytes: int = 0
    tokens: int = 0


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


class KeyUses(Struct, frozen=True, tag="key_uses"):
    """When credentials were last used, of those used since this was last told: seconds since the epoch by id."""

    last_used_s: dict[str, float]


class LimitUses(Struct, frozen=True, tag="limit_uses"):
    """What limits did since this was last told: requests refused, and requests that observed limits would refuse."""

    refused: dict[str, int]
    observed: dict[str, int]


class ArmEvents(Struct, frozen=True, array_like=True):
    """Requests of one arm: those that an objective counts, those that were bad, and those that were bad but for time.

    Attributes:
        slow: bad requests whose status was a good one.
    """

    requests: int = 0
    bad: int = 0
    slow: int = 0


class BadKey(Struct, frozen=True, array_like=True):
    """A sticky key that had a bad request, told once by each worker each time.

    Attributes:
        trace_id: of that request, whether its trace is kept or not.
    """

    subject: int
    in_canary: bool
    trace_id: str


class TrialEvents(Struct, frozen=True, tag="trial_events"):
    """What a canary's trial came to since this worker last told; of one stage, which may have passed meanwhile.

    Attributes:
        keys: in the order in which they were seen.
        untold: further bad keys, for which there was no room.
    """

    stage: Stage
    stable: ArmEvents
    canary: ArmEvents
    keys: tuple[BadKey, ...]
    untold: int = 0


class QuotaWanted(Struct, frozen=True, tag="quota_wanted"):
    """Accounts of which a request waits for more; ``amounts`` is what it needs, in the meter's unit."""

    amounts: dict[str, int]


class UnknownKid(Struct, frozen=True, tag="unknown_kid"):
    """A token names a key that its issuer is not known to have; the issuer may have a new one."""

    issuer: str


FromWorker = (
    Prepared | Committed | Accepting | Counts | Tally | KeyUses | LimitUses | TrialEvents | QuotaWanted | UnknownKid
)
