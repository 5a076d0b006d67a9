"""What changes, and for whom, from one snapshot to the next, in sentences for people."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from msgspec.structs import replace

from policies import units
from policies.drifts import drift_changes
from policies.release_diff import copying_changes, release_changes
from policies.samples import sampling_changes
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit, Tier
from policies.snapshot.mesh import Alerting, Bounds, Export, JwtIssuer, Listen, Mesh, Role, Tracing, Webhook
from policies.snapshot.route import Route, Version
from policies.snapshot.slos import BurnAlert, Objective
from policies.snapshot.tenant import EVERY_MODEL, Quota, Tenant, may_call
from policies.snapshot.tests import PolicyTest
from policies.wording import (
    ABSENT,
    amount_text,
    changed,
    count_text,
    duration_text,
    eject_text,
    health_text,
    ladder_text,
    limit_text,
    names_text,
    period_text,
    queue_text,
    quota_text,
    rate_text,
    retry_text,
    size_text,
)

Named = TypeVar("Named")
MAX_SENTENCES: Final = 20


def changes(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Every difference, a sentence each, from the mesh down to the tests; empty when they mean the same."""
    return (
        *_mesh_changes(before.mesh, after.mesh),
        *_named_changes("tier", before.tiers, after.tiers, lambda old, new: _tier_changes(old, new, after)),
        *_shared_changes(before, after),
        *_named_changes("tenant", before.tenants, after.tenants, _tenant_changes),
        *_named_changes(
            "slo", before.objectives, after.objectives, lambda old, new: _objective_changes(old, new, after)
        ),
        *_named_changes("route", before.routes, after.routes, lambda old, new: _route_changes(old, new, after)),
        *copying_changes(before, after),
        *_test_changes(before.tests, after.tests),
    )


def summary(before: Snapshot, after: Snapshot) -> str:
    """The differences on one line, the first ones when there are many."""
    sentences = changes(before, after)
    shown = "; ".join(sentences[:MAX_SENTENCES])
    hidden_count = len(sentences) - MAX_SENTENCES
    if hidden_count > 0:
        return f"{shown}; and {hidden_count} more"
    return shown or "nothing changes"


def _named_changes(
    sort: str,
    before: Mapping[str, Named],
    after: Mapping[str, Named],
    inside: Callable[[Named, Named], Iterator[str]],
) -> Iterator[str]:
    for name in sorted(before.keys() | after.keys()):
        if name not in before:
            yield f"{sort} {name} added"
        elif name not in after:
            yield f"{sort} {name} removed"
        elif before[name] != after[name]:
            yield from inside(before[name], after[name])


def _mesh_changes(before: Mesh, after: Mesh) -> Iterator[str]:
    yield from changed("mesh", "name", before.name, after.name)
    yield from changed("mesh", "listen", _listen_text(before.listen), _listen_text(after.listen))
    yield from _bounds_changes(before.bounds, after.bounds)
    yield from _tracing_changes(before.tracing, after.tracing)
    yield from changed("logs", "format", before.logs.format, after.logs.format)
    yield from changed("logs", "level", before.logs.level, after.logs.level)
    yield from changed("logs", "handlers", before.logs.handlers, after.logs.handlers)
    yield from _alerting_changes(before.alerts, after.alerts)
    old_issuers, new_issuers = ({one.name: one for one in mesh.jwt} for mesh in (before, after))
    yield from _named_changes("issuer", old_issuers, new_issuers, _issuer_changes)
    old_roles, new_roles = ({one.name: one for one in mesh.roles} for mesh in (before, after))
    yield from _named_changes("role", old_roles, new_roles, _role_changes)


def _listen_text(listen: tuple[Listen, ...]) -> str:
    return ", ".join(f"{one.address} ({_service_text(one)})" for one in listen)


def _service_text(listen: Listen) -> str:
    """What is served, and how callers and listener prove who they are."""
    parts = [listen.serves]
    if listen.tls:
        parts.append(f"TLS with {listen.tls.cert} and {listen.tls.key}")
    if listen.client_certs:
        certs = listen.client_certs
        asked = "required" if certs.required else "optional"
        parts.append(f"client certificates {asked} by {certs.identity_from} from {certs.ca}")
    return ", ".join(parts)


