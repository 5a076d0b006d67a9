"""Releases on live traffic as written in a route: rules, a canary, shadows, what is recorded, late labels."""

from typing import Annotated, Literal

from msgspec import Meta

from policies.schema.written import (
    Count,
    Duration,
    Factor,
    HeaderName,
    JsonPointer,
    Name,
    Share,
    Size,
    StickyKey,
    Text,
    TimeShare,
    VersionName,
    Written,
)

Metric = Annotated[
    str,
    Meta(
        pattern=r"^(?:equal|abs|rel|cosine|overlap@[1-9][0-9]{0,3})$",
        extra={"expected": "a metric: equal, abs, rel, cosine or overlap@N", "example": "abs"},
    ),
]
Requirement = Annotated[
    str,
    Meta(
        pattern=r"^shadow/[A-Za-z][A-Za-z0-9._-]{0,62} same$",
        examples=["shadow/dark same"],
        extra={"expected": "what a shadow must be called, shadow/NAME same", "example": "shadow/dark same"},
    ),
]
Chance = Annotated[float, Meta(gt=0, lt=1)]
Tolerance = Annotated[float, Meta(ge=0)]
Names = Annotated[list[Name], Meta(min_length=1, max_length=1000)]
StickyKeys = Annotated[list[StickyKey], Meta(min_length=1, max_length=8)]
HeaderNames = Annotated[list[HeaderName], Meta(max_length=64)]
JsonPointers = Annotated[list[JsonPointer], Meta(max_length=64)]


class WhenWritten(Written, frozen=True, kw_only=True):
    """Which requests a rule is for; all that is written must hold."""

    tenant: Annotated[Names | None, Meta(description="The caller is one of these tenants.")] = None
    tier: Annotated[Names | None, Meta(description="The caller's tier is one of these.")] = None
    header: Annotated[
        Annotated[dict[HeaderName, Text], Meta(min_length=1)] | None,
        Meta(description="These headers have these values; any caller can send them, unless scope is written too."),
    ] = None
    scope: Annotated[Literal["infer", "explain", "pin"] | None, Meta(description="The key has this scope.")] = None


class ChooseWritten(Written, frozen=True, kw_only=True):
    """A rule that sends some requests to one version; the first that matches wins."""

    name: Annotated[Name, Meta(description="What decisions and tests call this rule.")]
    when: Annotated[WhenWritten, Meta(description="Which requests it is for.")]
    use: Annotated[VersionName, Meta(description="The version they go to.")]


class NeverWritten(Written, frozen=True, kw_only=True):
    """Requests that are left out."""

    tenant: Annotated[Names | None, Meta(description="Those of these tenants.")] = None
    tier: Annotated[Names | None, Meta(description="Those of tenants of these tiers.")] = None


class StepWritten(Written, frozen=True, kw_only=True):
    """One step of a canary."""

    share: Annotated[Share, Meta(description="The share of sticky keys whose requests go to the new version.")]
    hold: Annotated[Duration | None, Meta(description="At least so long; a last step of 100% needs none.")] = None
    at_least: Annotated[Count | None, Meta(description="And until it has answered so many requests.")] = None
    needs: Annotated[Literal["approval"] | None, Meta(description="And until somebody promotes it.")] = None
    requires: Annotated[
        Requirement | None,
        Meta(description="And until the shadow of this name, of the new version, is called the same as stable."),
    ] = None


class BadEventsWritten(Written, frozen=True, kw_only=True):
    """How bad events of the two versions are compared."""

    harmful_above: Annotated[
        Factor | None, Meta(description="Surely more than so many times as many: harm; 1.2x when left out.")
    ] = None
    safe_below: Annotated[
        Factor | None, Meta(description="Surely fewer than so many times as many: safe; 1.5x when left out.")
    ] = None
    alpha: Annotated[Chance | None, Meta(description="The accepted chance of a wrong verdict; 0.01 when left out.")] = (
        None
    )


class BurnWritten(Written, frozen=True, kw_only=True):
    """How fast the error budget may burn."""

    rollback_above: Annotated[
        float, Meta(gt=0, le=1000, description="Faster than so many times the allowed rate: harm.")
    ]
    over: Annotated[Duration, Meta(description="Measured over this time.")]


