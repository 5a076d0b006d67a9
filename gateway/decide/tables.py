"""Tables: one policy generation, indexed for decisions; built once per generation and worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from gateway.decide.limits import interval_ns
from gateway.decide.stage import Stage
from policies.snapshot.generation import Snapshot, objectives_by_model
from policies.snapshot.limits import Limit, SharedLimit, Tier
from policies.snapshot.mesh import Bounds, Tracing
from policies.snapshot.route import Route, deciding_headers
from policies.snapshot.slos import Objective
from policies.snapshot.tenant import EVERY_MODEL, Key, Quota, Tenant

# Tenants by models may be many more than ever call; beyond this many, what applies is put together anew.
_MAX_ADMISSIONS = 65_536
# Some two milliseconds' work.
_TENANTS_AT_ONCE = 500
_UNITS = {"requests": "", "bytes": ';qu="content-bytes"', "device_time": ';qu="penstock-device-us"'}
_PERIODS_S = {"hour": 3600, "1h": 3600, "day": 86400, "24h": 86400, "week": 604800, "7d": 604800}
_MONTH_S = 2_592_000


class RateBound(Struct, frozen=True, gc=False):
    """A rate as one caller draws from it."""

    key: str
    name: str
    rate_per_s: float
    interval_ns: int
    burst: int
    observe: bool


class SlotBound(Struct, frozen=True, gc=False):
    """A bound on requests in flight as one caller draws from it."""

    key: str
    name: str
    most: int
    observe: bool


class QuotaBound(Struct, frozen=True):
    """A quota of the caller's tenant; ``account`` is what counters and the ledger call it."""

    account: str
    quota: Quota
    refuse_share: float | None


class Admission(Struct, frozen=True):
    """Every limit of one tenant's requests for one model.

    Attributes:
        policy: value of ``RateLimit-Policy``: what the limits are; "" when there are none.
    """

    rates: tuple[RateBound, ...]
    slots: tuple[SlotBound, ...]
    quotas: tuple[QuotaBound, ...]
    policy: str
    is_empty: bool = False


class Caller(Struct, frozen=True):
    """Who a credential stands for, and what its tenant may do."""

    tenant: Tenant
    key: Key
    tier: Tier
    key_digest: bytes
    models: frozenset[str]

    def may_call(self, model: str) -> bool:
        """Whether policy lets this tenant call the model; a model nobody named is refused."""
        return model in self.models or EVERY_MODEL in self.models


