"""routes/MODEL.yaml as written: the versions of one model, where their pods come from, and who gets which."""

from typing import Annotated, Literal

from msgspec import Meta

from policies import units
from policies.schema.limits import LimitWritten
from policies.schema.written import (
    Count,
    Duration,
    Factor,
    HeaderName,
    HostPort,
    JsonPointer,
    Name,
    OneName,
    PathOnPod,
    PodAddress,
    Share,
    Size,
    StickyKey,
    Text,
    TimeShare,
    VersionName,
    Written,
)

Archive = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        examples=["digits-1.mar"],
        extra={"expected": "the name of an archive in the model store, without a path", "example": "digits-1.mar"},
    ),
]
Device = Annotated[
    str,
    Meta(
        pattern=r"^(?:auto|cpu|cuda:[0-9]{1,3})$",
        examples=["auto", "cuda:0"],
        extra={"expected": "a device: auto, cpu or cuda:N", "example": "auto"},
    ),
]
Metric = Annotated[
    str,
    Meta(
        pattern=r"^(?:equal|abs|rel|cosine|overlap@[1-9][0-9]{0,3})$",
        extra={"expected": "a metric: equal, abs, rel, cosine or overlap@N", "example": "abs"},
    ),
]
InFlight = Annotated[int, Meta(ge=1, le=65536)]
EjectedShare = Annotated[
    str,
    Meta(
        pattern=units.PERCENT_PATTERN,
        description="A share of the pods, from 0% to 50%: at least half of them stay.",
        examples=["34%"],
        extra={"unit": "percent", "at_most": 0.5, "limit": "50%"},
    ),
]
Choice = Literal["on", "off"]


class LaunchWritten(Written, frozen=True, kw_only=True):
    """Pods that are started from an archive of the model store."""

    archive: Annotated[Archive, Meta(description="The archive's name in the model store.")]
    count: Annotated[int, Meta(ge=1, le=256, description="How many pods; 1 when left out.")] = 1
    device: Annotated[Device, Meta(description="Where they run; auto takes the least used GPU, else the CPU.")] = "auto"


class KubernetesWritten(Written, frozen=True, kw_only=True):
    """Pods that a Kubernetes cluster runs."""

    namespace: Annotated[Name, Meta(description="The namespace of the service.")]
    service: Annotated[Name, Meta(description="The headless service whose endpoints are the pods.")]
    port: Annotated[int, Meta(ge=1, le=65535, description="The port that the pods listen on.")]


class BalanceWritten(Written, frozen=True, kw_only=True):
    """How one of the ready pods is picked."""

    by: Annotated[Literal["least-work"], Meta(description="The pod with the least outstanding work.")]
    choices: Annotated[int, Meta(ge=1, le=16, description="Of so many drawn at random; 2 when left out.")] = 2


class HealthWritten(Written, frozen=True, kw_only=True):
    """How pods are probed. Trouble that one of Penstock's own tells is believed at once; all but path are its too."""

    path: Annotated[
        PathOnPod | None,
        Meta(description="What is asked of a server that is not Penstock's; /v2/health/ready or /ping when left out."),
    ] = None
    every: Annotated[Duration | None, Meta(description="How often, at most; 200ms when left out.")] = None
    down_after: Annotated[
        Count | None,
        Meta(description="Left out after so many failures in a row; one clear no or two time-outs when left out."),
    ] = None
    up_after: Annotated[Count | None, Meta(description="Back after so many successes in a row; 1 when left out.")] = (
        None
    )


class EjectWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """When a pod that fails requests is left out."""

    after_failures: Annotated[Count, Meta(description="After so many failures in a row; 5 without eject.")]
    for_: Annotated[
        Duration, Meta(description="For so long the first time, then twice as long each time; 10s without eject.")
    ]
    at_most: Annotated[Duration | None, Meta(description="Never longer than this; 5m when left out.")] = None
    max_share: Annotated[
        EjectedShare | None, Meta(description="Never more than this share of the pods at once; 50% when left out.")
    ] = None


