"""routes/MODEL.yaml as written: the versions of one model, where their pods come from, and who gets which."""

from typing import Annotated, Literal

from msgspec import Meta

from policies import units
from policies.schema.limits import LimitWritten
from policies.schema.release import CanaryWritten, ChooseWritten, FeedbackWritten, RecordWritten, ShadowWritten
from policies.schema.samples import SamplesWritten
from policies.schema.watching import DriftWritten
from policies.schema.written import (
    Count,
    Duration,
    HostPort,
    Name,
    OneName,
    PathOnPod,
    PodAddress,
    Share,
    Size,
    Text,
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
    every: Annotated[
        Duration | None, Meta(description="How often, at most; when left out, 500ms while it is ready, 200ms else.")
    ] = None
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
        Annotated[list[ChooseWritten], Meta(max_length=64)] | None,
        Meta(description="Rules that come before the canary; the first that matches decides."),
    ] = None
    canary: Annotated[CanaryWritten | None, Meta(description="A new version that gets a growing share.")] = None
    shadow: Annotated[
        Annotated[list[ShadowWritten], Meta(max_length=16)] | None,
        Meta(description="Versions that get copies of requests, of tenants with `shadow: allow`."),
    ] = None
    record: Annotated[
        RecordWritten | None,
        Meta(description="Requests that are kept, of tenants with `shadow: allow`, to try a version with them."),
    ] = None
    feedback: Annotated[FeedbackWritten | None, Meta(description="Labels that callers tell later.")] = None
    drift: Annotated[
        DriftWritten | None,
        Meta(description="Whether inputs and outputs are summarised, and compared; not without it."),
    ] = None
    samples: Annotated[
        SamplesWritten | None,
        Meta(
            description="Named fields of inputs and outputs that people may look at, of tenants with `shadow: allow`; "
            "none without it."
        ),
    ] = None
    batching: Annotated[BatchingWritten | None, Meta(description="How rows run together.")] = None
    limits: Annotated[LimitWritten | None, Meta(description="The limit of all requests for this model.")] = None
    retry: Annotated[RetryWritten | None, Meta(description="When a request is tried on another pod.")] = None
    hedge: Annotated[HedgeWritten | None, Meta(description="Whether a slow request is sent to a second pod too.")] = (
        None
    )
    cache: Annotated[CacheWritten | None, Meta(description="Whether equal requests are answered from memory.")] = None
    # Last and never left out: see `written`.
    stable: Annotated[VersionName, Meta(description="The version that requests go to when nothing else is said.")]
