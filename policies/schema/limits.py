"""limits.yaml as written: tiers, and limits that several tenants share."""

from typing import Annotated, Literal

from msgspec import Meta

from policies.schema.written import Count, Duration, Name, OneName, Rate, Written

LimitMode = Annotated[
    Literal["enforce", "observe"], Meta(description="observe: count and tell, never refuse; enforce when left out.")
]


class LimitWritten(Written, frozen=True, kw_only=True):
    """A rate, a bound on requests in flight, or both; it holds beside every other limit."""

    rate: Annotated[Rate | None, Meta(description="Requests per time; any when left out.")] = None
    burst: Annotated[
        Count | None, Meta(description="Requests at once, when none came before; one second of the rate when left out.")
    ] = None
    in_flight: Annotated[Count | None, Meta(description="Requests running at once; any number when left out.")] = None
    mode: LimitMode = "enforce"


class QueueWritten(Written, frozen=True, kw_only=True):
    """How many requests of each tenant may wait for the pods of a version while they are busy, and how long."""

    length: Annotated[Annotated[int, Meta(ge=1, le=4096)], Meta(description="Most requests waiting.")]
    wait: Annotated[Duration, Meta(description="Longest wait; 0s refuses at once.")]


class TierWritten(Written, frozen=True, kw_only=True):
    """What each tenant of this tier may use."""

    priority: Annotated[
        Annotated[int, Meta(ge=-1000, le=1000)] | None,
        Meta(description="Strict order between tiers when pods are busy, 0 when left out; below 0 is refused first."),
    ] = None
    weight: Annotated[
        Annotated[int, Meta(ge=1, le=1000)] | None,
        Meta(description="Share among tenants of the same priority; 1 when left out."),
    ] = None
    rate: Annotated[Rate | None, Meta(description="Requests per time of each tenant; no limit when left out.")] = None
    burst: Annotated[
        Count | None, Meta(description="Requests at once, when none came before; one second of the rate when left out.")
    ] = None
    in_flight: Annotated[Count | None, Meta(description="Requests of one tenant running at once.")] = None
    mode: LimitMode = "enforce"
    queue: Annotated[
        QueueWritten | None, Meta(description="What may wait while pods are busy; 64 for 1s when left out.")
    ] = None
    deadline: Annotated[Duration | None, Meta(description="The deadline of a request whose caller sends none.")] = None


class AppliesToWritten(Written, frozen=True, kw_only=True):
    """What a shared limit is drawn on by; all that is written must hold."""

    route: Annotated[
        OneName | Annotated[list[Name], Meta(min_length=1)] | None,
        Meta(description="Requests for this model, or these."),
    ] = None
    tenant: Annotated[
        Annotated[list[Name], Meta(min_length=1)] | None, Meta(description="Requests of these tenants.")
    ] = None
    tier: Annotated[
        Annotated[list[Name], Meta(min_length=1)] | None, Meta(description="Requests of tenants of these tiers.")
    ] = None


class SharedWritten(Written, frozen=True, kw_only=True):
    """A limit that several tenants draw from together."""

    name: Annotated[Name, Meta(description="What refusals and counters call it.")]
    applies_to: Annotated[
        AppliesToWritten, Meta(description="Which requests draw from it.", extra={"usual": "{tier: [gold]}"})
    ]
    rate: Annotated[Rate | None, Meta(description="Requests per time, of all of them together.")] = None
    burst: Annotated[
        Count | None, Meta(description="Requests at once, when none came before; one second of the rate when left out.")
    ] = None
    in_flight: Annotated[Count | None, Meta(description="Requests running at once, of all of them together.")] = None
    mode: LimitMode = "enforce"


class LimitsFile(Written, frozen=True, kw_only=True):
    """limits.yaml: tiers, and limits that several tenants share."""

    kind: Annotated[Literal["limits/v1"], Meta(description="What this file is: limits/v1.")]
    shared: Annotated[
        Annotated[list[SharedWritten], Meta(max_length=1000)] | None,
        Meta(description="Limits that several tenants draw from together."),
    ] = None
    # Last and never left out: see `written`.
    tiers: Annotated[
        Annotated[dict[Name, TierWritten], Meta(min_length=1)],
        Meta(description="Tiers by name; a tenant names exactly one."),
    ]
