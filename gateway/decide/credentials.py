"""Credentials: what a caller showed to prove who it is, checked at the edge as far as no tenant matters."""

from __future__ import annotations

from msgspec import Struct


class NoCredential(Struct, frozen=True, tag="none"):
    """Nothing that could be a credential, or one that proves nothing.

    Attributes:
        reason: of the registry: ``key_missing``, ``key_unknown``, ``token_refused`` ...
        message: for the caller; it tells nothing that helps to guess.
    """

    reason: str
    message: str


class KeyShown(Struct, frozen=True, tag="key"):
    """An API key, as its SHA-256; whether anybody has such a key is still to be seen."""

    digest: bytes


class TokenShown(Struct, frozen=True, tag="token"):
    """A token whose signature, issuer, audience and dates hold.

    Attributes:
        issuer: the issuer's name in ``mesh.yaml``.
        tenant_id: what the token calls its tenant; "" when it names none.
        subject: its ``sub``, fit to be logged.
        scopes: what it allows.
        expires_s: seconds since the epoch, leeway included.
        groups: for roles of the management API.
        claims: those by which some route keeps a caller on one version, as far as they are texts or numbers.
    """

    issuer: str
    tenant_id: str
    subject: str
    scopes: tuple[str, ...]
    expires_s: float
    groups: tuple[str, ...] = ()
    claims: tuple[tuple[str, str], ...] = ()


class CertificateShown(Struct, frozen=True, tag="certificate"):
    """A client certificate that leads to the listener's authorities, by the identity that it names."""

    identity: str


class Recorded(Struct, frozen=True, tag="recorded"):
    """Whose request it was, or is to be: for tests of policy and for what was recorded.

    Attributes:
        credential_id: the key's id; "" takes a credential with ``scopes``, valid now.
    """

    tenant: str
    credential_id: str = ""
    scopes: tuple[str, ...] = ()


Credential = NoCredential | KeyShown | TokenShown | CertificateShown | Recorded
