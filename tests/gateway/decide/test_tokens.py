"""Tokens: what holds, and every way in which one can fail to."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.credentials import TokenShown
from gateway.decide.issuer_keys import NO_KEYS, read_keys
from gateway.decide.tokens import MAX_TOKEN_BYTES, Cause, TokenRefused, Trusted, loggable, looks_like_token, verify
from tests.fakes.issuer import ALGORITHMS, NOW_S, SigningKey, claims, part, trusted_issuer

KEYS = {algorithm: SigningKey(f"key-{algorithm}", algorithm) for algorithm in ALGORITHMS}
ES256, RS256 = KEYS["ES256"], KEYS["RS256"]
JWKS = json.dumps({"keys": [key.jwk() for key in KEYS.values()]}).encode()
LEEWAY_S = 30.0


def trusted(jwks: bytes = JWKS, **changes: Any) -> Trusted:
    issuer = trusted_issuer(**changes)
    return Trusted(issuer, read_keys(jwks, issuer) if jwks else NO_KEYS)


def shown(token: str, *by: Trusted, wall_s: float = NOW_S) -> TokenShown:
    return verify(token.encode(), by or (trusted(),), wall_s)


def cause_of(token: str | bytes, *by: Trusted, wall_s: float = NOW_S) -> Cause:
    with pytest.raises(TokenRefused) as refused:
        verify(token if isinstance(token, bytes) else token.encode(), by or (trusted(),), wall_s)
    return refused.value.cause


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_proves_its_claims_by_each_algorithm(algorithm: str) -> None:
    assert shown(KEYS[algorithm].token()) == TokenShown(
        issuer="corp",
        tenant_id="ads-prod",
        subject="robot@ads",
        scopes=("infer", "explain"),
        expires_s=NOW_S + 600 + LEEWAY_S,
        groups=("platform",),
    )


def test_the_only_key_of_an_issuer_need_not_be_named() -> None:
    one = trusted(json.dumps({"keys": [ES256.jwk(kid=None)]}).encode())
    assert shown(ES256.token(header={"kid": None}), one).subject == "robot@ads"
    assert cause_of(ES256.token(header={"kid": None})) is Cause.KID_MISSING


def test_what_a_token_says_of_keys_is_not_looked_at() -> None:
    stranger = SigningKey("key-ES256", "ES256")
    brought = {
        "jwk": stranger.jwk(),
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example",
        "x5c": ["MII"],
    }
    assert cause_of(stranger.token(header=brought)) is Cause.SIGNATURE_WRONG
    assert shown(ES256.token(header=brought)).subject == "robot@ads"


@pytest.mark.parametrize("name", ["none", "None", "nOnE", "NONE", "", None, 0, ["ES256"], {"a": 1}, "HS256", "RS512"])
def test_an_algorithm_that_policy_does_not_name_counts_for_nothing(name: Any) -> None:
    header = {"alg": name, "kid": "key-ES256"}
    signed = f"{part(header)}.{part(claims())}"
    assert cause_of(f"{signed}.") is Cause.ALGORITHM_NOT_ALLOWED
    assert cause_of(f"{signed}.{part(ES256.sign(signed.encode()))}") is Cause.ALGORITHM_NOT_ALLOWED


def test_a_public_key_is_no_secret_to_sign_with() -> None:
    pem = RS256.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for algorithm in ("HS256", "RS256"):
        signed = f"{part({'alg': algorithm, 'kid': 'key-RS256'})}.{part(claims())}"
        token = f"{signed}.{part(hmac.digest(pem, signed.encode(), hashlib.sha256))}"
        expected = Cause.ALGORITHM_NOT_ALLOWED if algorithm == "HS256" else Cause.SIGNATURE_WRONG
        assert cause_of(token) is expected


@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if name != "RS256"])
def test_an_algorithm_that_is_not_the_keys_counts_for_nothing(algorithm: str) -> None:
    other = SigningKey("key-RS256", algorithm, KEYS[algorithm].private)
    assert cause_of(other.token()) is Cause.ALGORITHM_OF_OTHER_KEY


def test_the_same_rsa_key_verifies_by_one_padding_only() -> None:
    as_pss = SigningKey("key-RS256", "PS256", RS256.private)
    assert cause_of(as_pss.token()) is Cause.ALGORITHM_OF_OTHER_KEY
    assert cause_of(as_pss.token(header={"alg": "RS256"})) is Cause.SIGNATURE_WRONG


@pytest.mark.parametrize(
    "kid", ["../../etc/passwd", "/dev/null", "' OR 1=1 --", "http://127.0.0.1/k", "", "KEY-ES256", "\x00", "é" * 50]
)
def test_a_key_name_is_only_ever_compared(kid: str) -> None:
    assert cause_of(ES256.token(header={"kid": kid})) is Cause.KID_UNKNOWN


@pytest.mark.parametrize("kid", [7, True, ["key-ES256"], {"kid": "key-ES256"}])
def test_a_key_name_that_is_no_string_names_nothing(kid: Any) -> None:
    assert cause_of(ES256.token(header={"kid": kid})) is Cause.KID_UNKNOWN


@pytest.mark.parametrize(
    "field",
    [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"zip": "DEF"},
        {"enc": "A256GCM"},
        {"cty": "JWT"},
    ],
)
def test_a_header_that_changes_what_is_verified_is_refused(field: dict[str, Any]) -> None:
    assert cause_of(ES256.token(header=field)) is Cause.HEADER_NOT_UNDERSTOOD


def test_an_unencoded_payload_is_refused() -> None:
    header = part({"alg": "ES256", "kid": "key-ES256", "b64": False, "crit": ["b64"]})
    detached = f"{header}..{part(ES256.sign(f'{header}.'.encode() + json.dumps(claims()).encode()))}"
    assert cause_of(detached) is Cause.HEADER_NOT_UNDERSTOOD


@pytest.mark.parametrize("size", [64, 0, 1, 63, 65, 128])
def test_a_signature_of_zeros_is_wrong(size: int) -> None:
    signed = ES256.token().rpartition(".")[0]
    assert cause_of(f"{signed}.{part(bytes(size))}") is Cause.SIGNATURE_WRONG


def test_a_signature_of_the_groups_order_is_wrong() -> None:
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signed = ES256.token().rpartition(".")[0]
    for r, s in ((order, order), (1, order), (order, 1), (1, 1), (0, 1), (1, 0)):
        assert cause_of(f"{signed}.{part(r.to_bytes(32) + s.to_bytes(32))}") is Cause.SIGNATURE_WRONG


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_one_flipped_bit_anywhere_costs_the_token_its_worth(algorithm: str) -> None:
    token = KEYS[algorithm].token().encode()
    for at in range(0, len(token), 7):
        flipped = token[:at] + bytes((token[at] ^ 1,)) + token[at + 1 :]
        assert isinstance(cause_of(flipped), Cause)


def test_a_token_of_another_key_of_the_same_name_is_refused() -> None:
    assert cause_of(SigningKey("key-ES256", "ES256").token()) is Cause.SIGNATURE_WRONG


@pytest.mark.parametrize(
    ("changes", "wall_s", "cause"),
    [
        ({}, NOW_S + 600 + LEEWAY_S, Cause.EXPIRED),
        ({"exp": NOW_S - LEEWAY_S}, NOW_S, Cause.EXPIRED),
        ({"exp": 0}, NOW_S, Cause.EXPIRED),
        ({"exp": None}, NOW_S, Cause.EXPIRY_MISSING),
        ({"exp": str(NOW_S + 600)}, NOW_S, Cause.DATE_UNREADABLE),
        ({"exp": True}, NOW_S, Cause.DATE_UNREADABLE),
        ({"exp": -1}, NOW_S, Cause.DATE_UNREADABLE),
        ({"exp": 1e300}, NOW_S, Cause.DATE_UNREADABLE),
        ({"exp": 10**400}, NOW_S, Cause.DATE_UNREADABLE),
        ({"exp": [NOW_S + 600]}, NOW_S, Cause.DATE_UNREADABLE),
        ({"nbf": NOW_S + LEEWAY_S + 1}, NOW_S, Cause.NOT_YET_VALID),
        ({"nbf": "soon"}, NOW_S, Cause.DATE_UNREADABLE),
        ({"iat": NOW_S + LEEWAY_S + 1}, NOW_S, Cause.ISSUED_IN_FUTURE),
        ({"iat": {}}, NOW_S, Cause.DATE_UNREADABLE),
        ({}, NOW_S + 86_400, Cause.EXPIRED),
        ({}, NOW_S - 86_400, Cause.NOT_YET_VALID),
    ],
)
def test_dates_count_with_the_leeway_and_no_further(changes: dict[str, Any], wall_s: float, cause: Cause) -> None:
    assert cause_of(ES256.token(claims(**changes)), wall_s=wall_s) is cause


def test_at_the_edge_of_the_leeway_a_token_still_holds() -> None:
    assert shown(ES256.token(claims(exp=NOW_S - LEEWAY_S + 0.001))).issuer == "corp"
    assert shown(ES256.token(claims(nbf=NOW_S + LEEWAY_S, iat=NOW_S + LEEWAY_S))).issuer == "corp"
    assert shown(ES256.token(claims(nbf=None, iat=None))).issuer == "corp"


@pytest.mark.parametrize("audience", ["other", None, "", "penstock2", "PENSTOCK", ["a", "b"], [], [None], {"a": 1}, 7])
def test_a_token_for_somebody_else_is_refused(audience: Any) -> None:
    body = claims() | {"aud": audience}
    assert cause_of(ES256.token(body)) is Cause.AUDIENCE_WRONG


def test_a_token_for_several_is_for_us_too() -> None:
    assert shown(ES256.token(claims(aud=["other", "penstock"]))).issuer == "corp"
    assert (
        cause_of(ES256.token({name: value for name, value in claims().items() if name != "aud"}))
        is Cause.AUDIENCE_WRONG
    )


@pytest.mark.parametrize(
    "issuer",
    ["https://sso.example/", "https://sso.exampl", "https://sso.example.evil", "HTTPS://SSO.EXAMPLE", "", None, ["a"]],
)
def test_only_the_exact_issuer_counts(issuer: Any) -> None:
    body = claims() | {"iss": issuer}
    assert cause_of(ES256.token(body)) is Cause.ISSUER_UNKNOWN


def test_keys_of_one_issuer_verify_no_token_of_another() -> None:
    mine, theirs = SigningKey("k", "ES256"), SigningKey("k", "ES256")
    both = (
        trusted(json.dumps({"keys": [mine.jwk()]}).encode()),
        trusted(json.dumps({"keys": [theirs.jwk()]}).encode(), name="partner", issuer="https://partner.example"),
    )
    assert cause_of(theirs.token(), *both) is Cause.SIGNATURE_WRONG
    assert shown(theirs.token(claims(iss="https://partner.example")), *both).issuer == "partner"


def test_of_two_entries_with_one_issuer_the_audience_chooses() -> None:
    both = (trusted(), trusted(name="admins", audiences=("penstock-admin",)))
    assert shown(ES256.token(claims(aud="penstock-admin")), *both).issuer == "admins"
    assert shown(ES256.token(), *both).issuer == "corp"


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b'{"iss":"https://sso.example","iss":"https://sso.example"}', Cause.UNREADABLE_CLAIMS),
        (json.dumps(claims())[:-1].encode() + b',"exp":9999999999}', Cause.UNREADABLE_CLAIMS),
        (b'{"a":{"b":1,"b":2}}', Cause.UNREADABLE_CLAIMS),
        (b"[" * 4000, Cause.UNREADABLE_CLAIMS),
        (b'{"a":' * 1000 + b"1" + b"}" * 1000, Cause.UNREADABLE_CLAIMS),
        (b'{"exp":NaN}', Cause.UNREADABLE_CLAIMS),
        (b'{"exp":Infinity}', Cause.UNREADABLE_CLAIMS),
        (b'{"exp":' + b"9" * 5000 + b"}", Cause.UNREADABLE_CLAIMS),
        (b"[]", Cause.UNREADABLE_CLAIMS),
        (b'"text"', Cause.UNREADABLE_CLAIMS),
        (b"null", Cause.UNREADABLE_CLAIMS),
        (b"", Cause.UNREADABLE_CLAIMS),
        (b"\xff\xfe\x00", Cause.UNREADABLE_CLAIMS),
    ],
)
def test_claims_are_one_object_with_each_name_once(body: bytes, cause: Cause) -> None:
    assert cause_of(ES256.token(body)) is cause


@pytest.mark.parametrize("header", [b'{"alg":"ES256","alg":"none"}', b"[]", b"{", b"[" * 2000, b"\x00"])
def test_a_header_is_one_object_with_each_name_once(header: bytes) -> None:
    assert cause_of(ES256.token(raw_header=header)) is Cause.UNREADABLE_HEADER


@pytest.mark.parametrize(
    "token",
    [
        "",
        "eyJ",
        "eyJ.",
        "eyJhbGciOiJub25lIn0.e30",
        "a.b.c.d",
        "eyJhbGciOiJkaXIifQ..iv.text.tag",
        " . . ",
        "eyJ+.e30.AA",
        "eyJ=.e30.AA",
        "eyJ\n.e30.AA",
        "..",
    ],
)
def test_what_is_no_token_is_refused_for_its_shape(token: str) -> None:
    assert cause_of(token) in (Cause.MALFORMED, Cause.UNREADABLE_HEADER)


def test_a_large_token_is_refused_before_anything_is_read() -> None:
    assert cause_of("eyJ" + "A" * 2**20) is Cause.TOO_LONG
    padded = ES256.token(claims(padding="x" * MAX_TOKEN_BYTES))
    assert cause_of(padded) is Cause.TOO_LONG


def test_without_keys_nothing_is_verified() -> None:
    assert cause_of(ES256.token(), trusted(b"")) is Cause.NO_KEYS


def test_the_refusal_names_the_issuer_for_the_log() -> None:
    with pytest.raises(TokenRefused, match="corp: it has expired"):
        shown(ES256.token(), wall_s=NOW_S + 10_000)


@pytest.mark.parametrize(
    ("written", "scopes"),
    [
        ("infer", ("infer",)),
        ("pin  infer", ("infer", "pin")),
        (["infer", "pin"], ("infer", "pin")),
        ("openid profile infer admin", ("infer",)),
        (None, ()),
        ("", ()),
        ([], ()),
        ("INFER", ()),
    ],
)
def test_scopes_are_words_or_a_list_and_only_those_that_exist(written: Any, scopes: tuple[str, ...]) -> None:
    assert shown(ES256.token(claims(scope=written))).scopes == scopes


def test_an_issuer_without_a_claim_of_scopes_gives_the_usual_ones() -> None:
    assert shown(ES256.token(), trusted(scopes_claim="")).scopes == ("infer", "explain")


def test_claims_are_named_whole_whatever_signs_their_names_have() -> None:
    body = claims(**{"https://corp.example/tenant.id": "x-7", "tenant_id": None})
    assert shown(ES256.token(body), trusted(tenant_claim="https://corp.example/tenant.id")).tenant_id == "x-7"
    assert shown(ES256.token(claims(tenant={"id": "nested"})), trusted(tenant_claim="tenant.id")).tenant_id == ""


@pytest.mark.parametrize(
    "changes",
    [
        {"tenant_id": 7},
        {"tenant_id": ["ads"]},
        {"tenant_id": {"id": "ads"}},
        {"tenant_id": "x" * 201},
        {"sub": 7},
        {"sub": "x" * 201},
        {"scope": 7},
        {"scope": ["infer", 7]},
        {"groups": {"a": 1}},
        {"groups": [["a"]]},
    ],
)
def test_a_claim_of_another_kind_is_refused(changes: dict[str, Any]) -> None:
    assert cause_of(ES256.token(claims(**changes))) is Cause.CLAIM_UNREADABLE


@pytest.mark.parametrize(
    ("written", "groups"), [("site reliability", ("site reliability",)), (["a", "b c"], ("a", "b c")), (None, ())]
)
def test_groups_are_a_list_or_one_name(written: Any, groups: tuple[str, ...]) -> None:
    assert shown(ES256.token(claims(groups=written))).groups == groups


@given(st.text(max_size=200))
def test_a_subject_is_always_fit_to_be_logged(subject: str) -> None:
    told = loggable(subject)
    assert told.isascii()
    assert " " not in told
    assert told.isprintable()
    assert len(told) <= 128


def test_subjects_that_are_not_fit_to_be_logged_stay_apart() -> None:
    assert loggable("a b") != loggable("a\tb")
    assert loggable("robot@ads") == "robot@ads"


@given(st.binary(max_size=400))
def test_whatever_is_shown_is_refused_and_raises_nothing_else(token: bytes) -> None:
    assert isinstance(cause_of(b"eyJ" + token), Cause)


def test_only_what_begins_like_an_object_is_taken_for_a_token() -> None:
    assert looks_like_token(ES256.token().encode())
    assert not looks_like_token(b"msk_abcdefghijkl_secret")
    assert not looks_like_token(b"eyJwithoutparts")
