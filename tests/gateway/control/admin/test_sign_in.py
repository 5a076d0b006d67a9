"""Who calls the management API: each credential, what it is worth, and what is no credential."""

from __future__ import annotations

import hashlib
import time

import pytest
from msgspec.structs import replace

from gateway.control.admin.sign_in import SignIn
from gateway.control.callers import AdminCaller
from gateway.decide.authorization import LOCAL, Actor
from gateway.decide.bad_keys import TRIES
from gateway.decide.issuer_keys import read_keys
from gateway.decide.tokens import Trusted
from model_pod.wire.refusals import Refused
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh, Role
from policies.snapshot.tenant import Key, Tenant
from tests.fakes.issuer import Issuer, claims, trusted_issuer

TOKEN = "t" * 43
OPERATOR = Role("operator", ("key:ops-1", "san:spiffe://corp/ops"), ("key.*",))


def key(text: str, id_: str, not_before_s: float | None = None, not_after_s: float | None = None) -> Key:
    return Key(id_, hashlib.sha256(text.encode()).hexdigest(), ("infer",), not_before_s, not_after_s)


KEYS = (
    key("msk_ops", "ops-1"),
    key("msk_plain", "plain-1"),
    key("msk_early", "early", not_before_s=time.time() + 10**9),
    key("msk_late", "late", not_after_s=time.time() - 1),
    key("msk_revoked", "revoked-1"),
)
SNAPSHOT = Snapshot(
    1, "d" * 64, Mesh("m", roles=(OPERATOR,)), tenants={"ads": Tenant("ads", "us", "gold", KEYS, ("digits",))}
)


def sign_in(snapshot: Snapshot = SNAPSHOT) -> SignIn:
    return SignIn(TOKEN, lambda: snapshot, lambda: frozenset({"revoked-1", "san:spiffe://corp/gone"}))


def caller(*authorization: str, peer_identity: str = "", source: str = "10.0.0.1") -> AdminCaller:
    return AdminCaller("/admin/pods", tuple(("authorization", text) for text in authorization), source, peer_identity)


def reason(shown: AdminCaller, desk: SignIn | None = None) -> str:
    with pytest.raises(Refused) as caught:
        (desk or sign_in()).actor(shown)
    return caught.value.reason


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_admin_token_is_the_local_operator(scheme: str) -> None:
    assert sign_in().actor(caller(f"{scheme}  {TOKEN} ")) == LOCAL


def test_an_api_key_has_the_roles_that_name_it() -> None:
    assert sign_in().actor(caller("Bearer msk_ops")) == Actor("key:ops-1", (OPERATOR,))
    assert sign_in().actor(caller("Bearer msk_plain")) == Actor("key:plain-1")


def test_a_client_certificate_has_the_roles_that_name_it() -> None:
    shown = caller(peer_identity="spiffe://corp/ops")
    assert sign_in().actor(shown) == Actor("san:spiffe://corp/ops", (OPERATOR,))
    assert sign_in().actor(caller(peer_identity="spiffe://corp/other")) == Actor("san:spiffe://corp/other")


def test_a_bearer_credential_goes_before_a_certificate_and_a_wrong_one_is_not_mended_by_it() -> None:
    assert sign_in().actor(caller(f"Bearer {TOKEN}", peer_identity="spiffe://corp/other")) == LOCAL
    assert reason(caller("Bearer wrong", peer_identity="spiffe://corp/ops")) == "key_unknown"


@pytest.mark.parametrize(
    ("shown", "why"),
    [
        (caller(), "key_missing"),
        (caller("Bearer"), "key_unknown"),
        (caller("Bearer "), "key_unknown"),
        (caller(f"Basic {TOKEN}"), "key_unknown"),
        (caller(TOKEN), "key_unknown"),
        (caller(f"Bearer {TOKEN}x"), "key_unknown"),
        (caller("Bearer \xe9"), "key_unknown"),
        (caller(f"Bearer {TOKEN}", f"Bearer {TOKEN}"), "key_unknown"),
        (caller(f"Bearer {TOKEN}, Bearer {TOKEN}"), "key_unknown"),
        (caller("Bearer eyJhbGciOiJub25lIn0.e30."), "key_unknown"),
        (caller("Bearer msk_early"), "key_not_valid_now"),
        (caller("Bearer msk_late"), "key_not_valid_now"),
        (caller("Bearer msk_revoked"), "key_revoked"),
        (caller(peer_identity="spiffe://corp/gone"), "key_revoked"),
    ],
)
def test_what_proves_nothing_is_refused(shown: AdminCaller, why: str) -> None:
    assert reason(shown) == why