class JudgeWritten(Written, frozen=True, kw_only=True):
    """What decides whether a canary goes on."""

    compare_to: Annotated[
        VersionName | None, Meta(description="The version it is compared to, which is stable; stable when left out.")
    ] = None
    bad_events: Annotated[BadEventsWritten | None, Meta(description="How bad events are compared.")] = None
    burn: Annotated[
        BurnWritten | None, Meta(description="How fast the error budget may burn; as fast as it likes when left out.")
    ] = None
    no_traffic_for: Annotated[
        Duration | None,
        Meta(description="After so long without requests it is paused and its owner told; 2h when left out."),
    ] = None


class CapacityWritten(Written, frozen=True, kw_only=True):
    """What the new version's pods must have before a step begins."""

    ready_pods_at_least: Annotated[
        Count | None, Meta(description="So many pods of the new version are ready; 1 when left out.")
    ] = None
    room: Annotated[
        Factor | None,
        Meta(
            description="They can answer so many times the step's share of the busiest minute of the last hour; "
            "1.3x when left out."
        ),
    ] = None
    keep_stable_for: Annotated[
        Duration | None, Meta(description="Stable's pods stay so long after the last step; 0s when left out.")
    ] = None


class CanaryWritten(Written, frozen=True, kw_only=True):
    """A new version that gets a growing share of requests."""

    id: Annotated[Name, Meta(description="Its name; a new one begins anew, and draws anew who is in it.")]
    version: Annotated[VersionName, Meta(description="The new version.")]
    sticky_by: Annotated[
        StickyKeys | None,
        Meta(
            description="What keeps a caller on one version: the first of these that a request has; "
            "chance, request by request, where it has none."
        ),
    ] = None
    never: Annotated[NeverWritten | None, Meta(description="Requests that stay with stable and count for neither.")] = (
        None
    )
    steps: Annotated[
        Annotated[list[StepWritten], Meta(min_length=1, max_length=32)],
        Meta(description="Its steps, in order; when the last is over and below 100%, it waits for a person."),
    ]
    judge: Annotated[
        JudgeWritten | None, Meta(description="What decides whether it goes on; a person when left out.")
    ] = None
    on_harm: Annotated[
        Literal["rollback", "pause"] | None, Meta(description="What harm leads to; rollback when left out.")
    ] = None
    on_pass: Annotated[
        Literal["advance", "pause"] | None, Meta(description="What a passed step leads to; advance when left out.")
    ] = None
    capacity: Annotated[
        CapacityWritten | None, Meta(description="What pods a step needs before it begins; any when left out.")
    ] = None


class NoiseFloorWritten(Written, frozen=True, kw_only=True):
    """How much a version differs from itself."""

    repeat_stable: Annotated[
        Share, Meta(description="The share of copies that stable answers a second time; 2% without noise_floor.")
    ]


class OutputWritten(Written, frozen=True, kw_only=True, rename={"as_": "as"}):
    """One part of the answer that is compared."""

    path: Annotated[
        JsonPointer | None,
        Meta(description="Where it is in the answer, `*` for every item of a list; all of it when left out."),
    ] = None
    as_: Annotated[
        Literal["label", "number", "probabilities", "ranking", "text", "json", "float"],
        Meta(description="What it is; float is number."),
    ]
    metric: Annotated[
        Metric | None,
        Meta(
            description="How two are compared: a number by abs, rel or cosine, probabilities by abs, a ranking by "
            "overlap@N, any by equal; by the usual of what it is when left out."
        ),
    ] = None
    differ_below: Annotated[
        Annotated[float, Meta(ge=-1, le=1)] | None,
        Meta(description="They differ when the metric, a likeness (cosine, overlap@N), is below this."),
    ] = None
    differ_above: Annotated[
        Annotated[float, Meta(ge=0)] | None, Meta(description="They differ when the metric, a distance, is above this.")
    ] = None
    atol: Annotated[
        Tolerance | None,
        Meta(description="Numbers are alike within atol + rtol of stable's; what their type allows when left out."),
    ] = None
    rtol: Annotated[Tolerance | None, Meta(description="See atol.")] = None


class VerdictWritten(Written, frozen=True, kw_only=True):
    """When a comparison is decided."""

    worse_if_above_noise_by: Annotated[
        Share | None, Meta(description="It differs when it does so much more often than noise; 1% when left out.")
    ] = None
    alpha: Annotated[Chance | None, Meta(description="The accepted chance of a wrong verdict; 0.01 when left out.")] = (
        None
    )
    at_least: Annotated[Count | None, Meta(description="Not before so many comparisons; 500 when left out.")] = None


