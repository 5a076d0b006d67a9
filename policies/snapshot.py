"""Snapshot: one whole, validated, numbered generation of policy, with every number in seconds and bytes."""

from collections.abc import Mapping
from math import ceil
from typing import Literal

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
        is_copied: it allows that its requests are copied to shadows, and recorded.
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
    is_copied: bool = False


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


EventSort = Literal["requests", "loads", "labels"]
"""What an objective counts: requests, loads of pods, or answers whose label was told later."""


class Objective(Struct, frozen=True):
    """What share of a model's requests, of its pods' loads or of its labelled answers must be good.

    Attributes:
        model: "" for every route that names the objective.
        period_s: over which the error budget is spent.
        target: share of good events, as the shortest decimal that was written: 0.999.
        status_below: a good answer's status is below this; 0 where a good event is told otherwise.
        within_s: and it came within this time; None for any time.
        ignore_status: answers that say nothing; None ignores every 4xx, which are the caller's own. 499, a caller that
            left, says nothing in either case unless it waited longer than ``within_s`` and is not named.
        by: what it is counted apart by besides the model: "version", "tier".
        first_byte_within_s: instead of ``within_s``: the first byte of a good answer came within this time.
        pod: "ready" for the requests that came to a pod that was; "" where a good event is told otherwise.
        loads_within_s: a good load of a pod takes no longer; None where a good event is told otherwise.
        label: "right" for the answers whose label was; "" where a good event is told otherwise.
        likely_within_s: a ticket says that the budget ends within this time at the pace of now; 0 is off.
        tells_exhausted: a ticket says that the budget is spent.
    """

    name: str
    owner: str
    period_s: float
    target: float
    status_below: int = 0
    within_s: float | None = None
    ignore_status: tuple[int, ...] | None = None
    model: str = ""
    by: tuple[str, ...] = ("version",)
    alerts: tuple[BurnAlert, ...] = ()
    guards: Guards = Guards()
    first_byte_within_s: float | None = None
    pod: str = ""
    loads_within_s: float | None = None
    label: str = ""
    likely_within_s: float = 0.0
    tells_exhausted: bool = False

    @property
    def events(self) -> EventSort:
        """What it counts."""
        if self.loads_within_s is not None:
            return "loads"
        return "labels" if self.label else "requests"


class When(Struct, frozen=True):
    """Which requests a rule is for; all that is not empty must hold.

    Attributes:
        headers: names, in lower case, and the values they must have.
        scope: that the key must have; "" for any.
    """

    tenants: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    scope: str = ""


class ChooseRule(Struct, frozen=True):
    """Requests that go to one version whatever the canary does; the first rule that matches wins."""

    name: str
    when: When
    version: str


class LeftOut(Struct, frozen=True):
    """Tenants, and tiers of tenants, whose requests are left out."""

    tenants: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()


class CanaryStep(Struct, frozen=True):
    """One step of a canary.

    Attributes:
        share: of the sticky keys that are on the new version.
        hold_s: it lasts so long at least.
        at_least: and until the new version has answered so many requests.
        needs_approval: and until somebody promotes it.
        requires_shadow: and until the shadow of this name is called the same; "" for none.
    """

    share: float
    hold_s: float = 0.0
    at_least: int = 0
    needs_approval: bool = False
    requires_shadow: str = ""


class Judge(Struct, frozen=True):
    """What is held against a canary.

    Attributes:
        compare_to: the version it is compared to.
        harmful_above, safe_below: its rate of bad events over that of the other version.
        alpha: accepted chance of calling a canary harmful that is not.
        burn_above: it harms when its own requests burn the error budget faster than this over ``burn_over_s``; None
            for never.
        no_traffic_s: without a request for so long it is paused, and its owner told.
    """

    compare_to: str
    harmful_above: float = 1.2
    safe_below: float = 1.5
    alpha: float = 0.01
    burn_above: float | None = None
    burn_over_s: float = 900.0
    no_traffic_s: float = 7200.0


class Capacity(Struct, frozen=True):
    """What the new version's pods must have before a step gives them its share.

    Attributes:
        ready_pods_at_least: so many are ready.
        room: they can answer so many times what the share of the busiest minute of the last hour would be, going by
            what requests of the version have cost.
        keep_stable_s: stable's pods stay so long after the last step.
    """

    ready_pods_at_least: int = 1
    room: float = 1.3
    keep_stable_s: float = 0.0


