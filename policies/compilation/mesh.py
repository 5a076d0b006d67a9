"""Turns ``mesh.yaml`` into what the mesh goes by."""

from policies.compilation.values import duration, size
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


def mesh_of(written: MeshFile, claims: tuple[str, ...]) -> Mesh:
    """The mesh's file; ``claims`` are those of tokens that releases go by."""
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
        refresh_s=duration(written.jwks.refresh, usual.refresh_s),
        keep_stale_s=duration(written.jwks.keep_stale, usual.keep_stale_s),
        leeway_s=duration(written.leeway, usual.leeway_s),
        sticky_claims=claims,
    )


def _bounds(written: BoundsWritten) -> Bounds:
    usual = Bounds()
    return Bounds(
        header_bytes=size(written.header_bytes, usual.header_bytes),
        body_bytes=size(written.body_bytes, usual.body_bytes),
        idle_timeout_s=duration(written.idle_timeout, usual.idle_timeout_s),
        header_timeout_s=duration(written.header_timeout, usual.header_timeout_s),
        body_timeout_s=duration(written.body_timeout, usual.body_timeout_s),
        max_deadline_s=duration(written.max_deadline, usual.max_deadline_s),
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
        queue_bytes=size(written.queue, usual.queue_bytes),
        answer_within_s=duration(written.answer_within, usual.answer_within_s),
    )


def _logs(written: LogsWritten) -> Logs:
    usual = Logs()
    return Logs(written.format or usual.format, written.level or usual.level, written.handlers or usual.handlers)
