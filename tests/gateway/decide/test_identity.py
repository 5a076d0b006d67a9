"""Whose request it is."""

from __future__ import annotations

import hashlib

import pytest
from msgspec.structs import replace

from gateway.decide.credentials import CertificateShown, Credential, KeyShown, NoCredential, Recorded, TokenShown
from gateway.decide.identity import check_still_valid, identify
from gateway.decide.tables import Caller, Tables
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.tenant import Key, TenantJwt
from tests.gateway.policy import EXPIRED_KEY, KEY, PLAIN_KEY, STRANGER_KEY, key, policy

NOW_S = 500.0
URI = "spiffe://corp/ads"


def snapshot(*more_keys: Key) -> Snapshot:
    """The tenant ``ads`` with keys, tokens and a certificate, and ``search`` with nothing but tokens."""
    usual = policy()
    ads = usual.tenants["ads"]
    ads = replace(ads, keys=(*ads.keys, *more_keys), jwt=TenantJwt("corp", "ads-prod"), certificates=(URI,))
    search = replace(ads, name="search", keys=(), jwt=TenantJwt("corp", "search-prod"), certificates=())
    return replace(usual, tenants={"ads": ads, "search": search})


def key_shown(text: str) -> KeyShown:
    return KeyShown(hashlib.sha256(text.encode()).digest())


def token(**changes: object) -> TokenShown:
    return replace(TokenShown("corp", "ads-prod", "robot@ads", ("infer",), NOW_S + 60.0), **changes)


def who(credential: Credential, *, wall_s: float = NOW_S, revoked: frozenset[str] = frozenset()) -> Caller:
    return identify(Tables(snapshot(), revoked), credential, wall_s)


def why_not(credential: Credential, *, wall_s: float = NOW_S, revoked: frozenset[str] = frozenset()) -> str:
    with pytest.raises(Refused) as refused:
        who(credential, wall_s=wall_s, revoked=revoked)
    return refused.value.reason


def test_a_key_leads_to_its_tenant() -> None:
    caller = who(key_shown(PLAIN_KEY))
    assert (caller.tenant.name, caller.key.id, caller.key.scopes) == ("ads", f"id-{PLAIN_KEY}", ("infer",))


def test_a_key_of_nobody_leads_nowhere() -> None:
    assert why_not(key_shown(STRANGER_KEY)) == "key_unknown"
    assert why_not(KeyShown(bytes(32))) == "key_unknown"
    assert why_not(KeyShown(b"")) == "key_unknown"


def test_a_key_counts_within_its_dates_alone() -> None:
    assert who(key_shown(EXPIRED_KEY), wall_s=999.0).key.id == f"id-{EXPIRED_KEY}"
    assert why_not(key_shown(EXPIRED_KEY), wall_s=1000.0) == "key_not_valid_now"


def test_a_revoked_key_is_refused_at_once_and_its_siblings_are_not() -> None:
    revoked = frozenset({f"id-{KEY}"})
    assert why_not(key_shown(KEY), revoked=revoked) == "key_revoked"
    assert who(key_shown(PLAIN_KEY), revoked=revoked).tenant.name == "ads"


def test_rotation_has_no_gap_while_two_keys_live() -> None:
    old, new = key("old", "infer", not_after_s=2000.0), key("new", "infer", not_before_s=1000.0)
    tables = Tables(snapshot(old, new))
    for wall_s in (1000.0, 1500.0, 1999.9):
        assert {identify(tables, key_shown(text), wall_s).key.id for text in ("old", "new")} == {"id-old", "id-new"}
    with pytest.raises(Refused):
        identify(tables, key_shown("new"), 999.9)
    with pytest.raises(Refused):
        identify(tables, key_shown("old"), 2000.0)


def test_a_token_leads_to_the_tenant_that_its_issuer_names() -> None:
    caller = who(token())
    assert (caller.tenant.name, caller.key.id, caller.key.scopes) == ("ads", "jwt:corp:robot@ads", ("infer",))
    assert who(token(tenant_id="search-prod")).tenant.name == "search"


