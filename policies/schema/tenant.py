"""tenants/NAME.yaml as written: one caller's organisation, its keys and what it may call."""

from typing import Annotated, Literal

from msgspec import Meta

from policies import units
from policies.schema.limits import LimitWritten
from policies.schema.written import ModelOrEvery, Moment, Name, Percent, Text, Written

Sha256 = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{64}$",
        extra={
            "expected": "a SHA-256 digest: 64 digits and letters a to f",
            "fix": "Write what printf %s KEY | sha256sum prints.",
        },
    ),
]


class KeyWritten(Written, frozen=True, kw_only=True):
    """One API key; several work at once, so that keys can be changed without a gap."""

    id: Annotated[Name, Meta(description="What logs and the audit call this key.")]
    sha256: Annotated[Sha256, Meta(description="The SHA-256 digest of the key; the key itself is in no file.")]
    scopes: Annotated[
        Annotated[list[Literal["infer", "explain", "pin"]], Meta(min_length=1)],
        Meta(description="What the key may do: infer, explain, pin (choose a version)."),
    ]
    not_before: Annotated[Moment | None, Meta(description="The key works from this moment.")] = None
    not_after: Annotated[Moment | None, Meta(description="The key works until this moment.")] = None


# A budget may be far larger than anything else that is counted.
BigCount = Annotated[int, Meta(ge=1, le=10**15)]
LongOrLarge = Annotated[
    str,
    Meta(
        pattern=f"(?:{units.DURATION_PATTERN})|(?:{units.SIZE_PATTERN})",
        extra={
            "expected": "a length of time such as 200h, or a size such as 2TiB",
            "fix": "Write a count such as 1000000, a length of time such as 200h, or a size such as 2TiB.",
        },
    ),
]


class TenantJwtWritten(Written, frozen=True, kw_only=True):
    """Which tokens are this tenant's."""

    issuer: Annotated[Name, Meta(description="The name of an issuer of mesh.yaml.")]
    tenant_id: Annotated[Text, Meta(description="What its tokens call this tenant.")]


class QuotaWritten(Written, frozen=True, kw_only=True):
    """A budget over a long period."""

    name: Annotated[
        Name,
        Meta(description="What refusals and counters call it; with another name or meter it is a new one, unused."),
    ]
    meter: Annotated[
        Literal["requests", "bytes", "device_time", "tokens", "gpu_time"],
        Meta(
            description="Counted are requests, bytes of both bodies, device_time (or gpu_time, the same) or tokens.",
            extra={"usual": "requests"},
        ),
    ]
    limit: Annotated[
        BigCount | LongOrLarge,
        Meta(
            description="How much: a count, for device_time a length of time, for bytes a size such as 2TiB.",
            extra={"usual": "1000000"},
        ),
    ]
    per: Annotated[
        Literal[
            "calendar-hour",
            "calendar-day",
            "calendar-week",
            "calendar-month",
            "rolling-1h",
            "rolling-24h",
            "rolling-7d",
            "rolling-30d",
        ],
        Meta(description="The period it is for.", extra={"usual": "calendar-month"}),
    ]
    zone: Annotated[Text | None, Meta(description="The time zone of a calendar period; UTC when left out.")] = None
    at: Annotated[
        Annotated[dict[Percent, Literal["warn", "demote", "refuse"]], Meta(min_length=1)] | None,
        Meta(
            description="What happens at which share of the limit: warn (a header, an event), demote (served while "
            "pods have room to spare) or refuse; refuse at 100% when left out.",
            extra={"fix": "Write one such as {80%: warn, 100%: refuse}."},
        ),
    ] = None
    on_outage: Annotated[
        Literal["local-share", "allow", "refuse"] | None,
        Meta(description="What it does while the state store is away."),
    ] = None


class TenantFile(Written, frozen=True, kw_only=True):
    """tenants/NAME.yaml: one caller's organisation."""

    kind: Annotated[Literal["tenant/v1"], Meta(description="What this file is: tenant/v1.")]
    name: Annotated[Name, Meta(description="The tenant's name, as in the file's name.")]
    owner: Annotated[Text, Meta(description="Who answers for it.")]
    tier: Annotated[Name, Meta(description="The tier of limits.yaml whose limits it has.")]
    shadow: Annotated[
        Literal["allow", "deny"] | None,
        Meta(description="Whether its requests may be copied to shadow versions, and recorded; deny when left out."),
    ] = None
    jwt: Annotated[TenantJwtWritten | None, Meta(description="Which tokens are this tenant's.")] = None
    certificates: Annotated[
        Annotated[list[Text], Meta(min_length=1, max_length=64)] | None,
        Meta(description="Identities of client certificates that are this tenant's."),
    ] = None
    limits: Annotated[LimitWritten | None, Meta(description="Its own limit, beside its tier's.")] = None
    keys: Annotated[Annotated[list[KeyWritten], Meta(max_length=1000)] | None, Meta(description="Its API keys.")] = None
    quotas: Annotated[
        Annotated[list[QuotaWritten], Meta(max_length=16)] | None, Meta(description="Its budgets over long periods.")
    ] = None
    # Last and never left out: see `written`.
    may_call: Annotated[list[ModelOrEvery], Meta(description='Models it may call; "*" is every model.')]
