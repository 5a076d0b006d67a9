"""Snapshot: one whole, validated, numbered generation of policy, with every number in seconds and bytes."""

from math import ceil

from msgspec import Struct, field

KNOWN_SCOPES = ("infer", "explain", "pin")
EVERY_MODEL = "*"
DEFAULT_IN_FLIGHT = 1024
# Requests that may wait for the pods of one version.
MAX_WAITING = 4096
_MIB = 1024 * 1024


class Key(Struct, frozen=True):
    """One key of a tenant: what is kept is the digest of the secret, never the secret."""

    id: str
    sha256: str
    scopes: tuple[str, ...]
    not_before_s: float | None = None
    not_after_s: float | None = None


class Limit(Struct, frozen=True):
    """How many requests may enter: a rate, a bound on those in flight, or both; every limit of a request must hold.

    Attributes:
        name: what refusals, headers and counters call it: "tier/gold", "tenant/ads", "model/digits" or "shared/NAME".
        rate_per_s: None for any rate.
        burst: requests at once when none came before.
        in_flight: None for any number.
        observe: count and tell what would have been refused, and refuse nothing.
    """

    name: str
    rate_per_s: float | None = None
    burst: int = 1
    in_flight: int | None = None
    observe: bool = False


class SharedLimit(Struct, frozen=True):
    """A limit that several tenants draw from together.

    Attributes:
        models, tenants, tiers: whose requests draw from it; all that is not empty must hold.
    """

    limit: Limit
    models: tuple[str, ...] = ()
    tenants: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


class Tier(Struct, frozen=True):
    """What every tenant of this tier may use by itself; None is no limit.

    Attributes:
        priority: whose requests go first to a pod that has room again; below 0 they are refused first.
        weight: a tenant's share among those of the same priority.
        queue_length: requests of one tenant that may wait for the pods of one version.
        queue_wait_s: the longest that they wait; 0.0 refuses them at once.
    """

    name: str
    limit: Limit | None = None
    deadline_s: float | None = None
    priority: int = 0
    weight: int = 1
    queue_length: int = 64
    queue_wait_s: float = 1.0


METERS = ("requests", "bytes", "device_time", "tokens")
"""What a quota counts: requests that a model answered, bytes of both bodies, microseconds of devices, tokens."""


class LadderStep(Struct, frozen=True):
    """What happens from which share of a quota on: "warn", "demote" or "refuse"."""

    share: float
    action: str


class Quota(Struct, frozen=True):
    """A budget over a long period.

    Attributes:
        meter: one of ``METERS``.
        limit: requests, bytes, microseconds or tokens.
        per: "calendar-hour", "-day", "-week" or "-month", or "rolling-1h", "-24h", "-7d" or "-30d".
        zone: IANA name of the time zone of a calendar period.
        ladder: by rising share; without a step that refuses, nothing is refused.
    """

    name: str
    meter: str
    limit: int
    per: str
    zone: str = "UTC"
    ladder: tuple[LadderStep, ...] = (LadderStep(1.0, "refuse"),)

    @property
    def refuse_share(self) -> float | None:
        """The share of the limit beyond which requests are refused; None when none are."""
        return next((step.share for step in self.ladder if step.action == "refuse"), None)


class TenantJwt(Struct, frozen=True):
    """Which tokens are a tenant's: those of this issuer (its name) that call the tenant so."""

    issuer: str
    tenant_id: str


class Tenant(Struct, frozen=True):
    """A caller's organisation: its tier, its credentials, its limits and the models it may call.

    Attributes:
        certificates: identities of client certificates that are its own.
    """

    name: str
    owner: str
    tier: str
    keys: tuple[Key, ...]
    may_call: tuple[str, ...]
    jwt: TenantJwt | None = None
    certificates: tuple[str, ...] = ()
    limit: Limit | None = None
    quotas: tuple[Quota, ...] = ()


class Launch(Struct, frozen=True):
    """Pods that are started from an archive of the model store."""

    archive: str
    count: int = 1
    device: str = "auto"


class Static(Struct, frozen=True):
    """Pods that somebody else runs, as "unix:/path" or "host:port"; a pod at each address of a host's name."""

    addresses: tuple[str, ...]


class Balance(Struct, frozen=True):
    """How one of the pods is picked: the least loaded of so many drawn at random."""

    choices: int = 2


class Health(Struct, frozen=True):
    """How pods are probed.

    Attributes:
        path: what is asked of a server that is not ours; "" for the usual ones.
        every_s: 0 for the usual pause.
        down_after: failures in a row until a pod is left out; 0 for the usual: two time-outs, or one clear no.
        up_after: successes in a row until one that was left out is back.
    """

    path: str = ""
    every_s: float = 0.0
    down_after: int = 0
    up_after: int = 1