class Canary(Struct, frozen=True):
    """A new version that gets a growing share of requests.

    Attributes:
        id: also the salt of who is in it.
        sticky_by: "tenant", "header:NAME" or "jwt:CLAIM"; the first that a request has decides for it, and chance where
            it has none.
        never: requests that are in neither arm, and stay with stable.
        judge: what decides whether it goes on.
        is_judged: False where no judge is written: it is judged all the same, and a person decides.
        on_harm: "rollback" or "pause".
        on_pass: "advance" or "pause".
        capacity: None where none is written: no step waits for room.
    """

    id: str
    version: str
    steps: tuple[CanaryStep, ...]
    judge: Judge
    is_judged: bool = True
    sticky_by: tuple[str, ...] = ()
    never: LeftOut = LeftOut()
    on_harm: str = "rollback"
    on_pass: str = "advance"  # noqa: S105 - what a passed step leads to
    capacity: Capacity | None = None


class Compare(Struct, frozen=True):
    """How one part of two answers is compared.

    Attributes:
        path: JSON Pointer into the answer; "" is all of it. ``/outputs/0/data`` is found in binary tensors too.
        kind: "label", "number", "probabilities", "ranking", "text" or "json".
        differ_above: they differ when the metric, a distance, is above this; None for the kind's own.
        differ_below: they differ when the metric, a likeness, is below this; None for the kind's own.
        metric: "equal", "abs", "rel", "cosine" or "overlap@N"; "" for the kind's own.
        atol, rtol: numbers are alike within ``atol + rtol * |stable's|``; None for what their type allows.
    """

    path: str
    kind: str
    metric: str = ""
    differ_above: float | None = None
    differ_below: float | None = None
    atol: float | None = None
    rtol: float | None = None


class ShadowVerdict(Struct, frozen=True):
    """When a shadow's answers are called the same, different or worse.

    Attributes:
        worse_above_noise: it differs when the share of answers that differ is above the noise floor by this.
        alpha: accepted chance of a wrong verdict.
        at_least: no verdict before so many comparisons.
    """

    worse_above_noise: float = 0.01
    alpha: float = 0.01
    at_least: int = 500


class Privacy(Struct, frozen=True):
    """What of a copied request is left out, and what is kept of it.

    Attributes:
        drop_headers: in lower case, besides those that are never copied.
        drop_fields: JSON Pointers into the body; ``*`` stands for every item of a list.
        keep: "nothing", "digests" or "bodies" (without what is dropped).
        keep_s: for so long.
    """

    drop_headers: tuple[str, ...] = ()
    drop_fields: tuple[str, ...] = ()
    keep: str = "digests"
    keep_s: float = 14 * 86_400.0


class ShadowLimits(Struct, frozen=True):
    """What a shadow may use.

    Attributes:
        in_flight: copies running at once.
        device_s, device_per_s: so many seconds of devices in each period of so many seconds; None for any.
        busy_share: no copy is sent while its pods have more than this share of what they may have in flight.
    """

    in_flight: int = 16
    device_s: float | None = None
    device_per_s: float = 86_400.0
    busy_share: float = 0.7


class Shadow(Struct, frozen=True):
    """A version that gets copies of requests, and whose answers no caller sees.

    Attributes:
        name: also the salt of what is copied.
        sample: share of sticky keys, or of requests where a request has none, that are copied.
        never: requests that are not copied.
        deadline_s: longest time for one copy.
        repeat_stable: share of all copies, of those that differ, that the version which answered is asked about again:
            the noise floor. Each of the first few is.
    """

    name: str
    version: str
    sample: float
    sample_by: tuple[str, ...] = ()
    never: LeftOut = LeftOut()
    limits: ShadowLimits = ShadowLimits()
    deadline_s: float = 5.0
    privacy: Privacy = Privacy()
    outputs: tuple[Compare, ...] = (Compare("", "json"),)
    repeat_stable: float = 0.02
    verdict: ShadowVerdict = ShadowVerdict()


class Recording(Struct, frozen=True):
    """Requests that are kept so that a version can be tried with them before it gets any.

    Attributes:
        sample: share of requests that are kept.
        max_bytes: all that is kept of the model; the oldest go first.
    """

    sample: float
    max_bytes: int = 64 * _MIB
    keep_s: float = 7 * 86_400.0
    never: LeftOut = LeftOut()
    drop_headers: tuple[str, ...] = ()
    drop_fields: tuple[str, ...] = ()


