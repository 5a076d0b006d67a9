"""Snapshot: one whole, validated, numbered generation of policy, with every number in seconds and bytes."""

from math import ceil

from msgspec import Struct, field

KNOWN_SCOPES = ("infer", "explain", "pin")
EVERY_MODEL = "*"
DEFAULT_IN_FLIGHT = 1024
_MIB = 1024 * 1024


class Key(Struct, frozen=True):
    """One key of a tenant: what is kept is the digest of the secret, never the secret."""

    id: str
    sha256: str
    scopes: tuple[str, ...]
    not_before_s: float | None = None
    not_after_s: float | None = None


class Tier(Struct, frozen=True):
    """What every tenant of this tier may use; None is no limit."""

    name: str
    rate_per_s: float | None = None
    burst: int | None = None
    deadline_s: float | None = None


class Tenant(Struct, frozen=True):
    """A caller's organisation: its tier, its keys and the models it may call."""

    name: str
    owner: str
    tier: str
    keys: tuple[Key, ...]
    may_call: tuple[str, ...]


class Launch(Struct, frozen=True):
    """Pods that are started from an archive of the model store."""

    archive: str
    count: int = 1
    device: str = "auto"


class Static(Struct, frozen=True):
    """Pods that somebody else runs, as "unix:/path" or "host:port"."""

    addresses: tuple[str, ...]


class Version(Struct, frozen=True):
    """One immutable build of a model and where its pods come from."""

    name: str
    launch: Launch | None = None
    static: Static | None = None
    in_flight: int = DEFAULT_IN_FLIGHT


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


class Bounds(Struct, frozen=True):
    """What no request may exceed, whatever its tenant."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 64 * _MIB
    idle_timeout_s: float = 60.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 15.0
    max_deadline_s: float = 120.0


class Listen(Struct, frozen=True):
    """One address of the mesh, and what is served there.

    The gateway serves "inference", "admin" and "metrics"; the hub serves "dashboards" and "otlp".
    """

    address: str
    serves: str


DEFAULT_LISTEN = (
    Listen("127.0.0.1:8080", "inference"),
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


class Mesh(Struct, frozen=True):
    """What holds for the whole gateway."""

    name: str
    listen: tuple[Listen, ...] = DEFAULT_LISTEN
    bounds: Bounds = Bounds()
    tracing: Tracing = Tracing()


class Snapshot(Struct, frozen=True):
    """One policy directory as the gateway uses it; the supervisor numbers it and replaces it whole."""

    generation: int
    digest: str
    mesh: Mesh
    tiers: dict[str, Tier] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)
    objectives: dict[str, Objective] = field(default_factory=dict)


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
