"""What changes, and for whom, from one snapshot to the next, in sentences for people."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

from policies import units
from policies.snapshot import (
    EVERY_MODEL,
    Bounds,
    BurnAlert,
    Listen,
    Mesh,
    Objective,
    Route,
    Snapshot,
    Tenant,
    Tier,
    Tracing,
    Version,
)

Named = TypeVar("Named")
MAX_SENTENCES: Final = 20
_ABSENT: Final = "none"


def changes(before: Snapshot, after: Snapshot) -> tuple[str, ...]:
    """Every difference, a sentence each: mesh, tiers, tenants, objectives, routes; empty when they mean the same."""
    return (
        *_mesh_changes(before.mesh, after.mesh),
        *_named_changes("tier", before.tiers, after.tiers, lambda old, new: _tier_changes(old, new, after)),
        *_named_changes("tenant", before.tenants, after.tenants, _tenant_changes),
        *_named_changes(
            "slo", before.objectives, after.objectives, lambda old, new: _objective_changes(old, new, after)
        ),
        *_named_changes("route", before.routes, after.routes, _route_changes),
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


def _changed(subject: str, word: str, before: str, after: str) -> Iterator[str]:
    if before != after:
        yield f"{subject}: {word} {before} -> {after}"


def _mesh_changes(before: Mesh, after: Mesh) -> Iterator[str]:
    yield from _changed("mesh", "name", before.name, after.name)
    yield from _changed("mesh", "listen", _listen_text(before.listen), _listen_text(after.listen))
    yield from _bounds_changes(before.bounds, after.bounds)
    yield from _tracing_changes(before.tracing, after.tracing)


def _listen_text(listen: tuple[Listen, ...]) -> str:
    return ", ".join(f"{one.address} ({one.serves})" for one in listen)


def _bounds_changes(before: Bounds, after: Bounds) -> Iterator[str]:
    for field in Bounds.__struct_fields__:
        old, new = getattr(before, field), getattr(after, field)
        as_text = units.size_text if field.endswith("_bytes") else units.duration_text
        yield from _changed("mesh", field.removesuffix("_s"), as_text(old), as_text(new))


def _tracing_changes(before: Tracing, after: Tracing) -> Iterator[str]:
    yield from _changed("tracing", "callers", before.callers, after.callers)
    yield from _changed("tracing", "kept_per_s", f"{before.kept_per_s:g}", f"{after.kept_per_s:g}")
    yield from _changed("tracing", "baggage", _names_text(before.baggage), _names_text(after.baggage))
    yield from _changed("tracing", "attributes", _names_text(before.attributes), _names_text(after.attributes))


def _names_text(names: tuple[str, ...]) -> str:
    return ", ".join(names) or _ABSENT


def _tier_changes(before: Tier, after: Tier, snapshot: Snapshot) -> Iterator[str]:
    """A tier's change is told of the tenant that feels it, when it is one alone."""
    tenants = [tenant.name for tenant in snapshot.tenants.values() if tenant.tier == after.name]
    subject = f"tenant {tenants[0]}" if len(tenants) == 1 else f"tier {after.name} ({len(tenants)} tenants)"
    yield from _changed(subject, "rate", _rate_text(before.rate_per_s), _rate_text(after.rate_per_s))
    yield from _changed(subject, "burst", str(before.burst or _ABSENT), str(after.burst or _ABSENT))
    yield from _changed(subject, "deadline", _duration_text(before.deadline_s), _duration_text(after.deadline_s))


def _rate_text(rate_per_s: float | None) -> str:
    return _ABSENT if rate_per_s is None else units.rate_text(rate_per_s)


def _duration_text(length_s: float | None) -> str:
    return _ABSENT if length_s is None else units.duration_text(length_s)


