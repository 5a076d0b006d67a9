"""What the management API answers about quotas, as types; its OpenAPI is made from them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepReport:
    """What happens from which share of the limit on."""

    share: float
    action: str
    is_reached: bool


@dataclass(frozen=True)
class QuotaReport:
    """One quota of a tenant.

    Amounts are requests, bytes, microseconds of devices or tokens, as `meter` says. `limit` has `granted_on_top` in it.
    `used` is spent or reserved in the present window and null while the ledger has not been asked; `held` of the
    ledger's are with this gateway and not used. `resets_at` is when use falls next, `exhausted_at` when the limit is
    reached if use goes on as lately, null when it lasts; both are UTC in ISO 8601.
    """

    tenant: str
    name: str
    meter: str
    per: str
    zone: str
    limit: int
    granted_on_top: int
    used: int | None
    ratio: float | None
    held: int
    rate_per_s: float
    resets_at: str | None
    exhausted_at: str | None
    ladder: list[StepReport]


@dataclass(frozen=True)
class QuotasReport:
    """Every quota of the generation in force; `trouble` says why the ledger cannot be used, null when it can."""

    quotas: list[QuotaReport]
    trouble: str | None


@dataclass(frozen=True)
class GrantReport:
    """An amount on top of a quota, in its unit, until a moment; `ended_by` took it back before, null for nobody."""

    id: str
    tenant: str
    quota: str
    amount: int
    amount_text: str
    at: str
    until: str
    owner: str
    reason: str
    is_live: bool
    ended_by: str | None


@dataclass(frozen=True)
class GrantsReport:
    """Grants by when they were made, those of the last 90 days that have ended included."""

    grants: list[GrantReport]
