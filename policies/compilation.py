"""Turns files as written into a Snapshot: units become seconds and bytes, what is left out gets its usual value."""

import hashlib
from collections.abc import Iterable

import msgspec

from policies import units
from policies.burn_alerts import usual_alerts, usual_likely_within_s
from policies.drifts import drift
from policies.release_compilation import canary, choose_rule, feedback, recording, shadow, sticky_claims
from policies.samples import sampling
from policies.schema.limits import LimitsFile, LimitWritten, SharedWritten, TierWritten
from policies.schema.mesh import (
    AlertsWritten,
    BoundsWritten,
    ExportWritten,
    JwtWritten,
    ListenWritten,
    LogsWritten,
    MeshFile,
    TracingWritten,
)
from policies.schema.route import (
    BatchingWritten,
    EjectWritten,
    HealthWritten,
    PodsWritten,
    RetryWritten,
    RouteFile,
)
from policies.schema.slos import BurnWindowsWritten, SlosFile, SloWritten
from policies.schema.tenant import KeyWritten, QuotaWritten, TenantFile
from policies.snapshot.generation import Snapshot
from policies.snapshot.limits import Limit, SharedLimit, Tier, default_burst
from policies.snapshot.mesh import (
    DEFAULT_LISTEN,
    Alerting,
    Bounds,
    ClientCerts,
    Export,
    JwtIssuer,
    Listen,
    Logs,
    Mesh,
    Role,
    Tls,
    Tracing,
    Webhook,
)
from policies.snapshot.route import Balance, Batching, Eject, Health, Launch, Retry, Route, Static, Version
from policies.snapshot.slos import BurnAlert, Guards, Objective
from policies.snapshot.tenant import Key, LadderStep, Quota, Tenant, TenantJwt
from policies.snapshot.tests import PolicyTest


def compile_snapshot(
    mesh: MeshFile,
    limits: LimitsFile | None,
    tenants: Iterable[TenantFile],
    routes: Iterable[RouteFile],
    slos: SlosFile | None = None,
    tests: Iterable[PolicyTest] = (),
) -> Snapshot:
    """The snapshot of files that have been checked; its generation is 0 until somebody numbers it."""
    tiers = limits.tiers if limits else {}
    objectives = slos.slos if slos else []
    compiled = {route.model: _route(route) for route in sorted(routes, key=lambda route: route.model)}
    unsigned = Snapshot(
        generation=0,
        digest="",
        mesh=_mesh(mesh, sticky_claims(compiled.values())),
        tiers={name: _tier(name, tier) for name, tier in sorted(tiers.items())},
        tenants={tenant.name: _tenant(tenant) for tenant in sorted(tenants, key=lambda tenant: tenant.name)},
        routes=compiled,
        objectives={slo.name: _objective(slo) for slo in sorted(objectives, key=lambda slo: slo.name)},
        shared=tuple(filter(None, map(_shared, (limits and limits.shared) or ()))),
        tests=tuple(tests),
    )
    return msgspec.structs.replace(unsigned, digest=digest_of(unsigned))


def digest_of(snapshot: Snapshot) -> str:
    """SHA-256 of what a snapshot decides, whatever its number: equal for files that mean the same.

    Tests are left out: they decide nothing, and to edit one makes no new generation.
    """
    content = msgspec.structs.replace(snapshot, generation=0, digest="", tests=())
    return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _mesh(written: MeshFile, claims: tuple[str, ...]) -> Mesh:
    listen = tuple(_listen(one) for one in written.listen or ())
    jwt = (written.auth and written.auth.jwt) or ()
    roles = (written.admin and written.admin.roles) or ()
    return Mesh(
        name=written.name,
        listen=listen or DEFAULT_LISTEN,
        bounds=_bounds(written.bounds or BoundsWritten()),
        tracing=_tracing(written.tracing or TracingWritten()),
        logs=_logs(written.logs or LogsWritten()),
        jwt=tuple(_issuer(one, claims) for one in jwt),
        roles=tuple(Role(one.name, tuple(one.subjects), tuple(one.may), tuple(one.on or ())) for one in roles),
        alerts=_alerting(written.alerts or AlertsWritten()),
    )