class CompareWritten(Written, frozen=True, kw_only=True):
    """How the shadow's answers are compared with stable's."""

    noise_floor: Annotated[NoiseFloorWritten | None, Meta(description="How much stable differs from itself.")] = None
    outputs: Annotated[
        Annotated[list[OutputWritten], Meta(min_length=1, max_length=16)] | None,
        Meta(description="What is compared; the whole answer as json when left out."),
    ] = None
    verdict: Annotated[VerdictWritten | None, Meta(description="When it is decided.")] = None


class ShadowLimitsWritten(Written, frozen=True, kw_only=True):
    """What a shadow may use."""

    in_flight: Annotated[Count | None, Meta(description="Most copies running at once; 16 when left out.")] = None
    device_time: Annotated[
        TimeShare | None, Meta(description="Most device time per hour or day; any when left out.")
    ] = None
    gpu_time: Annotated[TimeShare | None, Meta(description="The same as device_time.")] = None
    stop_when_pool_busy: Annotated[
        Share | None,
        Meta(description="No copy while its pods have more than this of what they may have; 70% when left out."),
    ] = None


class PrivacyWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """What of a copied request is left out, and what is kept."""

    drop_headers: Annotated[
        HeaderNames | None, Meta(description="Headers that are not copied, besides credentials and cookies.")
    ] = None
    drop_fields: Annotated[
        JsonPointers | None,
        Meta(description="Parts of the body that are not copied; `*` in a pointer stands for every item of a list."),
    ] = None
    keep: Annotated[
        Literal["digests", "nothing", "bodies"] | None,
        Meta(description="What is kept of answers that differ most; digests when left out."),
    ] = None
    for_: Annotated[Duration | None, Meta(description="For so long; 14d when left out.")] = None


class ShadowWritten(Written, frozen=True, kw_only=True):
    """A version that gets copies of requests and whose answers no caller sees."""

    name: Annotated[Name, Meta(description="Its name in reports; a new one draws anew what is copied.")]
    version: Annotated[VersionName, Meta(description="The version that gets the copies.")]
    sample: Annotated[Share, Meta(description="The share of requests that are copied.")]
    sample_by: Annotated[
        StickyKeys | None,
        Meta(
            description="What keeps a caller in or out of the sample: the first of these that a request has; "
            "chance where it has none."
        ),
    ] = None
    never: Annotated[NeverWritten | None, Meta(description="Requests that are not copied.")] = None
    limits: Annotated[ShadowLimitsWritten | None, Meta(description="What it may use.")] = None
    deadline: Annotated[Duration | None, Meta(description="Longest time for one copy; 5s when left out.")] = None
    privacy: Annotated[PrivacyWritten | None, Meta(description="What is left out and what is kept.")] = None
    compare: Annotated[CompareWritten | None, Meta(description="How its answers are compared.")] = None


class RecordWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """Requests that are kept for a while, so that a version can be tried with them before it gets any."""

    sample: Annotated[Share, Meta(description="The share of requests that are kept.")]
    at_most: Annotated[
        Size | None, Meta(description="All that is kept of the model; the oldest go first; 64MiB when left out.")
    ] = None
    for_: Annotated[Duration | None, Meta(description="For so long; 7d when left out.")] = None
    never: Annotated[NeverWritten | None, Meta(description="Requests that are not kept.")] = None
    drop_headers: Annotated[
        HeaderNames | None, Meta(description="Headers that are not kept, besides credentials and cookies.")
    ] = None
    drop_fields: Annotated[
        JsonPointers | None,
        Meta(description="Parts of the body that are not kept; `*` in a pointer stands for every item of a list."),
    ] = None


class FeedbackWritten(Written, frozen=True, kw_only=True, rename={"for_": "for"}):
    """Labels that callers tell later, with `POST /feedback`."""

    label: Annotated[
        JsonPointer | None, Meta(description="Where an answer has its label; all of it when left out.")
    ] = None
    for_: Annotated[
        Duration | None, Meta(description="How long after the answer a label may be told; 24h when left out.")
    ] = None
    judged: Annotated[
        bool | None,
        Meta(description="Whether wrong labels are bad events to the judge of a canary; true when left out."),
    ] = None
