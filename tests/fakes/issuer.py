"""An issuer of tokens with true keys, which also signs what no honest issuer would."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import get_algorithm_by_name

from policies.snapshot.mesh import JwtIssuer

NOW_S = 1_800_000_000.0
URL = "https://sso.example"
ALGORITHMS = ("ES256", "ES384", "RS256", "PS256", "EdDSA")

_NEW_KEY: dict[str, Callable[[], Any]] = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def trusted_issuer(**changes: Any) -> JwtIssuer:
    """Return an issuer as policy names it."""
    usual: dict[str, Any] = {
        "name": "corp",
        "issuer": URL,
        "audiences": ("penstock",),
        "algorithms": ALGORITHMS,
        "jwks_url": f"{URL}/jwks.json",
        "tenant_claim": "tenant_id",
        "scopes_claim": "scope",
    }
    return JwtIssuer(**(usual | changes))


def claims(**changes: Any) -> dict[str, Any]:
    """Return claims that hold at ``NOW_S``; None leaves one out."""
    usual: dict[str, Any] = {
        "iss": URL,
        "aud": "penstock",
        "exp": NOW_S + 600,
        "nbf": NOW_S - 10,
        "iat": NOW_S - 10,
        "sub": "robot@ads",
        "tenant_id": "ads-prod",
        "scope": "infer explain",
        "groups": ["platform"],
    }
    return {name: value for name, value in (usual | changes).items() if value is not None}


def part(value: Any) -> str:
    """Return one part of a token: bytes as they are, anything else as JSON."""
    written = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return urlsafe_b64encode(written).rstrip(b"=").decode()


@dataclass
class SigningKey:
    """A private key that signs whatever it is given."""

    kid: str
    algorithm: str
    private: Any = None

    def __post_init__(self) -> None:
        self.private = self.private or _NEW_KEY[self.algorithm]()

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public half as it is published; None leaves a member out."""
        written = get_algorithm_by_name(self.algorithm).to_jwk(self.private.public_key(), as_dict=True)
        written |= {"kid": self.kid, "alg": self.algorithm, "use": "sig"} | changes
        return {name: value for name, value in written.items() if value is not None}

    def sign(self, signed: bytes) -> bytes:
        """Return the signature of any bytes."""
        algorithm = get_algorithm_by_name(self.algorithm)
        return bytes(algorithm.sign(signed, algorithm.prepare_key(self.private)))

    def token(self, body: Any = None, *, header: dict[str, Any] | None = None, raw_header: bytes = b"") -> str:
        """Return a token of these claims (JSON or bytes); a header's None leaves a field out."""
        head = {"alg": self.algorithm, "kid": self.kid, "typ": "JWT"} | (header or {})
        head = {name: value for name, value in head.items() if value is not None}
        signed = f"{part(raw_header or head)}.{part(claims() if body is None else body)}"
        return f"{signed}.{part(self.sign(signed.encode()))}"


@dataclass
class Issuer:
    """Its keys, and the set that it publishes."""

    keys: list[SigningKey] = field(default_factory=lambda: [SigningKey("k1", "ES256")])

    def jwks(self) -> bytes:
        """Return the published set."""
        return json.dumps({"keys": [key.jwk() for key in self.keys]}).encode()