def _issuer_changes(before: JwtIssuer, after: JwtIssuer) -> Iterator[str]:
    subject = f"issuer {after.name}"
    yield from changed(subject, "issuer", before.issuer, after.issuer)
    yield from changed(subject, "audiences", names_text(before.audiences), names_text(after.audiences))
    yield from changed(subject, "algorithms", names_text(before.algorithms), names_text(after.algorithms))
    yield from changed(subject, "jwks", before.jwks_url, after.jwks_url)
    yield from changed(subject, "tenant_from", before.tenant_claim, after.tenant_claim)
    yield from changed(subject, "scopes_from", before.scopes_claim or ABSENT, after.scopes_claim or ABSENT)
    yield from changed(subject, "groups_from", before.groups_claim, after.groups_claim)
    yield from changed(subject, "refresh", duration_text(before.refresh_s), duration_text(after.refresh_s))
    yield from changed(subject, "keep_stale", duration_text(before.keep_stale_s), duration_text(after.keep_stale_s))
    yield from changed(
        subject, "claims for sticky keys", names_text(before.sticky_claims), names_text(after.sticky_claims)
    )
    yield from changed(subject, "leeway", duration_text(before.leeway_s), duration_text(after.leeway_s))


def _role_changes(before: Role, after: Role) -> Iterator[str]:
    subject = f"role {after.name}"
    yield from changed(subject, "subjects", names_text(before.subjects), names_text(after.subjects))
    yield from changed(subject, "may", names_text(before.may), names_text(after.may))
    yield from changed(subject, "on", _models_text(before.models), _models_text(after.models))


def _models_text(models: tuple[str, ...]) -> str:
    return ", ".join(models) or "every model"


def _bounds_changes(before: Bounds, after: Bounds) -> Iterator[str]:
    for field in Bounds.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        as_text = units.size_text if field.endswith("_bytes") else units.duration_text
        yield from changed("mesh", field.removesuffix("_s"), as_text(old), as_text(new))


def _tracing_changes(before: Tracing, after: Tracing) -> Iterator[str]:
    yield from changed("tracing", "callers", before.callers, after.callers)
    yield from changed("tracing", "kept_per_s", f"{before.kept_per_s:g}", f"{after.kept_per_s:g}")
    yield from changed("tracing", "baggage", names_text(before.baggage), names_text(after.baggage))
    yield from changed("tracing", "attributes", names_text(before.attributes), names_text(after.attributes))
    yield from changed("tracing", "export", _export_text(before.export), _export_text(after.export))


def _export_text(export: Export | None) -> str:
    if export is None:
        return "the hub"
    parts = [export.to, f"queue {units.size_text(export.queue_bytes)}"]
    parts += [f"answers within {units.duration_text(export.answer_within_s)}"]
    parts += [f"headers {export.headers}"] if export.headers else []
    parts += [f"certificates by {export.ca}"] if export.ca else []
    return ", ".join(parts)


def _alerting_changes(before: Alerting, after: Alerting) -> Iterator[str]:
    yield from changed("alerts", "webhooks", _webhooks_text(before), _webhooks_text(after))
    yield from changed("alerts", "alertmanager", before.alertmanager or ABSENT, after.alertmanager or ABSENT)
    for key in ("alertmanager_authorization", "runbooks", "dashboards"):
        yield from changed("alerts", key, getattr(before, key) or ABSENT, getattr(after, key) or ABSENT)


def _webhooks_text(alerting: Alerting) -> str:
    return names_text(tuple(_webhook_text(one) for one in alerting.webhooks))


def _webhook_text(webhook: Webhook) -> str:
    with_it = f"{webhook.url} with {webhook.authorization}" if webhook.authorization else webhook.url
    return f"{with_it}, signed with {webhook.signature}" if webhook.signature else with_it


