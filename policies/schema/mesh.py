"""mesh.yaml as written: what holds for the whole gateway."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from policies.schema.written import (
    Count,
    Duration,
    FilePlace,
    HeaderName,
    HostPort,
    Name,
    SecretPlace,
    Size,
    Text,
    Url,
    UrlOrPlace,
    Written,
)

Permission = Annotated[
    str,
    Meta(
        pattern=r"^[a-z]{1,32}\.(?:[a-z]{1,32}|\*)$",
        extra={"expected": "a permission, THING.ACTION", "example": "policy.read"},
    ),
]
ClaimPlace = Annotated[
    str,
    Meta(
        pattern=r"^claim:[A-Za-z0-9_.:/-]{1,200}$",
        extra={"expected": "claim:NAME", "example": "claim:tenant_id"},
    ),
]
BaggageKey = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$",
        extra={"expected": "a key of the baggage header", "example": "user.plan"},
    ),
]
AttributeKey = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,62}(?:\.[A-Za-z0-9_-]{1,63}){0,7}(?:\.\*)?$",
        extra={"expected": "an attribute's key, or one that ends in .* for all below it", "example": "app.tokenizer.*"},
    ),
]
# More requests than one machine answers: every trace is kept.
MAX_KEPT_PER_S: Final = 1_000_000
Algorithm = Literal["ES256", "ES384", "RS256", "PS256", "EdDSA"]


class TlsWritten(Written, frozen=True, kw_only=True):
    """The certificate that a listener shows."""

    cert: Annotated[SecretPlace, Meta(description="Where the certificate chain is kept.")]
    key: Annotated[SecretPlace, Meta(description="Where the private key is kept.")]


class ClientCertsWritten(Written, frozen=True, kw_only=True):
    """What a listener asks of the caller's certificate."""

    mode: Annotated[Literal["optional", "required"], Meta(description="Whether a caller must show a certificate.")]
    ca: Annotated[SecretPlace, Meta(description="Where the certificates are kept that callers' ones must lead to.")]
    tenant_from: Annotated[
        Literal["san-uri", "san-dns", "subject"] | None,
        Meta(description="Which part of the certificate names the tenant."),
    ] = None


class ListenWritten(Written, frozen=True, kw_only=True):
    """One address that the gateway listens on."""

    address: Annotated[HostPort, Meta(description="HOST:PORT; port 0 takes a free one.")]
    serves: Annotated[
        Literal["inference", "inference-grpc", "admin", "metrics", "dashboards", "otlp", "otlp-grpc"],
        Meta(description="What is served there; inference when left out."),
    ] = "inference"
    tls: Annotated[TlsWritten | None, Meta(description="The listener's certificate; plain HTTP when left out.")] = None
    plain: Annotated[
        Literal["allowed"] | None,
        Meta(description="Says that inference, or dashboards, may cross a network in the clear: one that is private."),
    ] = None
    client_certs: Annotated[
        ClientCertsWritten | None, Meta(description="What is asked of the caller's certificate; nothing when left out.")
    ] = None


class BoundsWritten(Written, frozen=True, kw_only=True):
    """Hard ceilings: a route or tier may only go lower."""

    header_bytes: Annotated[Size | None, Meta(description="Largest head of a request; 16KiB when left out.")] = None
    body_bytes: Annotated[Size | None, Meta(description="Largest body of a request; 64MiB when left out.")] = None
    idle_timeout: Annotated[
        Duration | None, Meta(description="How long a connection may stay without a request; 60s when left out.")
    ] = None
    header_timeout: Annotated[
        Duration | None, Meta(description="How long the head of a request may take to arrive; 10s when left out.")
    ] = None
    body_timeout: Annotated[
        Duration | None, Meta(description="How long a body may stand still while it arrives; 15s when left out.")
    ] = None
    max_deadline: Annotated[
        Duration | None, Meta(description="The longest a request may take, whatever it asks for; 120s when left out.")
    ] = None


class ExportWritten(Written, frozen=True, kw_only=True):
    """A receiver of OTLP over HTTP that gets all spans that are kept, in the hub's place."""

    to: Annotated[
        Url,
        Meta(
            description="Its address with the port; /v1/traces is added.",
            extra={"usual": "https://otlp.example.com:443/otlp"},
        ),
    ]
    headers: Annotated[
        SecretPlace | None,
        Meta(description='Where is kept which header fields are sent along, as {"authorization": "Bearer ..."}.'),
    ] = None
    ca: Annotated[
        FilePlace | None,
        Meta(description="The certificates that its own must lead to; those of the system when left out."),
    ] = None
    queue: Annotated[
        Size | None,
        Meta(description="What may wait for it on disk, for each sidecar; 64MiB when left out."),
    ] = None
    answer_within: Annotated[Duration | None, Meta(description="How long one answer may take; 5s when left out.")] = (
        None
    )


