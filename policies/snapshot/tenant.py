"""A tenant of a generation: its keys, its quotas, and the models that it may call."""

from msgspec import Struct

from policies.snapshot.limits import Limit

KNOWN_SCOPES = ("infer", "explain", "pin")
EVERY_MODEL = "*"
METERS = ("requests", "bytes", "device_time", "tokens")
"""What a quota counts: requests that a model answered, bytes of both bodies, microseconds of devices, tokens."""


class Key(Struct, frozen=True):
    """One key of a tenant: what is kept is the digest of the secret, never the secret."""

    id: str
    sha256: str
    scopes: tuple[str, ...]
    not_before_s: float | None = None
    not_after_s: float | None = None


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


def may_call(tenant: Tenant, model: str) -> bool:
    """Whether policy lets a tenant call a model."""
    return model in tenant.may_call or EVERY_MODEL in tenant.may_call