def _tier_changes(before: Tier, after: Tier, snapshot: Snapshot) -> Iterator[str]:
    """A tier's change is told of the tenant that feels it, when it is one alone."""
    tenants = [tenant.name for tenant in snapshot.tenants.values() if tenant.tier == after.name]
    subject = f"tenant {tenants[0]}" if len(tenants) == 1 else f"tier {after.name} ({len(tenants)} tenants)"
    yield from _limit_changes(subject, before.limit, after.limit)
    yield from changed(subject, "deadline", duration_text(before.deadline_s), duration_text(after.deadline_s))
    yield from changed(subject, "priority", str(before.priority), str(after.priority))
    yield from changed(subject, "weight", str(before.weight), str(after.weight))
    yield from changed(subject, "queue", queue_text(before), queue_text(after))


def _limit_changes(subject: str, before: Limit | None, after: Limit | None) -> Iterator[str]:
    old, new = before or Limit(""), after or Limit("")
    yield from changed(subject, "rate", rate_text(old.rate_per_s), rate_text(new.rate_per_s))
    yield from changed(subject, "burst", _burst_text(old), _burst_text(new))
    yield from changed(subject, "in_flight", count_text(old.in_flight), count_text(new.in_flight))
    # Of a limit that goes, nobody asks how it counted.
    yield from changed(subject, "mode", _mode_text(old), _mode_text(new if after else old))


def _burst_text(limit: Limit) -> str:
    return ABSENT if limit.rate_per_s is None else str(limit.burst)


def _mode_text(limit: Limit) -> str:
    return "observe" if limit.observe else "enforce"


def _shared_changes(before: Snapshot, after: Snapshot) -> Iterator[str]:
    old = {shared.limit.name.removeprefix("shared/"): shared for shared in before.shared}
    new = {shared.limit.name.removeprefix("shared/"): shared for shared in after.shared}
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"shared limit {name} ({_touched_text(new[name], after)}) added: {limit_text(new[name].limit)}"
        elif name not in new:
            yield f"shared limit {name} ({_touched_text(old[name], before)}) removed"
        else:
            subject = f"shared limit {name} ({_touched_text(new[name], after)})"
            yield from _limit_changes(subject, old[name].limit, new[name].limit)
            yield from changed(subject, "route", _models_text(old[name].models), _models_text(new[name].models))
            yield from changed(subject, "tenant", _any_text(old[name].tenants), _any_text(new[name].tenants))
            yield from changed(subject, "tier", _any_text(old[name].tiers), _any_text(new[name].tiers))