@pytest.mark.parametrize(
    "changes", [{"issuer": "partner"}, {"tenant_id": "ads"}, {"tenant_id": ""}, {"expires_s": NOW_S}]
)
def test_a_token_of_no_tenant_is_refused_in_one_way(changes: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        who(token(**changes))
    assert (refused.value.reason, refused.value.message) == ("token_refused", "the token is not accepted here")


def test_a_subject_can_be_revoked() -> None:
    revoked = frozenset({"jwt:corp:robot@ads"})
    assert why_not(token(), revoked=revoked) == "token_refused"
    assert who(token(subject="human@ads"), revoked=revoked).tenant.name == "ads"


def test_a_certificate_leads_to_the_tenant_that_has_its_identity() -> None:
    assert who(CertificateShown(URI)).key.id == f"san:{URI}"
    assert why_not(CertificateShown("spiffe://corp/other")) == "key_unknown"
    assert why_not(CertificateShown(URI), revoked=frozenset({f"san:{URI}"})) == "key_revoked"


@pytest.mark.parametrize("credential", [key_shown(KEY), token(), CertificateShown(URI)])
def test_a_revocation_is_told_in_the_same_way_to_a_caller_that_is_known_already(credential: Credential) -> None:
    known = who(credential).key
    tables = Tables(snapshot(), frozenset({known.id}))
    with pytest.raises(Refused) as anew:
        identify(tables, credential, NOW_S)
    with pytest.raises(Refused) as again:
        check_still_valid(tables, known, credential, NOW_S)
    assert (again.value.reason, again.value.message) == (anew.value.reason, anew.value.message)


def test_what_proves_nothing_is_refused_as_the_edge_said() -> None:
    assert why_not(NoCredential("token_refused", "the token is not accepted here")) == "token_refused"


def test_a_recorded_request_is_taken_at_its_word_for_the_tenant() -> None:
    assert who(Recorded("ads", f"id-{PLAIN_KEY}")).key.scopes == ("infer",)
    assert why_not(Recorded("nobody")) == "key_unknown"
    assert why_not(Recorded("ads", "id-of-another")) == "key_unknown"
    assert why_not(Recorded("ads", f"id-{KEY}"), revoked=frozenset({f"id-{KEY}"})) == "key_revoked"


def test_a_recorded_token_has_to_be_of_an_issuer_that_its_tenant_still_has() -> None:
    recorded = Recorded("ads", "jwt:corp:x:y", ("infer",))
    assert who(recorded).key == Key("jwt:corp:x:y", "", ("infer",))
    assert why_not(recorded, revoked=frozenset({"jwt:corp:x:y"})) == "token_refused"
    assert why_not(Recorded("ads", "jwt:partner:x", ("infer",))) == "token_refused"
    assert why_not(Recorded("ads", "jwt:corporate:x", ("infer",))) == "token_refused"
    keys_only = Tables(policy())
    with pytest.raises(Refused):
        identify(keys_only, recorded, NOW_S)


def test_a_recorded_certificate_has_to_be_its_tenants_still() -> None:
    recorded = Recorded("ads", f"san:{URI}", ("infer", "explain"))
    assert who(recorded).key == who(CertificateShown(URI)).key
    assert why_not(recorded, revoked=frozenset({f"san:{URI}"})) == "key_revoked"
    assert why_not(Recorded("ads", f"san:{URI}/2", ("infer", "explain"))) == "key_unknown"
    assert why_not(Recorded("search", f"san:{URI}", ("infer", "explain"))) == "key_unknown"


def test_a_recorded_credential_has_the_scopes_that_it_had_even_none() -> None:
    assert who(Recorded("ads", "jwt:corp:x")).key.scopes == ()
    assert who(Recorded("ads")).key.scopes == ("explain", "infer", "pin")