class Eject(Struct, frozen=True):
    """When a pod that fails requests is left out.

    Attributes:
        after_failures: in a row.
        for_s: the first time; twice as long each further time, and never longer than ``at_most_s``.
        max_share: never more than this share of the pods at once, and never the last.
    """

    after_failures: int = 5
    for_s: float = 10.0
    at_most_s: float = 300.0
    max_share: float = 0.5


class Version(Struct, frozen=True):
    """One immutable build of a model and where its pods come from.

    Attributes:
        dns: "name:port"; a pod at each address that the name has at the time; "" where they come from elsewhere.
    """

    name: str
    launch: Launch | None = None
    static: Static | None = None
    in_flight: int = DEFAULT_IN_FLIGHT
    dns: str = ""
    balance: Balance = Balance()
    health: Health = Health()
    eject: Eject = Eject()


class Retry(Struct, frozen=True):
    """When a request is tried on another pod.

    Attributes:
        on: "connect" (the pod could not be reached), "refused" (it said that it did not run it) and
            "reset-before-response" (it was lost while it had it, and may have run it), as far as written; sorted.
        attempts: so many times more.
        budget: never for more than this share of the model's requests.
    """

    on: tuple[str, ...] = ("connect", "refused")
    attempts: int = 2
    budget: float = 0.2


class Batching(Struct, frozen=True):
    """How rows run together; 0 rows and a negative wait leave the choice to the archive."""

    max_rows: int = 0
    max_wait_s: float = -1.0


class BurnAlert(Struct, frozen=True):
    """An alert of an objective: the error budget burns faster than ``factor`` in both windows.

    Attributes:
        severity: "page" or "ticket".
        name: what tells it from the other alerts of its objective, such as "page 1h".
    """

    severity: str
    name: str
    factor: float
    long_s: float
    short_s: float


class Guards(Struct, frozen=True):
    """What must hold beside the burn rates before an alert fires, so that one failure at night wakes nobody.

    Attributes:
        min_events: fewer in the long window are not enough data; 0 is off.
        min_bad_events: fewer in the long window do not fire; 0 is off.
        chance_below: fire only if chance alone would make as many bad events less often than this; 0 is off.
    """

    min_events: int = 0
    min_bad_events: int = 0
    chance_below: float = 0.01


class Objective(Struct, frozen=True):
    """What share of a model's requests must be good.

    Attributes:
        model: "" for every route that names the objective.
        period_s: over which the error budget is spent.
        target: share of good events, as the shortest decimal that was written: 0.999.
        status_below: a good answer's status is below this.
        within_s: and it came within this time; None for any time.
        ignore_status: answers that say nothing; None ignores every 4xx, which are the caller's own. 499, a caller that
            left, says nothing in either case unless it waited longer than ``within_s`` and is not named.
        by: what it is counted apart by besides the model: "version", "tier".
    """

    name: str
    owner: str
    period_s: float
    target: float
    status_below: int
    within_s: float | None = None
    ignore_status: tuple[int, ...] | None = None
    model: str = ""
    by: tuple[str, ...] = ("version",)
    alerts: tuple[BurnAlert, ...] = ()
    guards: Guards = Guards()


class Route(Struct, frozen=True):
    """How requests for one model find a version; ``slo`` names its objectives."""

    model: str
    owner: str
    versions: dict[str, Version]
    stable: str
    timeout_s: float | None = None
    body_bytes: int | None = None
    batching: Batching = Batching()
    slo: tuple[str, ...] = ()
    limit: Limit | None = None
    retry: Retry = Retry()