def _any_text(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "any"


def _touched_text(shared: SharedLimit, snapshot: Snapshot) -> str:
    """The tenants that draw from a shared limit: by name when it is one, by number when there are more."""
    return _tenants_text([tenant for tenant in snapshot.tenants.values() if _draws(tenant, shared)])


def _draws(tenant: Tenant, shared: SharedLimit) -> bool:
    is_named = tenant.name in (shared.tenants or (tenant.name,)) and tenant.tier in (shared.tiers or (tenant.tier,))
    return is_named and (not shared.models or any(may_call(tenant, model) for model in shared.models))


def _tenants_text(tenants: Sequence[Tenant]) -> str:
    return f"tenant {tenants[0].name}" if len(tenants) == 1 else f"{len(tenants)} tenants"


def _tenant_changes(before: Tenant, after: Tenant) -> Iterator[str]:
    subject = f"tenant {after.name}"
    yield from changed(subject, "owner", before.owner, after.owner)
    yield from changed(subject, "tier", before.tier, after.tier)
    yield from _may_call_changes(subject, set(before.may_call), set(after.may_call))
    old_keys = {key.id: key for key in before.keys}
    new_keys = {key.id: key for key in after.keys}
    for id_ in sorted(old_keys.keys() | new_keys.keys()):
        if old_keys.get(id_) != new_keys.get(id_):
            verb = "added" if id_ not in old_keys else "removed" if id_ not in new_keys else "changed"
            yield f"{subject}: key {id_} {verb}"
    yield from changed(subject, "shadow", _consent_text(before), _consent_text(after))
    yield from changed(subject, "tokens", _tokens_text(before), _tokens_text(after))
    yield from changed(subject, "certificates", names_text(before.certificates), names_text(after.certificates))
    yield from _limit_changes(subject, before.limit, after.limit)
    yield from _quota_changes(subject, before, after)


def _consent_text(tenant: Tenant) -> str:
    return "allow" if tenant.is_copied else "deny"


def _tokens_text(tenant: Tenant) -> str:
    return f"{tenant.jwt.tenant_id} of {tenant.jwt.issuer}" if tenant.jwt else ABSENT


def _quota_changes(tenant: str, before: Tenant, after: Tenant) -> Iterator[str]:
    old = {quota.name: quota for quota in before.quotas}
    new = {quota.name: quota for quota in after.quotas}
    for name in sorted(old.keys() | new.keys()):
        subject = f"{tenant}: quota {name}"
        if name not in old:
            yield f"{subject} added: {quota_text(new[name])}"
        elif name not in new:
            yield f"{subject} removed: {quota_text(old[name])}"
        else:
            yield from _quota_differences(subject, old[name], new[name])


def _quota_differences(subject: str, before: Quota, after: Quota) -> Iterator[str]:
    yield from changed(subject, "meter", before.meter, after.meter)
    yield from changed(subject, "limit", amount_text(before.limit, before.meter), amount_text(after.limit, after.meter))
    yield from changed(subject, "per", period_text(before), period_text(after))
    yield from changed(subject, "at", ladder_text(before.ladder), ladder_text(after.ladder))


def _may_call_changes(subject: str, before: set[str], after: set[str]) -> Iterator[str]:
    """Who may call every model gains and loses nothing by the models that are named beside it."""
    if EVERY_MODEL in after:
        if EVERY_MODEL not in before:
            yield f"{subject}: may call every model"
    elif EVERY_MODEL in before:
        rest = f"every model, only {', '.join(sorted(after))}" if after else "any model"
        yield f"{subject}: may no longer call {rest}"
    else:
        for model in sorted(after - before):
            yield f"{subject}: may call {model}"
        for model in sorted(before - after):
            yield f"{subject}: may no longer call {model}"


def _objective_changes(before: Objective, after: Objective, snapshot: Snapshot) -> Iterator[str]:
    """An objective's change is told with the models that it is counted for."""
    models = [model for model, route in sorted(snapshot.routes.items()) if after.name in route.slo]
    subject = f"slo {after.name} ({', '.join(models) or 'no route'})"
    yield from changed(subject, "owner", before.owner, after.owner)
    yield from changed(subject, "route", before.model or "any", after.model or "any")
    yield from changed(subject, "objective", units.percent_text(before.target), units.percent_text(after.target))
    yield from changed(subject, "window", units.duration_text(before.period_s), units.duration_text(after.period_s))
    yield from _good_changes(subject, before, after)
    yield from changed(subject, "ignore", _ignored_text(before), _ignored_text(after))
    yield from changed(subject, "by", names_text(before.by), names_text(after.by))
    for severity in ("page", "ticket"):
        old, new = (_alerts_text(one.alerts, severity) for one in (before, after))
        yield from changed(subject, severity, old, new)
    yield from changed(subject, "likely_within", _likely_text(before), _likely_text(after))
    yield from changed(subject, "budget exhausted", _exhausted_text(before), _exhausted_text(after))
    yield from _guards_changes(subject, before, after)


def _good_changes(subject: str, before: Objective, after: Objective) -> Iterator[str]:
    yield from changed(subject, "status_below", str(before.status_below or ABSENT), str(after.status_below or ABSENT))
    yield from changed(subject, "within", duration_text(before.within_s), duration_text(after.within_s))
    for name, old, new in (
        ("first_byte_within", before.first_byte_within_s, after.first_byte_within_s),
        ("loads_within", before.loads_within_s, after.loads_within_s),
    ):
        yield from changed(subject, name, duration_text(old), duration_text(new))
    yield from changed(subject, "pod", before.pod or ABSENT, after.pod or ABSENT)
    yield from changed(subject, "label", before.label or ABSENT, after.label or ABSENT)


def _ignored_text(objective: Objective) -> str:
    if objective.ignore_status is None:
        return "400 to 499"
    return ", ".join(str(status) for status in objective.ignore_status)


def _alerts_text(alerts: tuple[BurnAlert, ...], severity: str) -> str:
    shown = [
        f"{alert.factor:g}x in {units.duration_text(alert.long_s)} and {units.duration_text(alert.short_s)}"
        for alert in alerts
        if alert.severity == severity
    ]
    return " or ".join(shown) or ABSENT


def _likely_text(objective: Objective) -> str:
    return units.duration_text(objective.likely_within_s) if objective.likely_within_s else ABSENT


def _exhausted_text(objective: Objective) -> str:
    return "ticket" if objective.tells_exhausted else ABSENT


def _guards_changes(subject: str, before: Objective, after: Objective) -> Iterator[str]:
    old, new = before.guards, after.guards
    yield from changed(subject, "min_events", str(old.min_events or ABSENT), str(new.min_events or ABSENT))
    yield from changed(subject, "min_bad_events", str(old.min_bad_events or ABSENT), str(new.min_bad_events or ABSENT))
    yield from changed(
        subject, "chance_below", units.percent_text(old.chance_below), units.percent_text(new.chance_below)
    )


def _route_changes(before: Route, after: Route, snapshot: Snapshot) -> Iterator[str]:
    subject = f"route {after.model}"
    yield from changed(subject, "owner", before.owner, after.owner)
    for name in sorted(before.versions.keys() | after.versions.keys()):
        if name not in before.versions:
            yield f"{subject}: version {name} added"
        elif name not in after.versions:
            yield f"{subject}: version {name} removed"
        else:
            old, new = before.versions[name], after.versions[name]
            yield from changed(f"{subject}: version {name}", "pods", _pods_text(old), _pods_text(new))
            yield from _pod_use_changes(f"{subject}: version {name}", old, new)
    yield from changed(subject, "stable", before.stable, after.stable)
    yield from changed(subject, "timeout", duration_text(before.timeout_s), duration_text(after.timeout_s))
    yield from changed(subject, "body_bytes", size_text(before.body_bytes), size_text(after.body_bytes))
    yield from _batching_changes(subject, before, after)
    yield from changed(subject, "retry", retry_text(before.retry), retry_text(after.retry))
    yield from changed(subject, "slo", names_text(before.slo), names_text(after.slo))
    callers = [tenant for tenant in snapshot.tenants.values() if may_call(tenant, after.model)]
    yield from _limit_changes(f"{subject} ({_tenants_text(callers)})", before.limit, after.limit)
    yield from release_changes(subject, before, after)
    yield from drift_changes(subject, before.drift, after.drift)
    yield from sampling_changes(subject, before.samples, after.samples)


def _pods_text(version: Version) -> str:
    sources = []
    if version.launch:
        sources.append(f"{version.launch.count} of {version.launch.archive} on {version.launch.device}")
    if version.static:
        sources.append(f"at {', '.join(version.static.addresses)}")
    if version.dns:
        sources.append(f"at every address of {version.dns}")
    return f"{' and '.join(sources) or ABSENT}, {version.in_flight} in flight"


def _pod_use_changes(subject: str, before: Version, after: Version) -> Iterator[str]:
    yield from changed(subject, "choices", str(before.balance.choices), str(after.balance.choices))
    yield from changed(subject, "health", health_text(before.health), health_text(after.health))
    yield from changed(subject, "eject", eject_text(before.eject), eject_text(after.eject))


def _batching_changes(subject: str, before: Route, after: Route) -> Iterator[str]:
    old, new = before.batching, after.batching
    yield from changed(subject, "max_rows", str(old.max_rows or "the archive's"), str(new.max_rows or "the archive's"))
    yield from changed(subject, "max_wait", _wait_text(old.max_wait_s), _wait_text(new.max_wait_s))


def _wait_text(max_wait_s: float) -> str:
    return "the archive's" if max_wait_s < 0 else units.duration_text(max_wait_s)


def _test_changes(before: tuple[PolicyTest, ...], after: tuple[PolicyTest, ...]) -> Iterator[str]:
    """A test that only moved within its file is the same."""
    old, new = ({_test_key(test): replace(test, place="") for test in tests} for tests in (before, after))
    for file, name in sorted(old.keys() | new.keys()):
        if old.get((file, name)) != new.get((file, name)):
            verb = "added" if (file, name) not in old else "removed" if (file, name) not in new else "changed"
            yield f'test "{name}" of {file} {verb}'


def _test_key(test: PolicyTest) -> tuple[str, str]:
    return test.place.rsplit(":", 2)[0], test.name
