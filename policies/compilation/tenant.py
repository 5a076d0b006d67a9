"""Turns a tenant's file into its keys, limits and quotas."""

from policies import units
from policies.compilation.limits import limit_of
from policies.schema.tenant import KeyWritten, QuotaWritten, TenantFile
from policies.snapshot.tenant import Key, LadderStep, Quota, Tenant, TenantJwt


def tenant_of(written: TenantFile) -> Tenant:
    """A tenant's file."""
    return Tenant(
        name=written.name,
        owner=written.owner,
        tier=written.tier,
        keys=tuple(_key(key) for key in written.keys or ()),
        may_call=tuple(written.may_call),
        jwt=TenantJwt(written.jwt.issuer, written.jwt.tenant_id) if written.jwt else None,
        certificates=tuple(sorted(written.certificates or ())),
        limit=limit_of(f"tenant/{written.name}", written.limits),
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
