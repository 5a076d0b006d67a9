"""Tokens: whether a JSON Web Token proves what it says, by keys of issuers that policy names; pure but for the CPU.

The header of a token is the word of whoever wrote it. It chooses among the keys that its issuer published, and nothing
else: the algorithm is the key's, and keys that a token brings along or points to (``jwk``, ``jku``, ``x5c``, ``x5u``)
are never looked at. What a token lacks to be accepted is for the log; its caller hears the same sentence always.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from jwt import PyJWS, PyJWTError
from msgspec import Struct

from gateway.decide.credentials import TokenShown
from gateway.decide.issuer_keys import IssuerKey, KeyRing
from policies.snapshot.mesh import JwtIssuer
from policies.snapshot.tenant import KNOWN_SCOPES

MAX_TOKEN_BYTES = 8 * 1024
REFUSED = "the token is not accepted here"
DEFAULT_SCOPES = ("infer", "explain")
_MAX_TEXT_CHARS = 200
_PART = re.compile(rb"[A-Za-z0-9_-]*\Z")
_PLAIN_SUBJECT = re.compile(r"[A-Za-z0-9._@|:/+=-]{0,128}\Z")
_UNFIT = re.compile(r"[^A-Za-z0-9._@|:/+=-]")
# Headers that change what is verified, or that must be understood and are not (RFC 7515, 4.1.11; RFC 7797).
_NOT_UNDERSTOOD = ("crit", "b64", "zip", "enc", "cty")
_JWS = PyJWS()


class Cause(StrEnum):
    """Why a token is refused, as the log names it."""

    TOO_LONG = "it is longer than 8 KiB"
    MALFORMED = "it is not three parts of base64url"
    UNREADABLE_HEADER = "its header is no JSON object with each name once"
    UNREADABLE_CLAIMS = "its claims are no JSON object with each name once"
    HEADER_NOT_UNDERSTOOD = "its header has a field that changes what is verified"
    ISSUER_UNKNOWN = "its issuer is none of mesh.yaml"
    ALGORITHM_NOT_ALLOWED = "its algorithm is none of its issuer's"
    NO_KEYS = "there are no keys of its issuer to verify it by"
    KID_MISSING = "it names no key, and its issuer has several"
    KID_UNKNOWN = "it names a key that its issuer does not have"
    ALGORITHM_OF_OTHER_KEY = "its algorithm is not that of the key that it names"
    SIGNATURE_WRONG = "its signature is not by the key that it names"
    AUDIENCE_WRONG = "it is for somebody else"
    EXPIRY_MISSING = "it does not say when it expires"
    EXPIRED = "it has expired"
    NOT_YET_VALID = "it is not valid yet"
    ISSUED_IN_FUTURE = "it was issued in the future"
    DATE_UNREADABLE = "one of its dates is no number of seconds"
    CLAIM_UNREADABLE = "a claim that policy reads has a value it cannot have"


class TokenRefused(Exception):
    """A token proves nothing.

    Attributes:
        issuer: the name in ``mesh.yaml`` of whom it claims to be from; "" when that is nobody.
    """

    def __init__(self, cause: Cause, issuer: str = "") -> None:
        super().__init__(f"{issuer or 'a token'}: {cause}")
        self.cause = cause
        self.issuer = issuer


class Trusted(Struct, frozen=True):
    """An issuer and the keys that it is known to have."""

    issuer: JwtIssuer
    ring: KeyRing


def looks_like_token(credential: bytes) -> bool:
    """Whether a bearer credential is meant as a token: it begins like a JSON object in base64url, and has parts."""
    return credential.startswith(b"eyJ") and b"." in credential


def verify(token: bytes, trusted: Sequence[Trusted], wall_s: float) -> TokenShown:
    """Return what a token proves at this moment.

    Raises:
        TokenRefused: nothing.
    """
    header, claims = _read(token)
    # Not proved yet; it only chooses whose keys may prove it.
    by = _trusted_by(claims, trusted)
    issuer = by.issuer
    try:
        _check_signature(token, _key_for(header, by))
        _check_dates(claims, wall_s, issuer.leeway_s)
        if not _is_for(issuer, claims):
            raise TokenRefused(Cause.AUDIENCE_WRONG)
        return _shown(claims, issuer)
    except TokenRefused as refused:
        raise TokenRefused(refused.cause, issuer.name) from refused


def _read(token: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenRefused(Cause.TOO_LONG)
    parts = token.split(b".")
    if len(parts) != 3 or not all(_PART.match(part) for part in parts):
        raise TokenRefused(Cause.MALFORMED)
    header = _read_object(parts[0], Cause.UNREADABLE_HEADER)
    if any(name in header for name in _NOT_UNDERSTOOD):
        raise TokenRefused(Cause.HEADER_NOT_UNDERSTOOD)
    return header, _read_object(parts[1], Cause.UNREADABLE_CLAIMS)


def _read_object(part: bytes, cause: Cause) -> dict[str, Any]:
    try:
        text = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
        found = json.loads(text, object_pairs_hook=_each_once, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TokenRefused(cause) from error
    if not isinstance(found, dict):
        raise TokenRefused(cause)
    return found


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _trusted_by(claims: dict[str, Any], trusted: Sequence[Trusted]) -> Trusted:
    """Return the issuer of the token; where two entries of policy have one ``iss``, the one that the token is for."""
    found = [one for one in trusted if one.issuer.issuer == claims.get("iss")]
    if not found:
        raise TokenRefused(Cause.ISSUER_UNKNOWN)
    return next((one for one in found if _is_for(one.issuer, claims)), found[0])


def _is_for(issuer: JwtIssuer, claims: dict[str, Any]) -> bool:
    written = claims.get("aud")
    audiences = written if isinstance(written, list) else [written]
    return any(isinstance(audience, str) and audience in issuer.audiences for audience in audiences)


def _key_for(header: dict[str, Any], by: Trusted) -> IssuerKey:
    algorithm, kid = header.get("alg"), header.get("kid")
    if algorithm not in by.issuer.algorithms:
        raise TokenRefused(Cause.ALGORITHM_NOT_ALLOWED)
    keys = by.ring.by_kid
    if not keys:
        raise TokenRefused(Cause.NO_KEYS)
    if kid is None and len(keys) > 1:
        raise TokenRefused(Cause.KID_MISSING)
    key = next(iter(keys.values())) if kid is None else keys.get(kid) if isinstance(kid, str) else None
    if key is None:
        raise TokenRefused(Cause.KID_UNKNOWN)
    if key.algorithm != algorithm:
        raise TokenRefused(Cause.ALGORITHM_OF_OTHER_KEY)
    return key


def _check_signature(token: bytes, key: IssuerKey) -> None:
    try:
        _JWS.decode(token, key.key, algorithms=[key.algorithm])
    except PyJWTError as error:
        raise TokenRefused(Cause.SIGNATURE_WRONG) from error


def _check_dates(claims: dict[str, Any], wall_s: float, leeway_s: float) -> None:
    expires_s = _date(claims, "exp")
    if expires_s is None:
        raise TokenRefused(Cause.EXPIRY_MISSING)
    if wall_s >= expires_s + leeway_s:
        raise TokenRefused(Cause.EXPIRED)
    for name, cause in (("nbf", Cause.NOT_YET_VALID), ("iat", Cause.ISSUED_IN_FUTURE)):
        from_s = _date(claims, name)
        if from_s is not None and wall_s < from_s - leeway_s:
            raise TokenRefused(cause)


def _date(claims: dict[str, Any], name: str) -> float | None:
    if name not in claims:
        return None
    date = claims[name]
    if isinstance(date, bool) or not isinstance(date, int | float) or not 0 <= date < 2**53:
        raise TokenRefused(Cause.DATE_UNREADABLE)
    return float(date)


def _shown(claims: dict[str, Any], issuer: JwtIssuer) -> TokenShown:
    scopes = _words(claims.get(issuer.scopes_claim, "")) if issuer.scopes_claim else DEFAULT_SCOPES
    return TokenShown(
        issuer=issuer.name,
        tenant_id=_text(claims, issuer.tenant_claim),
        subject=loggable(_text(claims, "sub")),
        # Others are the business of other services; none of ours may be told of by a name that is not ours.
        scopes=tuple(scope for scope in KNOWN_SCOPES if scope in scopes),
        expires_s=claims["exp"] + issuer.leeway_s,
        groups=_groups(claims.get(issuer.groups_claim, [])),
        claims=_sticky(claims, issuer.sticky_claims),
    )


def _sticky(claims: dict[str, Any], names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the claims of these names that a caller can be told by; others are as if they were not there."""
    found = ((name, claims.get(name)) for name in names)
    return tuple(
        (name, str(value))
        for name, value in found
        if isinstance(value, str | int) and not isinstance(value, bool) and 0 < len(str(value)) <= _MAX_TEXT_CHARS
    )


def _text(claims: dict[str, Any], name: str) -> str:
    """Return a claim that is a string; "" where there is none."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > _MAX_TEXT_CHARS:
        raise TokenRefused(Cause.CLAIM_UNREADABLE)
    return value


def _words(value: Any) -> tuple[str, ...]:
    """Return what a claim lists, as words of one string (RFC 8693, 4.2) or as strings of a list."""
    if isinstance(value, str):
        return tuple(value.split(" "))
    return _groups(value)


def _groups(value: Any) -> tuple[str, ...]:
    """Return the strings of a list, or one string as it stands: names of groups may have spaces."""
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise TokenRefused(Cause.CLAIM_UNREADABLE)
    return tuple(listed)


def loggable(subject: str) -> str:
    """Return a subject as it stands if it is fit to be logged, else what is left of it and a digest of the whole."""
    if _PLAIN_SUBJECT.match(subject):
        return subject
    digest = hashlib.sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_UNFIT.sub('.', subject)[:64]}~{digest}"