class PodsWritten(Written, frozen=True, kw_only=True):
    """Where the pods of a version come from (one of launch, static, dns, kubernetes) and how they are used."""

    launch: Annotated[LaunchWritten | None, Meta(description="Started from an archive of the model store.")] = None
    static: Annotated[
        Annotated[list[PodAddress], Meta(min_length=1, max_length=1024)] | None,
        Meta(description="Run by somebody else at these addresses."),
    ] = None
    dns: Annotated[HostPort | None, Meta(description="Run by somebody else, one at each address of this name.")] = None
    kubernetes: Annotated[KubernetesWritten | None, Meta(description="Run by a Kubernetes cluster.")] = None
    balance: Annotated[BalanceWritten | None, Meta(description="How one of the ready pods is picked.")] = None
    health: Annotated[HealthWritten | None, Meta(description="How pods are probed.")] = None
    eject: Annotated[EjectWritten | None, Meta(description="When a pod that fails requests is left out.")] = None
    in_flight: Annotated[InFlight, Meta(description="Most requests running in one pod; 1024 when left out.")] = 1024


class VersionWritten(Written, frozen=True, kw_only=True):
    """One immutable build of the model."""

    pods: Annotated[PodsWritten, Meta(description="Where its pods come from.")]


class WhenWritten(Written, frozen=True, kw_only=True):
    """Which requests a rule is for; all that is written must hold."""

    tenant: Annotated[list[Name] | None, Meta(description="The caller is one of these tenants.")] = None
    tier: Annotated[list[Name] | None, Meta(description="The caller's tier is one of these.")] = None
    header: Annotated[dict[HeaderName, Text] | None, Meta(description="These headers have these values.")] = None
    scope: Annotated[Literal["infer", "explain", "pin"] | None, Meta(description="The key has this scope.")] = None


class ChooseWritten(Written, frozen=True, kw_only=True):
    """A rule that sends some requests to one version; the first that matches wins."""

    name: Annotated[Name, Meta(description="What decisions and tests call this rule.")]
    when: Annotated[WhenWritten, Meta(description="Which requests it is for.")]
    use: Annotated[VersionName, Meta(description="The version they go to.")]


class NeverWritten(Written, frozen=True, kw_only=True):
    """Requests that are left out."""

    tenant: Annotated[list[Name] | None, Meta(description="Those of these tenants.")] = None
    tier: Annotated[list[Name] | None, Meta(description="Those of tenants of these tiers.")] = None


class StepWritten(Written, frozen=True, kw_only=True):
    """One step of a canary."""

    share: Annotated[Share, Meta(description="The share of requests that go to the new version.")]
    hold: Annotated[Duration | None, Meta(description="At least so long; a last step of 100% needs none.")] = None
    at_least: Annotated[Count | None, Meta(description="And until it has answered so many requests.")] = None
    needs: Annotated[Literal["approval"] | None, Meta(description="And until somebody promotes it.")] = None


class BadEventsWritten(Written, frozen=True, kw_only=True):
    """How bad events of the two versions are compared."""

    harmful_above: Annotated[Factor, Meta(description="Surely more than so many times as many: harm.")]
    safe_below: Annotated[Factor, Meta(description="Surely fewer than so many times as many: safe.")]
    alpha: Annotated[float, Meta(gt=0, lt=1, description="The accepted chance of a wrong verdict.")]


class BurnWritten(Written, frozen=True, kw_only=True):
    """How fast the error budget may burn."""

    rollback_above: Annotated[
        float, Meta(gt=0, le=1000, description="Faster than so many times the allowed rate: harm.")
    ]
    over: Annotated[Duration, Meta(description="Measured over this time.")]


class JudgeWritten(Written, frozen=True, kw_only=True):
    """What decides whether a canary goes on."""

    compare_to: Annotated[
        VersionName | None, Meta(description="The version it is compared to; stable when left out.")
    ] = None
    bad_events: Annotated[BadEventsWritten | None, Meta(description="How bad events are compared.")] = None
    burn: Annotated[BurnWritten | None, Meta(description="How fast the error budget may burn.")] = None
    no_traffic_for: Annotated[
        Duration | None, Meta(description="After so long without requests it is paused and its owner told.")
    ] = None


class CapacityWritten(Written, frozen=True, kw_only=True):
    """The pods that a step needs before it begins."""

    ready_pods_at_least: Annotated[Count | None, Meta(description="So many pods of the new version are ready.")] = None
    keep_stable_for: Annotated[Duration | None, Meta(description="Stable's pods stay so long after the last step.")] = (
        None
    )


