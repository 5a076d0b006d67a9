"""Which published keys may verify tokens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from jwt.algorithms import OKPAlgorithm

from gateway.decide.issuer_keys import MAX_KEYS, KeyRing, KeysUnreadable, read_keys
from policies.snapshot.mesh import JwtIssuer
from tests.fakes.issuer import ALGORITHMS, SigningKey, trusted_issuer

KEYS = {algorithm: SigningKey(f"key-{algorithm}", algorithm) for algorithm in ALGORITHMS}


def ring_of(*jwks: dict[str, Any], issuer: JwtIssuer | None = None) -> KeyRing:
    return read_keys(json.dumps({"keys": jwks}).encode(), issuer or trusted_issuer())


def why_unused(*jwks: dict[str, Any], issuer: JwtIssuer | None = None) -> str:
    ring = ring_of(*jwks, issuer=issuer)
    assert not ring.by_kid
    return "; ".join(ring.unused)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_each_kind_of_key_verifies_by_its_own_algorithm(algorithm: str) -> None:
    ring = ring_of(KEYS[algorithm].jwk())
    assert [(key.kid, key.algorithm) for key in ring.by_kid.values()] == [(f"key-{algorithm}", algorithm)]
    assert ring.unused == ()


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "EdDSA"])
def test_a_curve_says_the_algorithm_where_the_key_does_not(algorithm: str) -> None:
    (key,) = ring_of(KEYS[algorithm].jwk(alg=None)).by_kid.values()
    assert key.algorithm == algorithm


def test_an_rsa_key_that_does_not_say_its_algorithm_is_used_only_if_policy_leaves_no_choice() -> None:
    silent = KEYS["RS256"].jwk(alg=None)
    (key,) = ring_of(silent, issuer=trusted_issuer(algorithms=("ES256", "PS256"))).by_kid.values()
    assert key.algorithm == "PS256"
    assert "policy allows 2" in why_unused(silent)
    assert "policy allows 0" in why_unused(silent, issuer=trusted_issuer(algorithms=("ES256",)))


@pytest.mark.parametrize(
    ("jwk", "why"),
    [
        ({"kty": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ", "alg": "HS256"}, "secret parts"),
        ({"kty": "oct", "alg": "HS256"}, "its algorithm does not fit"),
        (KEYS["RS256"].jwk(alg="ES256"), "its algorithm does not fit"),
        (KEYS["RS256"].jwk(alg="none"), "its algorithm does not fit"),
        (KEYS["RS256"].jwk(alg="RS512"), "its algorithm does not fit"),
        (KEYS["ES256"].jwk(alg="ES384"), "its algorithm does not fit"),
        (KEYS["ES256"].jwk(alg=["ES256"]), "its algorithm does not fit"),
        (KEYS["ES256"].jwk(use="enc"), "not for signatures"),
        (KEYS["ES256"].jwk(key_ops=["sign"]), "not for signatures"),
        (KEYS["ES256"].jwk(d="AAAA"), "secret parts"),
        (KEYS["ES256"].jwk(kid=7), "no string"),
        (KEYS["ES256"].jwk(x="AAAA"), "cannot be read"),
        (KEYS["ES256"].jwk(x=None), "cannot be read"),
        (KEYS["ES256"].jwk(crv="P-521"), "its algorithm does not fit"),
        (KEYS["ES256"].jwk(crv="secp256k1", alg=None), "does not say its algorithm"),
        ({"kty": "EC", "crv": {"a": 1}}, "does not say its algorithm"),
        ({}, "does not say its algorithm"),
    ],
)
def test_a_key_that_proves_nothing_is_left_out_and_told(jwk: dict[str, Any], why: str) -> None:
    assert why in why_unused(jwk)


def test_a_key_of_an_algorithm_that_policy_does_not_allow_is_left_out() -> None:
    assert "is for RS256" in why_unused(KEYS["RS256"].jwk(), issuer=trusted_issuer(algorithms=("ES256",)))


def test_a_short_rsa_key_is_left_out() -> None:
    short = SigningKey("short", "RS256", rsa.generate_private_key(65537, 1024))  # noqa: S505 - that is the point
    assert "1024 bits" in why_unused(short.jwk())


def test_another_edwards_curve_is_left_out() -> None:
    jwk = OKPAlgorithm.to_jwk(ed448.Ed448PrivateKey.generate().public_key(), as_dict=True)
    assert "its algorithm does not fit" in why_unused(jwk | {"alg": "EdDSA"})


def test_a_key_off_its_curve_is_left_out() -> None:
    other = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    assert "cannot be read" in why_unused(KEYS["ES256"].jwk(x=hex(other.x), y=hex(other.y)))


def test_of_two_keys_with_one_name_the_first_counts() -> None:
    first, second = SigningKey("same", "ES256"), SigningKey("same", "ES256")
    ring = ring_of(first.jwk(), second.jwk())
    assert ring.by_kid["same"].key.key == first.private.public_key()
    assert ring.unused == ("the key 'same' comes a second time",)


def test_a_set_is_read_no_further_than_its_bound() -> None:
    many = [KEYS["ES256"].jwk(kid=f"k{number}") for number in range(MAX_KEYS + 3)]
    ring = ring_of(*many)
    assert len(ring.by_kid) == MAX_KEYS
    assert ring.unused == ("3 keys come after the first 100",)


@pytest.mark.parametrize(
    "jwks", [b"", b"[]", b"null", b'{"keys":{}}', b'{"keys":[1]}', b"<html>", b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_key_set_is_told(jwks: bytes) -> None:
    with pytest.raises(KeysUnreadable, match="no JSON Web Key Set"):
        read_keys(jwks, trusted_issuer())