class TracingWritten(Written, frozen=True, kw_only=True):
    """Which requests leave a trace, and what of it is kept."""

    callers: Annotated[
        Literal["trust", "resample", "restart"] | None,
        Meta(
            description="What a caller's traceparent counts: trust (its trace, its choice to sample), resample (its "
            "trace, our choice) or restart (a new trace, linked to the caller's); resample when left out."
        ),
    ] = None
    kept_per_s: Annotated[
        Annotated[float, Meta(ge=0, le=MAX_KEPT_PER_S)] | None,
        Meta(
            description="Traces per second up to which all are kept, and above it this many beside errors and slow "
            "requests; 20 when left out, and 0 records nothing."
        ),
    ] = None
    baggage: Annotated[
        Annotated[list[BaggageKey], Meta(max_length=16)] | None,
        Meta(description="Keys of a caller's baggage that pods may see; none when left out."),
    ] = None
    attributes: Annotated[
        Annotated[list[AttributeKey], Meta(max_length=64)] | None,
        Meta(description="Attributes of spans that are kept beside Penstock's own and the standard ones."),
    ] = None
    export: Annotated[
        ExportWritten | None, Meta(description="Who gets the spans that are kept; the mesh's own hub when left out.")
    ] = None


class LogsWritten(Written, frozen=True, kw_only=True):
    """What processes tell people."""

    format: Annotated[
        Literal["auto", "text", "json"] | None,
        Meta(description="text, json (an object a line) or auto, text where a terminal reads; auto when left out."),
    ] = None
    level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        Meta(
            description="Lines below it are not written; info when left out. `penstock log level` changes it a while."
        ),
    ] = None
    handlers: Annotated[
        Literal["all", "without_messages", "nothing"] | None,
        Meta(
            description="What is written of a model's handler: all, even the text of its exceptions, which may quote a "
            "request; without_messages, what it prints and logs, and of exceptions types and places; or nothing but "
            "these types and places. without_messages when left out."
        ),
    ] = None


class ApiKeysWritten(Written, frozen=True, kw_only=True):
    """How callers show their API keys."""

    header: Annotated[
        HeaderName, Meta(description='The header that carries the key, as "Bearer KEY"; authorization when left out.')
    ] = "authorization"
    prefix: Annotated[
        Annotated[str, Meta(pattern=r"^[a-z]{2,8}$", extra={"expected": "2 to 8 small letters", "example": "msk"})]
        | None,
        Meta(description="What every key begins with, so that scanners find leaked ones."),
    ] = None


class JwksWritten(Written, frozen=True, kw_only=True):
    """Where an issuer publishes its keys."""

    url: Annotated[Url, Meta(description="The address of the key set.")]
    refresh: Annotated[Duration | None, Meta(description="How often it is fetched again.")] = None
    keep_stale: Annotated[Duration | None, Meta(description="How long old keys serve while it cannot be fetched.")] = (
        None
    )


class JwtWritten(Written, frozen=True, kw_only=True):
    """One issuer whose tokens are accepted."""

    name: Annotated[Name, Meta(description="What tenants call this issuer.")]
    issuer: Annotated[Url, Meta(description="The exact `iss` of its tokens.")]
    audiences: Annotated[
        Annotated[list[Text], Meta(min_length=1)], Meta(description="A token must name one of these as its `aud`.")
    ]
    algorithms: Annotated[
        Annotated[list[Algorithm], Meta(min_length=1)],
        Meta(description="Accepted signature algorithms; no others are."),
    ]
    jwks: Annotated[
        JwksWritten,
        Meta(description="Where the issuer's keys are.", extra={"usual": "{url: https://sso.example/jwks.json}"}),
    ]
    tenant_from: Annotated[ClaimPlace, Meta(description="The claim that names the tenant.")]
    scopes_from: Annotated[ClaimPlace | None, Meta(description="The claim that lists the scopes.")] = None
    groups_from: Annotated[
        ClaimPlace | None, Meta(description="The claim that lists groups, for roles; claim:groups when left out.")
    ] = None
    leeway: Annotated[
        Duration | None, Meta(description="How far the clocks of issuer and mesh may differ; 30s when left out.")
    ] = None


class AuthWritten(Written, frozen=True, kw_only=True):
    """How callers prove who they are; API keys in `authorization` when left out."""

    api_keys: Annotated[ApiKeysWritten | None, Meta(description="API keys, stored as digests with each tenant.")] = None
    jwt: Annotated[list[JwtWritten] | None, Meta(description="Issuers of tokens that are accepted.")] = None


class RoleWritten(Written, frozen=True, kw_only=True):
    """Who may do what on the admin listener."""

    name: Annotated[Name, Meta(description="The role's name, for its readers; the audit log names the caller.")]
    subjects: Annotated[
        Annotated[list[Text], Meta(min_length=1)], Meta(description='Who has it: "group:NAME", "san:URI", "key:ID".')
    ]
    may: Annotated[Annotated[list[Permission], Meta(min_length=1)], Meta(description="What it allows.")]
    on: Annotated[
        Annotated[list[Name], Meta(min_length=1)] | None,
        Meta(description="The models it is limited to; every model when left out."),
    ] = None


