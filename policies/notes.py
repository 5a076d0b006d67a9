"""What a policy directory says that is no mistake and may still not be meant."""

from collections.abc import Iterator
from typing import Final

from policies.release_diff import is_copied
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, Tier
from policies.snapshot.release import Canary, Capacity, ChooseRule, LeftOut, When
from policies.snapshot.route import Route
from policies.snapshot.tenant import Key, Tenant, may_call

# An expired key is left standing for a while, so that its last callers are told which one to use instead.
EXPIRED_FOR_S: Final = 30 * 86400.0
# At a share of half, ten bad keys of the canary and none of stable prove harm; at smaller shares it takes more keys.
FEWEST_KEYS: Final = 20
MAX_NAMED: Final = 10


def notes(snapshot: Snapshot, wall_s: float) -> tuple[str, ...]:
    """A sentence for each thing of no effect, at a moment in seconds since 1970."""
    return (
        *_objectives(snapshot),
        *_tenants(snapshot, wall_s),
        *_tiers(snapshot),
        *_issuers(snapshot),
        *_releases(snapshot),
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


def _releases(snapshot: Snapshot) -> Iterator[str]:
    for route in snapshot.routes.values():
        yield from _rules(route)
        if route.canary is not None:
            yield from _canary(snapshot, route, route.canary)
        for shadow in route.shadows:
            yield from _copies_none(snapshot, route, f"the shadow {shadow.name}", shadow.sample, shadow.never, "copies")
        if route.feedback is not None and not route.feedback.label:
            yield (
                f"labels of {route.model} are compared with whole answers: where an answer is an object, say where its "
                "label is, as feedback: {label: /label}"
            )
        if route.record is not None:
            yield from _copies_none(snapshot, route, "record", route.record.sample, route.record.never, "keeps")


def _rules(route: Route) -> Iterator[str]:
    """Rules that callers can make match, and rules that leave nothing to the canary."""
    open_to_all = [rule.name for rule in route.choose if _is_untrusted(rule)]
    if open_to_all:
        yield (
            f"any caller of {route.model} can send the headers of {_named(open_to_all, 'rule')}, and so choose its "
            "version: add scope: pin if that is not meant"
        )
    takes_all = [rule.name for rule in route.choose if rule.when == When()]
    if takes_all and route.canary is not None:
        canary = route.canary.id
        yield f"the canary {canary} of {route.model} gets no requests: {_named(takes_all, 'rule')} takes all of them"


def _is_untrusted(rule: ChooseRule) -> bool:
    return bool(rule.when.headers) and not rule.when.scope and not rule.when.tenants


def _canary(snapshot: Snapshot, route: Route, canary: Canary) -> Iterator[str]:
    callers = [tenant for tenant in snapshot.tenants.values() if may_call(tenant, route.model)]
    if callers and all(_is_left_out(tenant, canary.never) for tenant in callers):
        yield f"the canary {canary.id} of {route.model} gets no requests: never leaves out all who may call it"
    if not canary.sticky_by:
        yield (
            f"callers of {route.model} change between versions from request to request while the canary {canary.id} "
            "runs: sticky_by keeps them on one"
        )
    tried = [tenant for tenant in callers if not _is_left_out(tenant, canary.never)]
    is_by_keys_alone = canary.is_judged and canary.judge.burn_above is None
    if is_by_keys_alone and canary.sticky_by[:1] == ("tenant",) and 0 < len(tried) < FEWEST_KEYS:
        yield (
            f"the canary {canary.id} of {route.model} may fail every request and not be called harmful: its sticky "
            f"keys are tenants, and {len(tried)} prove too little; add burn to its judge, or a header or claim of users"
        )
    if canary.judge.safe_below < canary.judge.harmful_above:
        yield (
            f"between its safe_below and harmful_above, the judge of the canary {canary.id} of {route.model} calls a "
            "version neither safe nor harmful"
        )
    if canary.capacity is not None:
        yield from _too_few_pods(route, canary, canary.capacity)


def _too_few_pods(route: Route, canary: Canary, capacity: Capacity) -> Iterator[str]:
    launch, least = route.versions[canary.version].launch, capacity.ready_pods_at_least
    if launch is not None and launch.count < least:
        yield (
            f"the canary {canary.id} of {route.model} gets no requests: its capacity waits for {least} ready pods, and "
            f"version {canary.version} has a count of {launch.count}"
        )


def _is_left_out(tenant: Tenant, never: LeftOut) -> bool:
    return tenant.name in never.tenants or tenant.tier in never.tiers


def _copies_none(
    snapshot: Snapshot, route: Route, what: str, sample: float, never: LeftOut, verb: str
) -> Iterator[str]:
    """What is allowed and happens to nobody's requests."""
    callers = [tenant for tenant in snapshot.tenants.values() if may_call(tenant, route.model)]
    if sample == 0:
        why = "its sample is 0%"
    elif not any(tenant.is_copied for tenant in callers):
        why = "no tenant that may call it has shadow: allow"
    elif not any(is_copied(tenant, route.model, never) for tenant in callers):
        why = "never leaves out every tenant that has shadow: allow"
    else:
        return
    yield f"{what} of {route.model} {verb} 0 requests: {why}"


def _named(names: list[str], noun: str) -> str:
    shown = ", ".join(names[:MAX_NAMED])
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{noun}{'' if len(names) == 1 else 's'} {shown}{more}"
