"""What the supervisor and its workers say to each other, over one inherited socketpair per worker.

Frames are those of ``model_pod.wire.frames``. A new generation is switched in two phases: every worker prepares it,
then every worker commits it, so no request sees half of one. A worker that starts gets the generation in force first.
"""

from __future__ import annotations

from msgspec import Struct

from model_pod.wire.status import PodState

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
    """All pods, whole, whenever one of them changes."""

    pods: tuple[PodView, ...]


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


ToWorker = Prepare | Commit | Pods | Drain | OthersRate | Revoked | IssuerKeys | ShowCertificate


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
        lag_s: by how much the worker's loop was late at worst since it last told.
        waiting: requests that wait for a pod to have room.
        retries: requests that were to be sent to another pod, since the first had failed them.
        retries_refused: those that were not, because their model's retry budget was used up.
        ejected: pods that are ready and get nothing, or a trial at most, because they failed this worker's requests.
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


class QuotaWanted(Struct, frozen=True, tag="quota_wanted"):
    """Accounts of which a request waits for more; ``amounts`` is what it needs, in the meter's unit."""

    amounts: dict[str, int]


class UnknownKid(Struct, frozen=True, tag="unknown_kid"):
    """A token names a key that its issuer is not known to have; the issuer may have a new one."""

    issuer: str


FromWorker = Prepared | Committed | Accepting | Counts | Tally | KeyUses | LimitUses | QuotaWanted | UnknownKid