def _alerting(written: AlertsWritten) -> Alerting:
    return Alerting(
        webhooks=tuple(
            Webhook(one.url, one.authorization or "", one.signature or "") for one in written.webhooks or ()
        ),
        alertmanager=(written.alertmanager or "").rstrip("/"),
        runbooks=(written.runbooks or "").rstrip("/"),
        alertmanager_authorization=written.alertmanager_authorization or "",
        dashboards=(written.dashboards or "").rstrip("/"),
    )


def _listen(written: ListenWritten) -> Listen:
    certs = written.client_certs
    return Listen(
        written.address,
        written.serves,
        tls=Tls(written.tls.cert, written.tls.key) if written.tls else None,
        client_certs=ClientCerts(certs.mode == "required", certs.ca, certs.tenant_from or "san-uri") if certs else None,
    )


def _issuer(written: JwtWritten, claims: tuple[str, ...]) -> JwtIssuer:
    usual = JwtIssuer("", "", (), (), "", "")
    return JwtIssuer(
        name=written.name,
        issuer=written.issuer,
        audiences=tuple(written.audiences),
        algorithms=tuple(written.algorithms),
        jwks_url=written.jwks.url,
        tenant_claim=written.tenant_from.removeprefix("claim:"),
        scopes_claim=(written.scopes_from or usual.scopes_claim).removeprefix("claim:"),
        groups_claim=(written.groups_from or usual.groups_claim).removeprefix("claim:"),
        refresh_s=_duration(written.jwks.refresh, usual.refresh_s),
        keep_stale_s=_duration(written.jwks.keep_stale, usual.keep_stale_s),
        leeway_s=_duration(written.leeway, usual.leeway_s),
        sticky_claims=claims,
    )


def _bounds(written: BoundsWritten) -> Bounds:
    usual = Bounds()
    return Bounds(
        header_bytes=_size(written.header_bytes, usual.header_bytes),
        body_bytes=_size(written.body_bytes, usual.body_bytes),
        idle_timeout_s=_duration(written.idle_timeout, usual.idle_timeout_s),
        header_timeout_s=_duration(written.header_timeout, usual.header_timeout_s),
        body_timeout_s=_duration(written.body_timeout, usual.body_timeout_s),
        max_deadline_s=_duration(written.max_deadline, usual.max_deadline_s),
    )


def _tracing(written: TracingWritten) -> Tracing:
    usual = Tracing()
    return Tracing(
        callers=written.callers or usual.callers,
        kept_per_s=usual.kept_per_s if written.kept_per_s is None else written.kept_per_s,
        baggage=tuple(sorted(written.baggage or ())),
        attributes=tuple(sorted(written.attributes or ())),
        export=_export(written.export) if written.export else None,
    )


def _export(written: ExportWritten) -> Export:
    usual = Export("")
    return Export(
        to=written.to.rstrip("/"),
        headers=written.headers or "",
        ca=written.ca or "",
        queue_bytes=_size(written.queue, usual.queue_bytes),
        answer_within_s=_duration(written.answer_within, usual.answer_within_s),
    )


def _logs(written: LogsWritten) -> Logs:
    usual = Logs()
    return Logs(written.format or usual.format, written.level or usual.level, written.handlers or usual.handlers)


def _size(text: str | None, usual: int) -> int:
    return usual if text is None else units.size_bytes(text)


def _duration(text: str | None, usual_s: float) -> float:
    return usual_s if text is None else units.duration_s(text)


def _optional_duration(text: str | None) -> float | None:
    return None if text is None else units.duration_s(text)


