"""What a request shows, read from its true head."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field

import pytest

from gateway.control.messages import UnknownKid
from gateway.dataplane.credentials import NO_PEER, Credentials, Peer
from gateway.dataplane.token_desk import MAX_VERIFIED, SAY_EVERY_S, VERIFIED_FOR_S, TokenDesk
from gateway.decide.bad_keys import TRIES
from gateway.decide.credentials import CertificateShown, Credential, KeyShown, NoCredential, TokenShown
from gateway.decide.decision import Refusal
from model_pod.wire.http1 import HeadLimits, RequestHead, RequestReader
from tests.fakes.issuer import NOW_S, Issuer, SigningKey, claims, trusted_issuer

KEY = "msk_abcdefghij23_" + "0" * 43 + "_4YCfyi"
WITH_CERTIFICATE = Peer("192.0.2.7", "spiffe://corp/ads")
REFUSED = NoCredential("token_refused", "the token is not accepted here")


def request(*fields: str) -> RequestHead:
    reader = RequestReader(HeadLimits(head_bytes=64 * 1024))
    lines = "".join(f"{one}\r\n" for one in ("host: mesh", *fields))
    reader.feed(f"POST /predictions/digits HTTP/1.1\r\n{lines}\r\n".encode("latin-1"))
    head = reader.next_event(1024)
    assert isinstance(head, RequestHead)
    return head


def shown(*fields: str, peer: Peer = NO_PEER, credentials: Credentials | None = None) -> Credential:
    return (credentials or Credentials(())).read(request(*fields), peer, NOW_S, 0.0)


def reason_of(credential: Credential) -> str:
    assert isinstance(credential, NoCredential)
    return credential.reason


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_an_api_key_becomes_its_digest(scheme: str) -> None:
    assert shown(f"Authorization: {scheme} {KEY}") == KeyShown(hashlib.sha256(KEY.encode()).digest())


def test_keys_of_any_shape_count() -> None:
    assert shown("authorization: Bearer a key, with signs!") == KeyShown(hashlib.sha256(b"a key, with signs!").digest())


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", KEY, "Token x", "Bearer\tx"])
def test_what_is_no_bearer_credential_is_missing(value: str) -> None:
    assert reason_of(shown(f"authorization: {value}")) == "key_missing"


def test_a_request_without_any_is_told_what_to_send() -> None:
    missing = shown("x-api-key: " + KEY)
    assert reason_of(missing) == "key_missing"
    assert isinstance(missing, NoCredential)
    assert "`authorization: Bearer KEY`, over gRPC as metadata" in missing.message


def test_two_authorization_fields_are_none() -> None:
    assert reason_of(shown(f"authorization: Bearer {KEY}", f"Authorization: Bearer {KEY}")) == "key_unknown"
    assert reason_of(shown("authorization: Bearer x", "accept: a", f"AUTHORIZATION: Bearer {KEY}")) == "key_unknown"


def test_other_fields_may_come_twice() -> None:
    assert isinstance(shown(f"authorization: Bearer {KEY}", "accept: a", "accept: b"), KeyShown)


def test_two_keys_in_one_field_are_not_one_of_them() -> None:
    both = shown(f"authorization: Bearer {KEY}, Bearer {KEY}")
    assert both != KeyShown(hashlib.sha256(KEY.encode()).digest())


def test_a_key_longer_than_any_is_unknown() -> None:
    assert reason_of(shown("authorization: Bearer " + "k" * 513)) == "key_unknown"
    assert isinstance(shown("authorization: Bearer " + "k" * 512), KeyShown)


def test_a_certificate_counts_where_no_field_is_sent() -> None:
    assert shown(peer=WITH_CERTIFICATE) == CertificateShown("spiffe://corp/ads")
    assert isinstance(shown(f"authorization: Bearer {KEY}", peer=WITH_CERTIFICATE), KeyShown)
    assert reason_of(shown("authorization: Basic x", peer=WITH_CERTIFICATE)) == "key_missing"


def test_wrong_keys_of_one_address_must_wait_and_what_is_right_never_comes_there() -> None:
    credentials = Credentials(())
    unknown = Refusal("key_unknown", "")
    told = [credentials.back_off(unknown, Peer("192.0.2.7"), 0.0).reason for _ in range(TRIES + 1)]
    assert told == ["key_unknown"] * TRIES + ["too_many_bad_keys"]


# --- tokens


@dataclass
class Desk:
    """Credentials that trust one issuer, and what they told the supervisor."""

    issuer: Issuer = field(default_factory=Issuer)
    unknown_kids: list[UnknownKid] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.credentials = Credentials((trusted_issuer(),))
        self.credentials.on_unknown_kid = self.unknown_kids.append
        self.credentials.put_keys("corp", self.issuer.jwks())

    def read(self, token: str, *, wall_s: float = NOW_S, now_s: float = 0.0) -> Credential:
        return self.credentials.read(request(f"authorization: Bearer {token}"), NO_PEER, wall_s, now_s)


def test_a_token_becomes_what_it_proves() -> None:
    desk = Desk()
    found = desk.read(desk.issuer.keys[0].token())
    assert isinstance(found, TokenShown)
    assert (found.issuer, found.tenant_id) == ("corp", "ads-prod")


def test_without_issuers_whatever_looks_like_a_token_is_an_api_key() -> None:
    token = Issuer().keys[0].token(claims(sub=None, groups=None))
    assert shown(f"authorization: Bearer {token}") == KeyShown(hashlib.sha256(token.encode()).digest())


def test_every_refused_token_is_refused_in_the_same_words(capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk()
    key = desk.issuer.keys[0]
    for wrong in (key.token(claims(exp=0)), key.token(claims(aud="x")), SigningKey("k1", "ES256").token(), "eyJ.x"):
        assert desk.read(wrong) == REFUSED
    logged = capsys.readouterr().err
    for cause in ("corp: it has expired", "corp: it is for somebody else", "corp: its signature", "a token: it is not"):
        assert f"gateway: a token was refused: {cause}" in logged


def test_api_keys_count_beside_tokens() -> None:
    assert isinstance(Desk().read(KEY), KeyShown)


def test_tokens_of_an_issuer_count_once_its_keys_are_there_and_until_they_are_gone() -> None:
    issuer = Issuer()
    token = issuer.keys[0].token()
    desk = Desk(issuer)
    assert isinstance(desk.read(token), TokenShown)
    desk.credentials.put_keys("corp", b"")
    assert desk.read(token) == REFUSED
    desk.credentials.put_keys("corp", issuer.jwks())
    assert isinstance(desk.read(token), TokenShown)


def test_keys_that_came_before_the_policy_that_names_their_issuer_count() -> None:
    issuer = Issuer()
    credentials = Credentials(())
    credentials.put_keys("corp", issuer.jwks())
    credentials.use((trusted_issuer(),))
    found = credentials.read(request(f"authorization: Bearer {issuer.keys[0].token()}"), NO_PEER, NOW_S, 0.0)
    assert isinstance(found, TokenShown)


def test_an_issuer_that_policy_no_longer_names_counts_no_more() -> None:
    desk = Desk()
    token = desk.issuer.keys[0].token()
    desk.read(token)
    desk.credentials.use((trusted_issuer(name="other", issuer="https://other.example"),))
    assert desk.read(token) == REFUSED


def test_keys_can_be_changed_without_a_gap() -> None:
    old, new = SigningKey("old", "ES256"), SigningKey("new", "EdDSA")
    desk = Desk(Issuer([old]))
    desk.credentials.put_keys("corp", Issuer([old, new]).jwks())
    assert all(isinstance(desk.read(key.token()), TokenShown) for key in (old, new))
    desk.credentials.put_keys("corp", Issuer([new]).jwks())
    assert desk.read(old.token()) == REFUSED
    assert isinstance(desk.read(new.token()), TokenShown)


def test_an_unknown_key_is_reported_and_not_for_every_request() -> None:
    desk = Desk()
    for number in range(50):
        desk.read(SigningKey(f"new{number}", "ES256", desk.issuer.keys[0].private).token(), now_s=number / 50)
    assert desk.unknown_kids == [UnknownKid("corp")]
    desk.read(SigningKey("newer", "ES256").token(), now_s=1.0)
    assert len(desk.unknown_kids) == 2


def test_keys_that_cannot_be_read_are_told_and_verify_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk()
    desk.credentials.put_keys("corp", b"<html>")
    assert desk.read(desk.issuer.keys[0].token()) == REFUSED
    assert "keys of the issuer corp are not used" in capsys.readouterr().err


# --- what is remembered


def desk_of(issuer: Issuer) -> tuple[TokenDesk, list[str]]:
    told: list[str] = []
    desk = TokenDesk(lambda _: None, told.append)
    desk.use((trusted_issuer(),), {"corp": issuer.jwks()})
    return desk, told


def test_a_token_is_verified_once_a_minute() -> None:
    issuer = Issuer()
    desk, _ = desk_of(issuer)
    token = issuer.keys[0].token().encode()
    first = desk.read(token, NOW_S, 0.0)
    assert desk.read(token, NOW_S, VERIFIED_FOR_S - 0.001) is first
    assert desk.read(token, NOW_S, VERIFIED_FOR_S) is not first


def test_a_remembered_token_is_found_faster_than_it_is_verified() -> None:
    issuer = Issuer([SigningKey("k", "ES384")])
    desk, _ = desk_of(issuer)
    token = issuer.keys[0].token().encode()
    begun = time.perf_counter()
    desk.read(token, NOW_S, 0.0)
    verified_s = time.perf_counter() - begun
    times = []
    for _ in range(20):
        begun = time.perf_counter()
        desk.read(token, NOW_S, 0.0)
        times.append(time.perf_counter() - begun)
    assert min(times) < verified_s


def test_no_more_tokens_are_remembered_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.dataplane.token_desk.MAX_VERIFIED", 3)
    issuer = Issuer()
    desk, _ = desk_of(issuer)
    tokens = [issuer.keys[0].token(claims(sub=f"s{number}")).encode() for number in range(4)]
    shown_first = [desk.read(token, NOW_S, 0.0) for token in tokens]
    assert desk.read(tokens[3], NOW_S, 0.0) is shown_first[3]
    assert desk.read(tokens[0], NOW_S, 0.0) is not shown_first[0]
    assert MAX_VERIFIED == 10_000


def test_the_log_has_one_line_for_a_cause_and_says_how_many_it_stands_for() -> None:
    issuer = Issuer()
    desk, told = desk_of(issuer)
    expired = issuer.keys[0].token(claims(exp=1)).encode()
    for number in range(100):
        desk.read(expired, NOW_S, number / 100)
    desk.read(expired, NOW_S, SAY_EVERY_S)
    assert told == [
        "a token was refused: corp: it has expired",
        "100 tokens were refused: corp: it has expired",
    ]
