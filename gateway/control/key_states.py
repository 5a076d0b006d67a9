"""Decides what state each key is in, for people who change keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from gateway.control.key_reports import KeyReport, KeysReport, KeyState, OtherRevocationReport, RevocationReport
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Key, Tenant

EXPIRING_WITHIN_S = 14 * 86_400.0


class Revocation(Struct, frozen=True):
    """Who took a key out of use, why, and when (Unix seconds)."""

    by: str
    reason: str
    at_s: float


class KeyUse(Struct, frozen=True):
    """When credentials were last used, Unix seconds by id, and since when that is known."""

    since_s: float
    last_used_s: Mapping[str, float]


def state_of(key: Key, wall_s: float, *, is_revoked: bool) -> KeyState:
    """Return the state as ``KeyReport`` names it."""
    if is_revoked:
        return "revoked"
    if key.not_after_s is not None and wall_s >= key.not_after_s:
        return "expired"
    if key.not_before_s is not None and wall_s < key.not_before_s:
        return "not yet"
    if key.not_after_s is not None and wall_s >= key.not_after_s - EXPIRING_WITHIN_S:
        return "expiring"
    return "active"


def keys_report(snapshot: Snapshot, revoked: Mapping[str, Revocation], use: KeyUse, wall_s: float) -> KeysReport:
    """Return every key, by tenant and id."""
    tenants = sorted(snapshot.tenants.values(), key=lambda tenant: tenant.name)
    keys = [
        _report(tenant, key, revoked.get(key.id), use.last_used_s.get(key.id), wall_s)
        for tenant in tenants
        for key in sorted(tenant.keys, key=lambda key: key.id)
    ]
    known = {key.id for key in keys}
    others = [OtherRevocationReport(id_, _told(one)) for id_, one in sorted(revoked.items()) if id_ not in known]
    return KeysReport(snapshot.generation, _utc(use.since_s), keys, others)


def is_known(snapshot: Snapshot, credential_id: str) -> bool:
    """Whether the id is a key of policy, or one that a token or certificate may have.

    A token may have no subject, and a certificate may be an administrator's, whom no file of a tenant names.
    """
    kind, _, name = credential_id.partition(":")
    if kind == "jwt":
        issuer, colon, _ = name.partition(":")
        return bool(colon) and any(issuer == one.name for one in snapshot.mesh.jwt)
    if kind == "san":
        return bool(name)
    return any(key.id == credential_id for tenant in snapshot.tenants.values() for key in tenant.keys)


def _report(
    tenant: Tenant, key: Key, revocation: Revocation | None, last_used_s: float | None, wall_s: float
) -> KeyReport:
    return KeyReport(
        id=key.id,
        tenant=tenant.name,
        owner=tenant.owner,
        scopes=list(key.scopes),
        state=state_of(key, wall_s, is_revoked=revocation is not None),
        not_before=None if key.not_before_s is None else _utc(key.not_before_s),
        not_after=None if key.not_after_s is None else _utc(key.not_after_s),
        last_used_at=None if last_used_s is None else _utc(last_used_s),
        revocation=None if revocation is None else _told(revocation),
    )


def _told(revocation: Revocation) -> RevocationReport:
    return RevocationReport(revocation.by, revocation.reason, _utc(revocation.at_s))


def _utc(moment_s: float) -> str:
    return datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