class Bounds(Struct, frozen=True):
    """What no request may exceed, whatever its tenant."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 64 * _MIB
    idle_timeout_s: float = 60.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 15.0
    max_deadline_s: float = 120.0


class Tls(Struct, frozen=True):
    """The certificate that a listener shows; both are places of secrets, "file:/path" or "env:NAME"."""

    cert: str
    key: str


class ClientCerts(Struct, frozen=True):
    """What a listener asks of the caller's certificate.

    Attributes:
        required: a caller without one is cut off; otherwise it may show another credential.
        ca: place of the certificates that the caller's must lead to.
        identity_from: "san-uri", "san-dns" or "subject": the part that names the caller.
    """

    required: bool
    ca: str
    identity_from: str = "san-uri"


class Listen(Struct, frozen=True):
    """One address of the mesh, and what is served there.

    The gateway serves "inference", "inference-grpc", "admin" and "metrics"; the hub serves "dashboards" and "otlp".
    """

    address: str
    serves: str
    tls: Tls | None = None
    client_certs: ClientCerts | None = None


DEFAULT_LISTEN = (
    Listen("127.0.0.1:8080", "inference"),
    Listen("127.0.0.1:7070", "inference-grpc"),
    Listen("127.0.0.1:8081", "admin"),
    Listen("127.0.0.1:8082", "metrics"),
    Listen("127.0.0.1:8090", "dashboards"),
    Listen("127.0.0.1:4318", "otlp"),
)


class Tracing(Struct, frozen=True):
    """Which requests leave a trace, and what of it is kept.

    Attributes:
        callers: what a caller's ``traceparent`` counts: "trust" (its trace and its choice to sample), "resample" (its
            trace, our choice) or "restart" (a new trace that is linked to the caller's).
        kept_per_s: traces per second up to which all are kept; above, a consistent share of so many, and besides it
            errors and slow requests. 0 records nothing.
        baggage: keys of the caller's ``baggage`` that pods may see.
        attributes: keys of spans' attributes that are kept beside Penstock's own and the standard ones; one that ends
            in ``.*`` stands for all below.
    """

    callers: str = "resample"
    kept_per_s: float = 20.0
    baggage: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


class JwtIssuer(Struct, frozen=True):
    """An issuer whose tokens are accepted.

    Attributes:
        issuer: the exact ``iss``.
        audiences: one of them must be in ``aud``.
        algorithms: no other signature counts.
        jwks_url: where its keys are; fetched every ``refresh_s`` and kept ``keep_stale_s`` while that fails.
        tenant_claim, scopes_claim, groups_claim: claims that name the tenant, its scopes ("" gives ``infer`` and
            ``explain``) and the groups that roles of the management API name.
        leeway_s: how far the clocks may differ.
    """

    name: str
    issuer: str
    audiences: tuple[str, ...]
    algorithms: tuple[str, ...]
    jwks_url: str
    tenant_claim: str
    scopes_claim: str = ""
    groups_claim: str = "groups"
    refresh_s: float = 600.0
    keep_stale_s: float = 86400.0
    leeway_s: float = 30.0


class Role(Struct, frozen=True):
    """Who may do what on the management API.

    Attributes:
        subjects: "group:NAME", "san:IDENTITY" or "key:ID".
        may: "THING.ACTION"; "THING.*" is every action.
        models: the models it is limited to; none for every model.
    """

    name: str
    subjects: tuple[str, ...]
    may: tuple[str, ...]
    models: tuple[str, ...] = ()


class Mesh(Struct, frozen=True):
    """What holds for the whole gateway."""

    name: str
    listen: tuple[Listen, ...] = DEFAULT_LISTEN
    bounds: Bounds = Bounds()
    tracing: Tracing = Tracing()
    jwt: tuple[JwtIssuer, ...] = ()
    roles: tuple[Role, ...] = ()


class PolicyTest(Struct, frozen=True):
    """A request, and what must be decided for it.

    Attributes:
        place: "tests/NAME.yaml:LINE:COLUMN", for whoever has to mend it.
        tenant: "" for a caller whom nobody knows.
        scopes: of the credential; () for every scope that a key of the tenant has.
        api: "predict", "explain" or "infer".
        used: share of each quota that is used, by the quota's name.
        expect_status, expect_version, expect_reason: what must be decided; None and "" for anything.
    """

    name: str
    place: str
    model: str
    tenant: str = ""
    version: str = ""
    scopes: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    api: str = "predict"
    used: dict[str, float] = {}
    expect_status: int | None = None
    expect_version: str = ""
    expect_reason: str = ""


class Snapshot(Struct, frozen=True):
    """One policy directory as the gateway uses it; the supervisor numbers it and replaces it whole."""

    generation: int
    digest: str
    mesh: Mesh
    tiers: dict[str, Tier] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    objectives: dict[str, Objective] = field(default_factory=dict)
    shared: tuple[SharedLimit, ...] = ()
    tests: tuple[PolicyTest, ...] = ()


def objectives_by_model(snapshot: Snapshot) -> dict[str, tuple[Objective, ...]]:
    """Return the objectives of every model that has some, in the order in which its route names them."""
    return {
        route.model: tuple(snapshot.objectives[name] for name in route.slo)
        for route in snapshot.routes.values()
        if route.slo
    }


def default_burst(rate_per_s: float) -> int:
    """One second of the rate, and never less than one request."""
    return max(1, ceil(rate_per_s))
