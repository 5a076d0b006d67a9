"""What holds for the whole gateway: listeners, bounds, tracing, logs, issuers, roles, and who is told of alerts."""

from msgspec import Struct


class Bounds(Struct, frozen=True):
    """What no request may exceed, whatever its tenant."""

    header_bytes: int = 16 * 1024
    body_bytes: int = 64 * 2**20
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

    The gateway serves "inference", "inference-grpc", "admin" and "metrics"; the hub serves "dashboards", "otlp" and
    "otlp-grpc".
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
    Listen("127.0.0.1:4317", "otlp-grpc"),
)


class Export(Struct, frozen=True):
    """A receiver of OTLP over HTTP that gets the spans that are kept.

    Attributes:
        to: its address with the port, without ``/v1/traces``.
        headers: env:NAME or file:/PATH of the header fields that are sent along; "" for none.
        ca: file:/PATH of the certificates that its own must lead to; "" for those of the system.
        queue_bytes: what may wait for it on disk, for each sidecar.
        answer_within_s: for one answer.
    """

    to: str
    headers: str = ""
    ca: str = ""
    queue_bytes: int = 64 * 2**20
    answer_within_s: float = 5.0


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
        export: who gets the spans; None for the mesh's own hub.
    """

    callers: str = "resample"
    kept_per_s: float = 20.0
    baggage: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    export: Export | None = None


class Logs(Struct, frozen=True):
    """How processes tell people what happens.

    Attributes:
        format: "text", "json" or "auto", which is text where a terminal reads, else JSON.
        level: "debug", "info", "warning" or "error"; lines below it are not written.
        handlers: what is written of handlers: "all", "without_messages" (of their exceptions) or "nothing".
    """

    format: str = "auto"
    level: str = "info"
    handlers: str = "without_messages"


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
        sticky_claims: claims by which some route keeps a caller on one version.
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
    sticky_claims: tuple[str, ...] = ()


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


class Webhook(Struct, frozen=True):
    """An address that is told of alerts.

    Attributes:
        url: the address, or env:NAME or file:/PATH where it is kept.
        authorization: env:NAME or file:/PATH of what the header of that name says; "" for none.
        signature: the like of the key that bodies are signed with; "" for none.
    """

    url: str
    authorization: str = ""
    signature: str = ""


class Alerting(Struct, frozen=True):
    """Who is told of alerts beside the mesh's own output.

    Attributes:
        alertmanager: the address of an Alertmanager; "" for none.
        alertmanager_authorization: env:NAME or file:/PATH, as of a webhook; "" for none.
        dashboards: the mesh's pages as people reach them; "" for where they listen.
        runbooks: below this address lies a page for each kind of alert; "" for the project's own pages.
    """

    webhooks: tuple[Webhook, ...] = ()
    alertmanager: str = ""
    runbooks: str = ""
    alertmanager_authorization: str = ""
    dashboards: str = ""


class Mesh(Struct, frozen=True):
    """What holds for the whole gateway."""

    name: str
    listen: tuple[Listen, ...] = DEFAULT_LISTEN
    bounds: Bounds = Bounds()
    tracing: Tracing = Tracing()
    jwt: tuple[JwtIssuer, ...] = ()
    roles: tuple[Role, ...] = ()
    logs: Logs = Logs()
    alerts: Alerting = Alerting()