def _tier(name: str, written: TierWritten) -> Tier:
    usual, queue = Tier(name), written.queue
    return Tier(
        name,
        _limit(f"tier/{name}", written),
        _optional_duration(written.deadline),
        priority=usual.priority if written.priority is None else written.priority,
        weight=written.weight or usual.weight,
        queue_length=queue.length if queue else usual.queue_length,
        queue_wait_s=units.duration_s(queue.wait) if queue else usual.queue_wait_s,
    )


def _limit(name: str, written: LimitWritten | TierWritten | SharedWritten | None) -> Limit | None:
    """A limit as it is kept; None where nothing is limited."""
    if written is None or (written.rate is None and written.in_flight is None):
        return None
    rate_per_s = None if written.rate is None else units.rate_per_s(written.rate)
    burst = written.burst or (1 if rate_per_s is None else default_burst(rate_per_s))
    return Limit(name, rate_per_s, burst, written.in_flight, observe=written.mode == "observe")


def _shared(written: SharedWritten) -> SharedLimit | None:
    limit = _limit(f"shared/{written.name}", written)
    to = written.applies_to
    return SharedLimit(limit, _names(to.route), _names(to.tenant), _names(to.tier)) if limit else None


def _tenant(written: TenantFile) -> Tenant:
    return Tenant(
        name=written.name,
        owner=written.owner,
        tier=written.tier,
        keys=tuple(_key(key) for key in written.keys or ()),
        may_call=tuple(written.may_call),
        jwt=TenantJwt(written.jwt.issuer, written.jwt.tenant_id) if written.jwt else None,
        certificates=tuple(sorted(written.certificates or ())),
        limit=_limit(f"tenant/{written.name}", written.limits),
        quotas=tuple(_quota(quota) for quota in written.quotas or ()),
        # Nobody's requests are copied unless somebody has said so.
        is_copied=written.shadow == "allow",
    )


def _quota(written: QuotaWritten) -> Quota:
    usual = Quota("", "", 0, "")
    ladder = (LadderStep(units.fraction(share), action) for share, action in (written.at or {}).items())
    meter = "device_time" if written.meter == "gpu_time" else written.meter
    return Quota(
        name=written.name,
        meter=meter,
        limit=_amount(written.limit, meter),
        per=written.per,
        zone=written.zone or usual.zone,
        ladder=tuple(sorted(ladder, key=lambda step: step.share)) or usual.ladder,
    )


def _amount(written: int | str, meter: str) -> int:
    """In the meter's unit: requests, bytes, microseconds or tokens."""
    if isinstance(written, int):
        return written
    if meter == "bytes":
        return units.size_bytes(written)
    return round(units.duration_s(written) * 1_000_000)


def _key(written: KeyWritten) -> Key:
    return Key(
        id=written.id,
        sha256=written.sha256,
        scopes=tuple(written.scopes),
        not_before_s=None if written.not_before is None else units.moment_unix_s(written.not_before),
        not_after_s=None if written.not_after is None else units.moment_unix_s(written.not_after),
    )


def _route(written: RouteFile) -> Route:
    return Route(
        model=written.model,
        owner=written.owner,
        versions={name: _version(name, version.pods) for name, version in sorted(written.versions.items())},
        stable=written.stable,
        timeout_s=_optional_duration(written.timeout),
        body_bytes=None if written.body_bytes is None else units.size_bytes(written.body_bytes),
        batching=_batching(written.batching or BatchingWritten()),
        slo=_names(written.slo),
        limit=_limit(f"model/{written.model}", written.limits),
        retry=_retry(written.retry) if written.retry else Retry(),
        choose=tuple(choose_rule(rule) for rule in written.choose or ()),
        canary=canary(written.canary, written.stable) if written.canary else None,
        shadows=tuple(shadow(one) for one in written.shadow or ()),
        record=recording(written.record) if written.record else None,
        feedback=feedback(written.feedback) if written.feedback else None,
        drift=drift(written.drift) if written.drift else None,
        samples=sampling(written.samples) if written.samples else None,
    )


def _names(written: str | list[str] | None) -> tuple[str, ...]:
    return (written,) if isinstance(written, str) else tuple(sorted(written or ()))


