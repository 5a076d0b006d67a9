"""Issuer keys: which of the keys that an issuer publishes may verify its tokens, each by exactly one algorithm."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt import PyJWK, PyJWTError
from msgspec import Struct

from policies.snapshot.mesh import JwtIssuer

MAX_KEYS = 100
# RFC 7518, 3.3 and 3.5: shorter ones must not be used.
_RSA_BITS = 2048
_RSA_ALGORITHMS = ("RS256", "PS256")
_BY_CURVE = {("EC", "P-256"): "ES256", ("EC", "P-384"): "ES384", ("OKP", "Ed25519"): "EdDSA"}
_PRIVATE_PARTS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


class KeysUnreadable(Exception):
    """What an issuer published is no key set."""


class IssuerKey(Struct, frozen=True):
    """One public key, and the only algorithm that it verifies by."""

    kid: str
    algorithm: str
    key: PyJWK


class KeyRing(Struct, frozen=True):
    """The usable keys of one issuer.

    Attributes:
        by_kid: "" is a key that has no name.
        unused: why the others of the set are not used, in words.
    """

    by_kid: dict[str, IssuerKey] = {}
    unused: tuple[str, ...] = ()


NO_KEYS = KeyRing()


class _Unused(Exception):
    """A key of the set is not used; the message says why."""


class _KeySet(Struct):
    keys: list[dict[str, Any]]


def read_keys(jwks: bytes, issuer: JwtIssuer) -> KeyRing:
    """Return the keys of a JSON Web Key Set that may verify the issuer's tokens.

    Of several keys with one name the first counts, so that what a set adds cannot take a key's place.

    Raises:
        KeysUnreadable: it is no key set.
    """
    try:
        written = msgspec.json.decode(jwks, type=_KeySet).keys
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise KeysUnreadable(f"it is no JSON Web Key Set: {error}") from error
    by_kid: dict[str, IssuerKey] = {}
    unused: list[str] = []
    for one in written[:MAX_KEYS]:
        try:
            key = _usable(one, issuer)
        except _Unused as reason:
            unused.append(str(reason))
            continue
        if by_kid.setdefault(key.kid, key) is not key:
            unused.append(f"{_named(key.kid)} comes a second time")
    if len(written) > MAX_KEYS:
        unused.append(f"{len(written) - MAX_KEYS} keys come after the first {MAX_KEYS}")
    return KeyRing(by_kid, tuple(unused))


def _usable(written: dict[str, Any], issuer: JwtIssuer) -> IssuerKey:
    kid = written.get("kid", "")
    if not isinstance(kid, str):
        raise _Unused("a key's name is no string")
    name = _named(kid)
    if not _PRIVATE_PARTS.isdisjoint(written):
        raise _Unused(f"{name} has secret parts, so whoever reads the set could sign with it")
    if not _is_for_signatures(written):
        raise _Unused(f"{name} is not for signatures")
    algorithm = _algorithm_of(written, issuer, name)
    if algorithm not in issuer.algorithms:
        raise _Unused(f"{name} is for {algorithm}, which policy does not allow this issuer")
    try:
        key = PyJWK(written, algorithm)
    except (PyJWTError, ValueError, TypeError) as error:
        raise _Unused(f"{name} cannot be read: {type(error).__name__}") from error
    if isinstance(key.key, RSAPublicKey) and key.key.key_size < _RSA_BITS:
        raise _Unused(f"{name} has {key.key.key_size} bits; RSA needs {_RSA_BITS}")
    return IssuerKey(kid, algorithm, key)


def _is_for_signatures(written: dict[str, Any]) -> bool:
    operations = written.get("key_ops", ["verify"])
    return written.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _algorithm_of(written: dict[str, Any], issuer: JwtIssuer, name: str) -> str:
    """Return what the key says of itself, if that fits; an RSA key that says nothing is used if there is no choice."""
    algorithm, possible = written.get("alg"), tuple(_possible(written))
    if algorithm is None:
        allowed = [one for one in possible if one in issuer.algorithms] if len(possible) > 1 else possible
        if len(allowed) != 1:
            raise _Unused(f"{name} does not say its algorithm, and policy allows {len(allowed)} that it could have")
        return allowed[0]
    if algorithm not in possible:
        raise _Unused(f"{name} is of a kind that its algorithm does not fit")
    return str(algorithm)


def _possible(written: dict[str, Any]) -> Iterator[str]:
    kind, curve = written.get("kty"), written.get("crv")
    if kind == "RSA":
        yield from _RSA_ALGORITHMS
    elif isinstance(kind, str) and isinstance(curve, str) and (kind, curve) in _BY_CURVE:
        yield _BY_CURVE[kind, curve]


def _named(kid: str) -> str:
    return f"the key {kid[:64]!r}" if kid else "a key without a name"