class CanaryWritten(Written, frozen=True, kw_only=True):
    """A new version that gets a growing share of requests."""

    id: Annotated[Name, Meta(description="Its name; a new one draws anew who is in it.")]
    version: Annotated[VersionName, Meta(description="The new version.")]
    sticky_by: Annotated[
        list[StickyKey] | None, Meta(description="What keeps a caller on one version: the first that a request has.")
    ] = None
    never: Annotated[NeverWritten | None, Meta(description="Requests that stay with stable.")] = None
    steps: Annotated[Annotated[list[StepWritten], Meta(min_length=1)], Meta(description="Its steps, in order.")]
    judge: Annotated[
        JudgeWritten | None, Meta(description="What decides whether it goes on; a person when left out.")
    ] = None
    on_harm: Annotated[Literal["rollback", "pause"] | None, Meta(description="What harm leads to.")] = None
    on_pass: Annotated[Literal["advance", "pause"] | None, Meta(description="What a passed step leads to.")] = None
    capacity: Annotated[CapacityWritten | None, Meta(description="The pods that a step needs before it begins.")] = None


class NoiseFloorWritten(Written, frozen=True, kw_only=True):
    """How much a version differs from itself."""

    repeat_stable: Annotated[Share, Meta(description="The share of requests that stable answers twice.")]


class OutputWritten(Written, frozen=True, kw_only=True, rename={"as_": "as"}):
    """One part of the answer that is compared."""

    path: Annotated[JsonPointer, Meta(description="Where it is in the answer.")]
    as_: Annotated[Literal["label", "ranking", "float", "text"], Meta(description="What it is.")]
    metric: Annotated[Metric | None, Meta(description="How two of them are compared.")] = None
    differ_below: Annotated[float | None, Meta(description="They differ when the metric is below this.")] = None
    differ_above: Annotated[float | None, Meta(description="They differ when the metric is above this.")] = None


class VerdictWritten(Written, frozen=True, kw_only=True):
    """When a comparison is decided."""

    worse_if_above_noise_by: Annotated[
        Share | None, Meta(description="Worse when it differs so much more than noise.")
    ] = None
    alpha: Annotated[
        Annotated[float, Meta(gt=0, lt=1)] | None, Meta(description="The accepted chance of a wrong verdict.")
    ] = None
    at_least: Annotated[Count | None, Meta(description="Not before so many comparisons.")] = None


class CompareWritten(Written, frozen=True, kw_only=True):
    """How the shadow's answers are compared with stable's."""

    noise_floor: Annotated[NoiseFloorWritten | None, Meta(description="How much stable differs from itself.")] = None
    outputs: Annotated[Annotated[list[OutputWritten], Meta(min_length=1)], Meta(description="What is compared.")]
    verdict: Annotated[VerdictWritten | None, Meta(description="When it is decided.")] = None


class ShadowLimitsWritten(Written, frozen=True, kw_only=True):
    """What a shadow may use."""

    in_flight: Annotated[Count | None, Meta(description="Most copies running at once.")] = None
    gpu_time: Annotated[TimeShare | None, Meta(description="Most device time.")] = None
    stop_when_pool_busy: Annotated[Share | None, Meta(description="None while its pods are busier than this.")] = None


class PrivacyWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """What of a copied request is left out, and what is kept."""

    drop_headers: Annotated[list[HeaderName] | None, Meta(description="Headers that are not copied.")] = None
    drop_fields: Annotated[list[JsonPointer] | None, Meta(description="Parts of the body that are not copied.")] = None
    keep: Annotated[
        Literal["digests", "nothing", "bodies"] | None, Meta(description="What is kept of the answers.")
    ] = None
    for_: Annotated[Duration | None, Meta(description="For so long.")] = None