def test_roles_and_keys_are_those_of_the_generation_in_force() -> None:
    in_force = [SNAPSHOT]
    desk = SignIn(TOKEN, lambda: in_force[-1])
    assert desk.actor(caller("Bearer msk_ops")).allows("key.revoke")
    in_force.append(Snapshot(2, "e" * 64, Mesh("m"), tenants=SNAPSHOT.tenants))
    assert not desk.actor(caller("Bearer msk_ops")).allows("key.revoke")
    in_force.append(Snapshot(3, "f" * 64, Mesh("m", roles=(OPERATOR,))))
    assert reason(caller("Bearer msk_ops"), desk) == "key_unknown"


def test_an_address_that_guesses_is_told_to_wait_and_a_good_credential_from_it_passes() -> None:
    desk = sign_in()
    reasons = [reason(caller(f"Bearer guess-{number}"), desk) for number in range(TRIES + 5)]
    assert reasons == ["key_unknown"] * TRIES + ["too_many_bad_keys"] * 5
    assert desk.actor(caller(f"Bearer {TOKEN}")) == LOCAL
    assert reason(caller("Bearer guess", source="10.0.0.2"), desk) == "key_unknown"


ISSUER = Issuer()
PLATFORM = Role("platform", ("group:platform",), ("policy.read",))
PARTNERS = Role("partners", ("group:partner/platform",), ("pod.read",))


def desk_of(*names: str) -> SignIn:
    """Return a desk that trusts issuers of these names, all with the same keys and address."""
    issuers = tuple(trusted_issuer(name=name, tenant_claim="") for name in names)
    snapshot = Snapshot(1, "d" * 64, Mesh("m", jwt=issuers, roles=(PLATFORM, PARTNERS)))
    trusted = tuple(Trusted(issuer, read_keys(ISSUER.jwks(), issuer)) for issuer in issuers)
    return SignIn(TOKEN, lambda: snapshot, lambda: frozenset({f"jwt:{names[0]}:gone"}), lambda: trusted)


def token(**changes: object) -> AdminCaller:
    body = claims(exp=time.time() + 600, nbf=None, iat=None) | changes
    return caller(f"Bearer {ISSUER.keys[0].token(body)}")


def test_a_token_has_the_roles_of_its_groups() -> None:
    assert desk_of("corp").actor(token()) == Actor("jwt:corp:robot@ads", (PLATFORM,))
    assert desk_of("partner").actor(token()).roles == (PLATFORM, PARTNERS)
    assert desk_of("corp").actor(token(groups=[])).roles == ()


def test_where_there_are_several_issuers_a_group_counts_for_the_roles_that_say_whose_it_is() -> None:
    assert desk_of("corp", "partner").actor(token()).roles == ()
    assert desk_of("partner", "corp").actor(token()).roles == (PARTNERS,)


def test_a_token_of_an_issuer_that_is_to_come_or_was_otherwise_proves_nothing() -> None:
    corp, partner = (trusted_issuer(name=name, tenant_claim="") for name in ("corp", "partner"))
    in_force = Snapshot(1, "d" * 64, Mesh("m", jwt=(corp,), roles=(PLATFORM,)))
    kept: list[Trusted] = []
    desk = SignIn(TOKEN, lambda: in_force, trusted=lambda: kept)
    for other in (partner, replace(corp, algorithms=("ES256",)), replace(corp, audiences=("mesh", "another"))):
        kept[:] = [Trusted(other, read_keys(ISSUER.jwks(), other))]
        assert reason(token(), desk) == "key_unknown"
    kept.append(Trusted(corp, read_keys(ISSUER.jwks(), corp)))
    assert desk.actor(token()) == Actor("jwt:corp:robot@ads", (PLATFORM,))


def test_a_token_that_does_not_hold_or_was_revoked_is_refused() -> None:
    desk = desk_of("corp")
    assert reason(token(exp=time.time() - 3600), desk) == "token_refused"
    assert reason(token(aud="another"), desk) == "token_refused"
    assert reason(token(sub="gone"), desk) == "key_revoked"
    assert desk.actor(caller(f"Bearer {TOKEN}")) == LOCAL
