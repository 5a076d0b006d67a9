"""What a policy directory says that is no mistake and may still not be meant."""

from collections.abc import Iterator
from typing import Final

from policies.snapshot import Key, Limit, Snapshot, Tenant, Tier

# An expired key is left standing for a while, so that its last callers are told which one to use instead.
EXPIRED_FOR_S: Final = 30 * 86400.0
MAX_NAMED: Final = 10


def notes(snapshot: Snapshot, wall_s: float) -> tuple[str, ...]:
    """A sentence for each thing of no effect, at a moment in seconds since 1970."""
    return (
        *_objectives(snapshot),
        *_tenants(snapshot, wall_s),
        *_tiers(snapshot),
        *_issuers(snapshot),
    )


def _objectives(snapshot: Snapshot) -> Iterator[str]:
    """The objectives that no route names."""
    named = {name for route in snapshot.routes.values() for name in route.slo}
    for name in sorted(snapshot.objectives.keys() - named):
        yield f"nothing is counted for the objective {name}: no route names it"


def _tenants(snapshot: Snapshot, wall_s: float) -> Iterator[str]:
    tenants = snapshot.tenants.values()
    if nobody := [tenant.name for tenant in tenants if not _has_credential(tenant)]:
        yield f"no file names a key, token or certificate of {_named(nobody, 'tenant')}"
    if past := [tenant.name for tenant in tenants if _has_only_old_keys(tenant, wall_s)]:
        yield f"every key of {_named(past, 'tenant')} has expired"
    if idle := [tenant.name for tenant in tenants if not tenant.may_call]:
        yield f"{_named(idle, 'tenant')} may call nothing: may_call is empty"
    old = [key.id for tenant in tenants for key in tenant.keys if _ended_before(key, wall_s - EXPIRED_FOR_S)]
    if old:
        yield f"{_named(old, 'key')} can be removed: expired for more than 30 days"


def _has_credential(tenant: Tenant) -> bool:
    return bool(tenant.keys or tenant.jwt or tenant.certificates)


def _has_only_old_keys(tenant: Tenant, wall_s: float) -> bool:
    has_other = tenant.jwt is not None or bool(tenant.certificates)
    return bool(tenant.keys) and not has_other and all(_ended_before(key, wall_s) for key in tenant.keys)


def _ended_before(key: Key, moment_s: float) -> bool:
    return key.not_after_s is not None and key.not_after_s <= moment_s


def _tiers(snapshot: Snapshot) -> Iterator[str]:
    tenants = snapshot.tenants.values()
    for what, is_idle in (("rate", _is_rate_idle), ("in_flight", _is_in_flight_idle)):
        if idle := [one.name for one in tenants if is_idle(one.limit, _tier_limit(snapshot, one))]:
            yield f"the {what} of {_named(idle, 'tenant')} limits nothing: the tier allows no more than that"
    if alone := [
        tier.name for tier in snapshot.tiers.values() if tier.weight != 1 and _shares_with_none(tier, snapshot)
    ]:
        yield f"the weight of {_named(alone, 'tier')} decides nothing: no other tier has the same priority"
    if unused := sorted(snapshot.tiers.keys() - {tenant.tier for tenant in snapshot.tenants.values()}):
        yield f"no tenant is of {_named(unused, 'tier')}"


def _shares_with_none(tier: Tier, snapshot: Snapshot) -> bool:
    return all(other.name == tier.name or other.priority != tier.priority for other in snapshot.tiers.values())


def _tier_limit(snapshot: Snapshot, tenant: Tenant) -> Limit | None:
    """The limit that a tenant's tier sets, if it refuses anything."""
    limit = snapshot.tiers[tenant.tier].limit if tenant.tier in snapshot.tiers else None
    return None if limit is None or limit.observe else limit


def _is_rate_idle(own: Limit | None, tier: Limit | None) -> bool:
    if own is None or own.rate_per_s is None or tier is None or tier.rate_per_s is None:
        return False
    return own.rate_per_s >= tier.rate_per_s and own.burst >= tier.burst


def _is_in_flight_idle(own: Limit | None, tier: Limit | None) -> bool:
    if own is None or own.in_flight is None or tier is None or tier.in_flight is None:
        return False
    return own.in_flight >= tier.in_flight


def _issuers(snapshot: Snapshot) -> Iterator[str]:
    """Issuers of whose tokens none is a tenant's; they may still be there for roles of the management API."""
    taken = {tenant.jwt.issuer for tenant in snapshot.tenants.values() if tenant.jwt}
    for_roles = any(subject.startswith("group:") for role in snapshot.mesh.roles for subject in role.subjects)
    unused = [issuer.name for issuer in snapshot.mesh.jwt if issuer.name not in taken]
    if unused and not for_roles:
        yield f"no tenant and no role has tokens of {_named(unused, 'issuer')}"


def _named(names: list[str], noun: str) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{noun}{'' if len(names) == 1 else 's'} {shown}{more}"