class ShadowWritten(Written, frozen=True, kw_only=True):
    """A version that gets copies of requests and whose answers no caller sees."""

    name: Annotated[Name, Meta(description="Its name in reports.")]
    version: Annotated[VersionName, Meta(description="The version that gets the copies.")]
    sample: Annotated[Share, Meta(description="The share of requests that are copied.")]
    sample_by: Annotated[list[StickyKey] | None, Meta(description="What keeps a caller in or out of the sample.")] = (
        None
    )
    never: Annotated[NeverWritten | None, Meta(description="Requests that are not copied.")] = None
    limits: Annotated[ShadowLimitsWritten | None, Meta(description="What it may use.")] = None
    deadline: Annotated[Duration | None, Meta(description="Longest time for one copy.")] = None
    privacy: Annotated[PrivacyWritten | None, Meta(description="What is left out and what is kept.")] = None
    compare: Annotated[CompareWritten | None, Meta(description="How its answers are compared.")] = None


class BatchingWritten(Written, frozen=True, kw_only=True):
    """How rows run together."""

    max_rows: Annotated[
        Annotated[int, Meta(ge=1, le=65536)] | None,
        Meta(description="Most rows of a batch; the archive's when left out."),
    ] = None
    max_wait: Annotated[
        Duration | None,
        Meta(description="Longest wait for a batch to fill while the device is busy; the archive's when left out."),
    ] = None


class RetryWritten(Written, frozen=True, kw_only=True):
    """When a request is tried on another pod; without it, after connect and refused, twice more, budget 20%."""

    on: Annotated[
        Annotated[list[Literal["connect", "refused", "reset-before-response"]], Meta(min_length=1)],
        Meta(
            description="After these failures. connect and refused cannot have run the request; "
            "reset-before-response may have, so write it only where running a request twice does no harm."
        ),
    ]
    attempts: Annotated[int, Meta(ge=1, le=5, description="So many times more.")]
    budget: Annotated[Share, Meta(description="Never for more than this share of the model's requests.")]


class HedgeWritten(Written, frozen=True, kw_only=True):
    """Whether a slow request is sent to a second pod too."""

    mode: Annotated[Choice, Meta(description="on or off.")]
    after: Annotated[Duration | None, Meta(description="After this time without an answer.")] = None
    budget: Annotated[Share | None, Meta(description="Never for more than this share of requests.")] = None


class CacheWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """Whether equal requests are answered from memory."""

    mode: Annotated[Choice, Meta(description="on or off.")]
    for_: Annotated[Duration | None, Meta(description="How long an answer is kept.")] = None
    max_bytes: Annotated[Size | None, Meta(description="Most memory for answers.")] = None


class RouteFile(Written, frozen=True, kw_only=True):
    """routes/MODEL.yaml: how requests for one model find a version."""

    kind: Annotated[Literal["route/v1"], Meta(description="What this file is: route/v1.")]
    model: Annotated[Name, Meta(description="The model's name, as in the file's name and in request paths.")]
    owner: Annotated[Text, Meta(description="Who answers for it.")]
    slo: Annotated[
        OneName | Annotated[list[Name], Meta(max_length=16)] | None, Meta(description="Its objectives in slos.yaml.")
    ] = None
    timeout: Annotated[Duration | None, Meta(description="Longest time for one request.")] = None
    body_bytes: Annotated[Size | None, Meta(description="Largest body of a request; the mesh's when left out.")] = None
    stream: Annotated[bool | None, Meta(description="Whether answers come in parts.")] = None
    versions: Annotated[
        Annotated[dict[VersionName, VersionWritten], Meta(min_length=1)],
        Meta(description='Versions by name; a name of digits is written in quotes, "1".'),
    ]
    choose: Annotated[
        list[ChooseWritten] | None, Meta(description="Rules that come before the canary; first match wins.")
    ] = None
    canary: Annotated[CanaryWritten | None, Meta(description="A new version that gets a growing share.")] = None
    shadow: Annotated[list[ShadowWritten] | None, Meta(description="Versions that get copies of requests.")] = None
    batching: Annotated[BatchingWritten | None, Meta(description="How rows run together.")] = None
    limits: Annotated[LimitWritten | None, Meta(description="The limit of all requests for this model.")] = None
    retry: Annotated[RetryWritten | None, Meta(description="When a request is tried on another pod.")] = None
    hedge: Annotated[HedgeWritten | None, Meta(description="Whether a slow request is sent to a second pod too.")] = (
        None
    )
    cache: Annotated[CacheWritten | None, Meta(description="Whether equal requests are answered from memory.")] = None
    # Last and never left out: see `written`.
    stable: Annotated[VersionName, Meta(description="The version that requests go to when nothing else is said.")]
