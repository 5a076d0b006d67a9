"""Identity: whose request this is, from its credential alone; headers that claim an identity are never read."""

from __future__ import annotations

import hmac
import math
from typing import assert_never

from gateway.decide.credentials import CertificateShown, Credential, KeyShown, NoCredential, Recorded, TokenShown
from gateway.decide.tables import Caller, Tables
from model_pod.wire.refusals import Refused
from policies.snapshot.tenant import KNOWN_SCOPES, Key, Tenant

_NOBODY = bytes(32)
_DEFAULT_SCOPES = ("infer", "explain")


def identify(tables: Tables, credential: Credential, wall_s: float) -> Caller:
    """Return who calls.

    Raises:
        Refused: key_missing, key_unknown, key_not_valid_now, key_revoked or token_refused.
    """
    match credential:
        case KeyShown():
            return _by_key(tables, credential.digest, wall_s)
        case TokenShown():
            return _by_token(tables, credential, wall_s)
        case CertificateShown():
            return _by_certificate(tables, credential.identity)
        case NoCredential():
            raise Refused(credential.reason, credential.message)
        case Recorded():
            return _as_recorded(tables, credential, wall_s)
    assert_never(credential)


def _by_key(tables: Tables, digest: bytes, wall_s: float) -> Caller:
    caller = tables.callers.get(digest)
    known = caller.key_digest if caller else _NOBODY
    if not hmac.compare_digest(digest, known) or caller is None:
        raise Refused("key_unknown", "the API key is not known here; check it for typos, or ask for a new one")
    _check_key(tables, caller.key, wall_s)
    return caller


def check_still_valid(tables: Tables, key: Key, credential: Credential, wall_s: float) -> None:
    """Look again at what may have changed since a credential was accepted: dates and revocations.

    Raises:
        Refused: key_not_valid_now, key_revoked or token_refused.
    """
    _check_key(tables, key, wall_s)
    if type(credential) is TokenShown and wall_s >= credential.expires_s:
        raise _token_refused()


def _check_key(tables: Tables, key: Key, wall_s: float) -> None:
    if key.id in tables.revoked:
        raise _revoked(key.id)
    if key.not_before_s is not None and wall_s < key.not_before_s:
        raise Refused("key_not_valid_now", f"the API key {key.id} is not valid yet")
    if key.not_after_s is not None and wall_s >= key.not_after_s:
        raise Refused("key_not_valid_now", f"the API key {key.id} has expired; use its successor")


def _revoked(credential_id: str) -> Refused:
    """Tell it in the same way on a caller's first request and on every other."""
    if credential_id.startswith("jwt:"):
        return _token_refused()
    if credential_id.startswith("san:"):
        return Refused("key_revoked", "the client certificate was revoked here; use its successor")
    return Refused("key_revoked", f"the API key {credential_id} was revoked; use its successor")


def _by_token(tables: Tables, token: TokenShown, wall_s: float) -> Caller:
    tenant = tables.tenants_by_token.get((token.issuer, token.tenant_id))
    key = Key(f"jwt:{token.issuer}:{token.subject}", "", token.scopes)
    if tenant is None or wall_s >= token.expires_s or key.id in tables.revoked:
        raise _token_refused()
    return tables.caller(tenant, key)


def _token_refused() -> Refused:
    return Refused("token_refused", "the token is not accepted here")


def _by_certificate(tables: Tables, identity: str) -> Caller:
    tenant = tables.tenants_by_certificate.get(identity)
    if tenant is None:
        raise Refused("key_unknown", "the client certificate belongs to no tenant here")
    key = Key(f"san:{identity}", "", _DEFAULT_SCOPES)
    if key.id in tables.revoked:
        raise _revoked(key.id)
    return tables.caller(tenant, key)


def _as_recorded(tables: Tables, recorded: Recorded, wall_s: float) -> Caller:
    """Take the word of a record or test for the tenant; a credential that it names has to be the tenant's still."""
    tenant = tables.tenants.get(recorded.tenant)
    if tenant is None:
        raise Refused("key_unknown", f"there is no tenant {recorded.tenant}")
    for key in tenant.keys:
        if key.id == recorded.credential_id:
            _check_key(tables, key, wall_s)
            return tables.caller(tenant, key)
    kind, _, name = recorded.credential_id.partition(":")
    if kind == "jwt":
        return _by_recorded_token(tables, tenant, name, recorded.scopes)
    if kind == "san" and name in tenant.certificates:
        return _by_certificate(tables, name)
    if recorded.credential_id:
        raise Refused("key_unknown", f"tenant {recorded.tenant} has no credential {recorded.credential_id}")
    scopes = recorded.scopes or tuple(sorted({scope for key in tenant.keys for scope in key.scopes})) or KNOWN_SCOPES
    return tables.caller(tenant, Key("", "", scopes))


def _by_recorded_token(tables: Tables, tenant: Tenant, name: str, scopes: tuple[str, ...]) -> Caller:
    """Take a token for what it was; what it called its tenant is in no record, so it is taken to be the same still."""
    issuer, _, subject = name.partition(":")
    if tenant.jwt is None or tenant.jwt.issuer != issuer:
        raise _token_refused()
    return _by_token(tables, TokenShown(issuer, tenant.jwt.tenant_id, subject, scopes, math.inf), wall_s=0.0)