class Sampling(Struct, frozen=True):
    """Inputs and outputs that are kept for people to look at.

    Attributes:
        fields: JSON Pointers into the bodies of requests and answers; nothing else is kept.
        rate: share of requests that are kept by chance.
        triggers: "error", "slow", "drift" and "shadow_difference", as far as requests are kept on them besides.
        slower_than_s: how long an answer takes that is slow.
        per_minute: at most so many of each reason.
        redact: what is hidden in the texts of these fields; credentials always are.
        subject: JSON Pointer to whom a request is about; None where nothing says it.
        max_bytes: all that is kept of the model; the oldest go first.
    """

    fields: tuple[str, ...]
    rate: float = 0.0
    triggers: tuple[str, ...] = ()
    slower_than_s: float | None = None
    per_minute: int = 60
    redact: tuple[str, ...] = ("card", "email", "iban", "ip", "phone")
    subject: str | None = None
    max_bytes: int = 16 * _MIB
    keep_s: float = 7 * 86_400.0
    never: LeftOut = LeftOut()


class Feedback(Struct, frozen=True):
    """Labels that callers tell later (``POST /feedback``).

    Attributes:
        label: JSON Pointer to the label in an answer; "" is all of it.
        keep_s: how long a label may be told after the answer.
        judged: whether wrong labels are bad events to a canary's judge.
    """

    label: str
    keep_s: float = 86_400.0
    judged: bool = True


class Watched(Struct, frozen=True):
    """One part of an input or an output that is summarised.

    Attributes:
        path: JSON Pointer; its first step names a tensor or a form's field; "" is all of it.
        at_least, at_most: numbers outside are out of range; None for any.
        classes: texts that are counted by name.
    """

    path: str = ""
    at_least: float | None = None
    at_most: float | None = None
    classes: tuple[str, ...] = ()


class Drift(Struct, frozen=True):
    """How inputs and outputs of a model are summarised and compared.

    Attributes:
        sample: share of rows that are summarised.
        reference: the version whose first rows are compared with; "" for each version's own.
        reference_s: these are the rows of so long.
        alert_above: a population stability index.
    """

    sample: float
    inputs: tuple[Watched, ...] = (Watched(),)
    outputs: tuple[Watched, ...] = (Watched(),)
    reference: str = ""
    reference_s: float = 86_400.0
    window_s: float = 3600.0
    alert_above: float = 0.2


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
    choose: tuple[ChooseRule, ...] = ()
    canary: Canary | None = None
    shadows: tuple[Shadow, ...] = ()
    record: Recording | None = None
    feedback: Feedback | None = None
    drift: Drift | None = None
    samples: Sampling | None = None


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


class PolicyTest(Struct, frozen=True):
    """A request, and what must be decided for it.

    Attributes:
        place: "tests/NAME.yaml:LINE:COLUMN", for whoever has to mend it.
        tenant: "" for a caller whom nobody knows.
        scopes: of the credential; () for every scope that a key of the tenant has.
        api: "predict", "explain" or "infer".
        used: share of each quota that is used, by the quota's name.
        canary_share: as if the canary had reached this share; None for before its first step.
        expect_status, expect_version, expect_reason: what must be decided; None and "" for anything.
        expect_shadows: where it must be copied to, each sampled for sure; None for anything.
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
    canary_share: float | None = None
    expect_shadows: tuple[str, ...] | None = None


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


def drift_by_model(snapshot: Snapshot) -> dict[str, Drift]:
    """Return how the inputs and outputs of each model are watched; models that are not are left out."""
    return {route.model: route.drift for route in snapshot.routes.values() if route.drift is not None}


READ_HEADERS = ("penstock-version", "penstock-timeout-ms", "content-length")
"""Headers by which requests for any model are decided."""


def deciding_headers(routes: Mapping[str, Route]) -> frozenset[str]:
    """Return the names, in lower case, of the headers that some route decides by."""
    names: set[str] = set()
    for route in routes.values():
        names |= {name for rule in route.choose for name, _ in rule.when.headers}
        sticky = {key for shadow in route.shadows for key in shadow.sample_by}
        if route.canary is not None:
            sticky |= set(route.canary.sticky_by)
        names |= {key.partition(":")[2] for key in sticky if key.startswith("header:")}
    return frozenset(names)


def may_call(tenant: Tenant, model: str) -> bool:
    """Whether policy lets a tenant call a model."""
    return model in tenant.may_call or EVERY_MODEL in tenant.may_call


def default_burst(rate_per_s: float) -> int:
    """One second of the rate, and never less than one request."""
    return max(1, ceil(rate_per_s))
