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


class Route(Struct, frozen=True):
    """How requests for one model find a version."""

    model: str
    owner: str
    versions: dict[str, Version]
    stable: str
    timeout_s: float | None = None
    body_bytes: int | None = None
    batching: Batching = Batching()


class Bounds(Struct, frozen=True):
    """What no request may exceed, whatever its tenant."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 64 * _MIB
    idle_timeout_s: float = 60.0
    header_timeout_s: float = 10.0
    body_timeout_s: float = 15.0
    max_deadline_s: float = 120.0


class Listen(Struct, frozen=True):
    """One address the gateway listens on, and what it serves there: "inference" or "admin"."""

    address: str
    serves: str


DEFAULT_LISTEN = (Listen("127.0.0.1:8080", "inference"), Listen("127.0.0.1:8081", "admin"))


class Mesh(Struct, frozen=True):
    """What holds for the whole gateway."""

    name: str
    listen: tuple[Listen, ...] = DEFAULT_LISTEN
    bounds: Bounds = Bounds()


class Snapshot(Struct, frozen=True):
    """One policy directory as the gateway uses it; the supervisor numbers it and replaces it whole."""

    generation: int
    digest: str
    mesh: Mesh
    tiers: dict[str, Tier] = field(default_factory=dict)
    tenants: dict[str, Tenant] = field(default_factory=dict)
    routes: dict[str, Route] = field(default_factory=dict)


def default_burst(rate_per_s: float) -> int:
    """One second of the rate, and never less than one request."""
    return max(1, ceil(rate_per_s))