def _version(name: str, pods: PodsWritten) -> Version:
    launch = Launch(pods.launch.archive, pods.launch.count, pods.launch.device) if pods.launch else None
    static = Static(tuple(pods.static)) if pods.static else None
    return Version(
        name,
        launch,
        static,
        pods.in_flight,
        pods.dns or "",
        balance=Balance(pods.balance.choices) if pods.balance else Balance(),
        health=_health(pods.health) if pods.health else Health(),
        eject=_eject(pods.eject) if pods.eject else Eject(),
    )


def _health(written: HealthWritten) -> Health:
    usual = Health()
    return Health(
        path=written.path or usual.path,
        every_s=_duration(written.every, usual.every_s),
        down_after=written.down_after or usual.down_after,
        up_after=written.up_after or usual.up_after,
    )


def _eject(written: EjectWritten) -> Eject:
    usual = Eject()
    for_s = units.duration_s(written.for_)
    return Eject(
        after_failures=written.after_failures,
        for_s=for_s,
        at_most_s=max(for_s, usual.at_most_s) if written.at_most is None else units.duration_s(written.at_most),
        max_share=usual.max_share if written.max_share is None else units.fraction(written.max_share),
    )


def _retry(written: RetryWritten) -> Retry:
    return Retry(tuple(sorted(set(written.on))), written.attempts, units.fraction(written.budget))


def _batching(written: BatchingWritten) -> Batching:
    usual = Batching()
    return Batching(
        max_rows=written.max_rows or usual.max_rows,
        max_wait_s=_duration(written.max_wait, usual.max_wait_s),
    )


def _objective(written: SloWritten) -> Objective:
    usual, good = Objective("", "", 0.0, 0.0), written.good
    period_s, target = units.duration_s(written.window), units.fraction(written.objective)
    return Objective(
        name=written.name,
        owner=written.owner,
        period_s=period_s,
        target=target,
        status_below=good.status_below or usual.status_below,
        within_s=_optional_duration(good.within),
        ignore_status=tuple(sorted(written.ignore.status)) if written.ignore else None,
        model=written.route or usual.model,
        by=usual.by if written.by is None else tuple(sorted(written.by, reverse=True)),
        alerts=_alerts(written, period_s, target),
        guards=_guards(written),
        first_byte_within_s=_optional_duration(good.first_byte_within),
        pod=good.pod or usual.pod,
        loads_within_s=_optional_duration(good.loads_within),
        label=good.label or usual.label,
        likely_within_s=_likely_within_s(written, period_s),
        tells_exhausted=written.ticket != [],
    )


def _likely_within_s(written: SloWritten, period_s: float) -> float:
    if written.likely_within is not None:
        return units.duration_s(written.likely_within)
    return 0.0 if written.ticket == [] else usual_likely_within_s(period_s)


def _alerts(written: SloWritten, period_s: float, target: float) -> tuple[BurnAlert, ...]:
    """The alerts that are written, and for a severity of which nothing is written, the usual ones."""
    usual = usual_alerts(period_s, target)
    alerts: list[BurnAlert] = []
    for severity, given in (("page", written.page), ("ticket", written.ticket)):
        if given is None:
            alerts += [alert for alert in usual if alert.severity == severity]
        else:
            alerts += [_alert(severity, windows) for windows in given]
    return tuple(alerts)


def _alert(severity: str, written: BurnWindowsWritten) -> BurnAlert:
    long_s = units.duration_s(written.long)
    name = f"{severity} {units.duration_text(long_s)}"
    return BurnAlert(severity, name, written.burn, long_s, units.duration_s(written.short))


def _guards(written: SloWritten) -> Guards:
    usual = Guards()
    return Guards(
        min_events=written.min_events or usual.min_events,
        min_bad_events=written.min_bad_events or usual.min_bad_events,
        chance_below=usual.chance_below if written.chance_below is None else units.fraction(written.chance_below),
    )
