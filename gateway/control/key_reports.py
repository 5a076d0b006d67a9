"""Reports of keys, as the management API gives them and commands read them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KeyState = Literal["active", "expiring", "not yet", "expired", "revoked"]


@dataclass(frozen=True)
class RevocationReport:
    """Who took a key out of use, why, and when: UTC in ISO 8601."""

    by: str
    reason: str
    at: str


@dataclass(frozen=True)
class KeyReport:
    """One key of a tenant.

    `expiring` is active for 14 more days at most. Moments are UTC in ISO 8601; null is always for `not_before`, for
    ever for `not_after` and never for `last_used_at`.
    """

    id: str
    tenant: str
    owner: str
    scopes: list[str]
    state: KeyState
    not_before: str | None
    not_after: str | None
    last_used_at: str | None
    revocation: RevocationReport | None


@dataclass(frozen=True)
class OtherRevocationReport:
    """A revoked id that is no key of the policy in force: a token's, a certificate's, or a key that is gone."""

    id: str
    revocation: RevocationReport


@dataclass(frozen=True)
class KeysReport:
    """Every key of the policy in force. Uses are known since `used_since`."""

    generation: int
    used_since: str
    keys: list[KeyReport]
    other_revocations: list[OtherRevocationReport]


@dataclass(frozen=True)
class RevokedReport:
    """Whether a key is revoked from now on; `changed` is false when it was so before."""

    id: str
    is_revoked: bool
    changed: bool
