"""tenants/NAME.yaml as written: one caller's organisation, its keys and what it may call."""

from typing import Annotated, Literal

from msgspec import Meta

from policies.schema.written import Count, Duration, ModelOrEvery, Moment, Name, Percent, Text, Written

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


class TenantJwtWritten(Written, frozen=True, kw_only=True):
    """Which tokens are this tenant's."""

    issuer: Annotated[Name, Meta(description="The name of an issuer of mesh.yaml.")]
    tenant_id: Annotated[Text, Meta(description="What its tokens call this tenant.")]


class QuotaWritten(Written, frozen=True, kw_only=True):
    """A budget over a long period."""

    name: Annotated[Name, Meta(description="What refusals and counters call it.")]
    meter: Annotated[Literal["requests", "rows", "gpu_time"], Meta(description="What is counted.")]
    limit: Annotated[Count | Duration, Meta(description="How much: a count, or for gpu_time a length of time.")]
    per: Annotated[Literal["calendar-month", "calendar-day", "rolling-24h"], Meta(description="The period it is for.")]
    zone: Annotated[Text | None, Meta(description="The time zone of a calendar period; UTC when left out.")] = None
    at: Annotated[
        Annotated[dict[Percent, Literal["warn", "demote", "throttle", "refuse"]], Meta(min_length=1)],
        Meta(description="What happens at which share of the limit."),
    ]
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
        Literal["allow", "deny"] | None, Meta(description="Whether its requests may be copied to shadow versions.")
    ] = None
    jwt: Annotated[TenantJwtWritten | None, Meta(description="Which tokens are this tenant's.")] = None
    keys: Annotated[list[KeyWritten] | None, Meta(description="Its API keys.")] = None
    quotas: Annotated[list[QuotaWritten] | None, Meta(description="Its budgets over long periods.")] = None
    # Last and never left out: see `written`.
    may_call: Annotated[list[ModelOrEvery], Meta(description='Models it may call; "*" is every model.')]