class AdminWritten(Written, frozen=True, kw_only=True):
    """Roles of the management API; nobody but the local token has one when left out."""

    roles: Annotated[list[RoleWritten] | None, Meta(description="Roles; what no role allows is refused.")] = None


class BreakerWritten(Written, frozen=True, kw_only=True):
    """When the state store is left alone for a while."""

    failures: Annotated[Count, Meta(description="After so many failures in a row.")]
    open_for: Annotated[Duration, Meta(description="For so long.")]


class StoreWritten(Written, frozen=True, kw_only=True):
    """Where counters that several gateways share are kept."""

    url: Annotated[SecretPlace, Meta(description="Where the address of the store is kept.")]
    timeout: Annotated[Duration | None, Meta(description="Longest wait for one answer of the store.")] = None
    breaker: Annotated[BreakerWritten | None, Meta(description="When the store is left alone for a while.")] = None


class StateWritten(Written, frozen=True, kw_only=True):
    """Shared state; each gateway counts alone when left out."""

    store: Annotated[StoreWritten | None, Meta(description="The store that several gateways share.")] = None
    on_outage: Annotated[
        Literal["local-share", "allow", "refuse"] | None, Meta(description="What limits do while the store is away.")
    ] = None


class WebhookWritten(Written, frozen=True, kw_only=True):
    """One address that is told when an alert begins and when it is over."""

    url: Annotated[
        UrlOrPlace, Meta(description="Where it is told, by POST; or where that address is kept, if it is a secret.")
    ]
    authorization: Annotated[
        SecretPlace | None, Meta(description="Where is kept what the header `authorization` says, such as `Bearer …`.")
    ] = None
    signature: Annotated[
        SecretPlace | None,
        Meta(
            description="Where the key is kept that each body is signed with, `whsec_` and base64 of 24 to 64 bytes; "
            "while it is replaced, the new one, a blank, and the old one."
        ),
    ] = None


class AlertsWritten(Written, frozen=True, kw_only=True):
    """Who is told of alerts beside the mesh's own output; nobody when left out."""

    webhooks: Annotated[
        Annotated[list[WebhookWritten], Meta(max_length=8)] | None,
        Meta(description="Addresses that are told when an alert begins and when it is over."),
    ] = None
    alertmanager: Annotated[
        Url | None,
        Meta(
            description="An Alertmanager, without /api/v2/alerts; it is told all alerts that fire, again each minute.",
            extra={"usual": "http://127.0.0.1:9093"},
        ),
    ] = None
    alertmanager_authorization: Annotated[
        SecretPlace | None,
        Meta(description="Where is kept what the header `authorization` says to the Alertmanager, such as `Bearer …`."),
    ] = None
    dashboards: Annotated[
        Url | None,
        Meta(
            description="The mesh's pages as people reach them, for links of alerts; where they listen when left out."
        ),
    ] = None
    runbooks: Annotated[
        Url | None,
        Meta(
            description="Below this address lies a page for each kind of alert, such as slo-page-fast.md; the pages of "
            "the documentation when left out."
        ),
    ] = None


class MeshFile(Written, frozen=True, kw_only=True):
    """mesh.yaml: what holds for the whole gateway."""

    kind: Annotated[Literal["mesh/v1"], Meta(description="What this file is: mesh/v1.")]
    listen: Annotated[
        Annotated[list[ListenWritten], Meta(min_length=1, max_length=16)] | None,
        Meta(
            description="Addresses; when left out, on 127.0.0.1 8080 for inference, 7070 for inference-grpc, "
            "8081 for admin, 8082 for metrics, "
            "8090 for dashboards, 4318 for otlp and 4317 for otlp-grpc."
        ),
    ] = None
    bounds: Annotated[BoundsWritten | None, Meta(description="Hard ceilings for every request.")] = None
    tracing: Annotated[
        TracingWritten | None, Meta(description="Which requests leave a trace, and what of it is kept.")
    ] = None
    logs: Annotated[LogsWritten | None, Meta(description="What processes tell people.")] = None
    auth: Annotated[AuthWritten | None, Meta(description="How callers prove who they are.")] = None
    admin: Annotated[AdminWritten | None, Meta(description="Roles of the management API.")] = None
    alerts: Annotated[AlertsWritten | None, Meta(description="Who is told of alerts beside the mesh's own output.")] = (
        None
    )
    state: Annotated[StateWritten | None, Meta(description="Where counters that several gateways share are kept.")] = (
        None
    )
    torchserve_compat: Annotated[
        Literal["strict"] | None, Meta(description="strict: TorchServe's status codes on TorchServe's paths.")
    ] = None
    # Last and never left out: see `written`.
    name: Annotated[Name, Meta(description="The mesh's name in telemetry and status.")]