class Tables:
    """Lookups by what a request carries.

    Attributes:
        generation: number of the policy generation.
        callers: by the SHA-256 of an API key.
        revoked: ids of keys that are refused whatever the files say.
        routes: by model.
        tenants: by name, by (issuer, what its tokens call it) and by certificate's identity.
        objectives: by model, of those that have any.
        placed: where earlier requests belonged; see ``gateway.decide.placed``.
        bounds: ceilings for every request.
        tracing: which requests leave a trace.
        deciding_headers: names, in lower case, of the headers that some route decides by.
        stages: by model, where its canary stands; replaced whole when one of them moves.

    Args:
        fill: False leaves the tenants to ``filling``.
    """

    __slots__ = (
        "_admissions",
        "_models",
        "_shared",
        "bounds",
        "callers",
        "deciding_headers",
        "generation",
        "objectives",
        "placed",
        "revoked",
        "routes",
        "stages",
        "tenants",
        "tenants_by_certificate",
        "tenants_by_token",
        "tiers",
        "tracing",
    )

    def __init__(self, snapshot: Snapshot, revoked: frozenset[str] = frozenset(), *, fill: bool = True) -> None:
        self.generation = snapshot.generation
        self.revoked = revoked
        self.routes: dict[str, Route] = snapshot.routes
        self.tenants: dict[str, Tenant] = snapshot.tenants
        self.tiers: dict[str, Tier] = snapshot.tiers
        self.objectives: dict[str, tuple[Objective, ...]] = objectives_by_model(snapshot)
        self.bounds: Bounds = snapshot.mesh.bounds
        self.tracing: Tracing = snapshot.mesh.tracing
        self.deciding_headers = deciding_headers(snapshot.routes)
        self.stages: Mapping[str, Stage] = {}
        self._shared: tuple[SharedLimit, ...] = snapshot.shared
        self._models = {name: frozenset(tenant.may_call) for name, tenant in snapshot.tenants.items()}
        self._admissions: dict[tuple[str, str], Admission] = {}
        self.placed: dict[Any, Any] = {}  # what it holds is built on these tables, and would know them and be known
        self.callers: dict[bytes, Caller] = {}
        self.tenants_by_token: dict[tuple[str, str], Tenant] = {}
        self.tenants_by_certificate: dict[str, Tenant] = {}
        if fill:
            for _ in self.filling(snapshot):
                pass

    def filling(self, snapshot: Snapshot) -> Iterator[None]:
        """Index the tenants' credentials, a piece at a time; only then are the tables of use."""
        for count, tenant in enumerate(snapshot.tenants.values(), start=1):
            for key in tenant.keys:
                digest = bytes.fromhex(key.sha256)
                self.callers[digest] = self.caller(tenant, key, digest)
            if tenant.jwt is not None:
                self.tenants_by_token[tenant.jwt.issuer, tenant.jwt.tenant_id] = tenant
            for identity in tenant.certificates:
                self.tenants_by_certificate[identity] = tenant
            if count % _TENANTS_AT_ONCE == 0:
                yield

    def caller(self, tenant: Tenant, key: Key, digest: bytes = b"") -> Caller:
        """Return a tenant's caller with this key, or with what another credential is worth as a key."""
        return Caller(tenant, key, self.tiers[tenant.tier], digest, self._models[tenant.name])

    def admission(self, caller: Caller, route: Route) -> Admission:
        """Return the limits of a caller's requests for a model."""
        found = self._admissions.get((caller.tenant.name, route.model))
        if found is None:
            if len(self._admissions) >= _MAX_ADMISSIONS:
                self._admissions.clear()
            found = self._admissions[caller.tenant.name, route.model] = self._admission(caller, route)
        return found

    def account(self, tenant: str, quota: str) -> str:
        """Return the account of a quota by the tenant's and its own name; "" when there is no such quota."""
        known = self.tenants.get(tenant)
        found = (one for one in known.quotas if one.name == quota) if known is not None else ()
        return next((account_of(tenant, one) for one in found), "")

    def _admission(self, caller: Caller, route: Route) -> Admission:
        rates, slots = [], []
        for key, limit in self._limits(caller, route):
            if limit.rate_per_s is not None:
                rates.append(_rate_bound(key, limit, limit.rate_per_s))
            if limit.in_flight is not None:
                name = f"{limit.name}/in_flight"
                slots.append(SlotBound(f"{key}/in_flight", name, limit.in_flight, limit.observe))
        quotas = tuple(
            QuotaBound(account_of(caller.tenant.name, quota), quota, quota.refuse_share)
            for quota in caller.tenant.quotas
        )
        is_empty = not (rates or slots or quotas)
        return Admission(tuple(rates), tuple(slots), quotas, _policy_value(rates, slots, quotas), is_empty)

    def _limits(self, caller: Caller, route: Route) -> Iterator[tuple[str, Limit]]:
        """Each limit, by the key that its counters have: a tier's limit is each tenant's own."""
        tenant = caller.tenant
        if caller.tier.limit is not None:
            yield f"tenant/{tenant.name}/tier", caller.tier.limit
        if tenant.limit is not None:
            yield f"tenant/{tenant.name}", tenant.limit
        if route.limit is not None:
            yield f"model/{route.model}", route.limit
        for shared in self._shared:
            if (
                route.model in (shared.models or (route.model,))
                and tenant.name in (shared.tenants or (tenant.name,))
                and tenant.tier in (shared.tiers or (tenant.tier,))
            ):
                yield shared.limit.name, shared.limit


def _rate_bound(key: str, limit: Limit, rate_per_s: float) -> RateBound:
    interval = interval_ns(rate_per_s)
    return RateBound(f"{key}/rate", limit.name, rate_per_s, interval, limit.burst, limit.observe)


def account_of(tenant: str, quota: Quota) -> str:
    """Return what counters and the ledger call a tenant's quota: one that counts something else is another one."""
    return f"tenant/{tenant}/quota/{quota.name}/{quota.meter}"


def _policy_value(rates: list[RateBound], slots: list[SlotBound], quotas: tuple[QuotaBound, ...]) -> str:
    """``RateLimit-Policy`` of draft-ietf-httpapi-ratelimit-headers; limits that are only observed are not told."""
    parts = [
        f'"{rate.name}";q={rate.burst};w={max(1, round(rate.burst / rate.rate_per_s))}'
        for rate in rates
        if not rate.observe
    ]
    parts += [f'"{slot.name}";q={slot.most};qu="concurrent-requests"' for slot in slots if not slot.observe]
    for bound in quotas:
        window_s = _PERIODS_S.get(bound.quota.per.partition("-")[2], _MONTH_S)
        unit = _UNITS.get(bound.quota.meter, f';qu="penstock-{bound.quota.meter}"')
        parts.append(f'"{bound.quota.name}";q={bound.quota.limit}{unit};w={window_s}')
    return ", ".join(parts)