def _tenant_changes(before: Tenant, after: Tenant) -> Iterator[str]:
    subject = f"tenant {after.name}"
    yield from _changed(subject, "owner", before.owner, after.owner)
    yield from _changed(subject, "tier", before.tier, after.tier)
    yield from _may_call_changes(subject, set(before.may_call), set(after.may_call))
    old_keys = {key.id: key for key in before.keys}
    new_keys = {key.id: key for key in after.keys}
    for id_ in sorted(old_keys.keys() | new_keys.keys()):
        if old_keys.get(id_) != new_keys.get(id_):
            verb = "added" if id_ not in old_keys else "removed" if id_ not in new_keys else "changed"
            yield f"{subject}: key {id_} {verb}"


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
    yield from _changed(subject, "owner", before.owner, after.owner)
    yield from _changed(subject, "route", before.model or "any", after.model or "any")
    yield from _changed(subject, "objective", units.percent_text(before.target), units.percent_text(after.target))
    yield from _changed(subject, "window", units.duration_text(before.period_s), units.duration_text(after.period_s))
    yield from _changed(subject, "status_below", str(before.status_below), str(after.status_below))
    yield from _changed(subject, "within", _duration_text(before.within_s), _duration_text(after.within_s))
    yield from _changed(subject, "ignore", _ignored_text(before), _ignored_text(after))
    yield from _changed(subject, "by", _names_text(before.by), _names_text(after.by))
    for severity in ("page", "ticket"):
        old, new = (_alerts_text(one.alerts, severity) for one in (before, after))
        yield from _changed(subject, severity, old, new)
    yield from _guards_changes(subject, before, after)


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
    return " or ".join(shown) or _ABSENT


def _guards_changes(subject: str, before: Objective, after: Objective) -> Iterator[str]:
    old, new = before.guards, after.guards
    yield from _changed(subject, "min_events", str(old.min_events or _ABSENT), str(new.min_events or _ABSENT))
    yield from _changed(
        subject, "min_bad_events", str(old.min_bad_events or _ABSENT), str(new.min_bad_events or _ABSENT)
    )
    yield from _changed(
        subject, "chance_below", units.percent_text(old.chance_below), units.percent_text(new.chance_below)
    )


def _route_changes(before: Route, after: Route) -> Iterator[str]:
    subject = f"route {after.model}"
    yield from _changed(subject, "owner", before.owner, after.owner)
    for name in sorted(before.versions.keys() | after.versions.keys()):
        if name not in before.versions:
            yield f"{subject}: version {name} added"
        elif name not in after.versions:
            yield f"{subject}: version {name} removed"
        else:
            old, new = before.versions[name], after.versions[name]
            yield from _changed(f"{subject}: version {name}", "pods", _pods_text(old), _pods_text(new))
    yield from _changed(subject, "stable", before.stable, after.stable)
    yield from _changed(subject, "timeout", _duration_text(before.timeout_s), _duration_text(after.timeout_s))
    yield from _changed(subject, "body_bytes", _size_text(before.body_bytes), _size_text(after.body_bytes))
    yield from _batching_changes(subject, before, after)
    yield from _changed(subject, "slo", _names_text(before.slo), _names_text(after.slo))


def _size_text(size: int | None) -> str:
    return _ABSENT if size is None else units.size_text(size)


def _pods_text(version: Version) -> str:
    if version.launch:
        source = f"{version.launch.count} of {version.launch.archive} on {version.launch.device}"
    else:
        source = f"at {', '.join(version.static.addresses)}" if version.static else _ABSENT
    return f"{source}, {version.in_flight} in flight"


def _batching_changes(subject: str, before: Route, after: Route) -> Iterator[str]:
    old, new = before.batching, after.batching
    yield from _changed(subject, "max_rows", str(old.max_rows or "the archive's"), str(new.max_rows or "the archive's"))
    yield from _changed(subject, "max_wait", _wait_text(old.max_wait_s), _wait_text(new.max_wait_s))


def _wait_text(max_wait_s: float) -> str:
    return "the archive's" if max_wait_s < 0 else units.duration_text(max_wait_s)
