"""The state of each key."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.control.key_reports import OtherRevocationReport, RevocationReport
from gateway.control.key_states import EXPIRING_WITHIN_S, KeyUse, Revocation, is_known, keys_report, state_of
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.tenant import Key, Tenant
from tests.fakes.issuer import trusted_issuer

NOW_S = 1_800_000_000.0
REVOKED = Revocation("local", "it was in a chat", NOW_S - 60.0)


def key(id_: str, not_before_s: float | None = None, not_after_s: float | None = None) -> Key:
    return Key(id_, "0" * 64, ("infer",), not_before_s, not_after_s)


def snapshot(*keys: Key) -> Snapshot:
    tenant = Tenant("ads", "ads-team", "gold", keys, ("*",), certificates=("spiffe://corp/ads",))
    mesh = Mesh("m", jwt=(trusted_issuer(),))
    return Snapshot(4, "d", mesh, tenants={"search": replace(tenant, name="search", keys=(key("s"),)), "ads": tenant})


@pytest.mark.parametrize(
    ("not_before_s", "not_after_s", "state"),
    [
        (None, None, "active"),
        (NOW_S, None, "active"),
        (NOW_S + 1, None, "not yet"),
        (None, NOW_S, "expired"),
        (NOW_S + 2, NOW_S - 2, "expired"),
        (None, NOW_S + EXPIRING_WITHIN_S + 1, "active"),
        (None, NOW_S + EXPIRING_WITHIN_S, "expiring"),
        (None, NOW_S + 1, "expiring"),
        (NOW_S + 1, NOW_S + 2, "not yet"),
    ],
)
def test_the_dates_say_the_state(not_before_s: float | None, not_after_s: float | None, state: str) -> None:
    one = key("k", not_before_s, not_after_s)
    assert state_of(one, NOW_S, is_revoked=False) == state
    assert state_of(one, NOW_S, is_revoked=True) == "revoked"


def test_the_report_has_every_key_by_tenant_and_id() -> None:
    use = KeyUse(NOW_S - 3600.0, {"b": NOW_S - 1.0, "gone": NOW_S})
    report = keys_report(snapshot(key("b"), key("a", not_after_s=NOW_S + 60.0)), {"a": REVOKED}, use, NOW_S)
    assert [(one.tenant, one.id, one.state, one.last_used_at) for one in report.keys] == [
        ("ads", "a", "revoked", None),
        ("ads", "b", "active", "2027-01-15T07:59:59Z"),
        ("search", "s", "active", None),
    ]
    told = RevocationReport("local", "it was in a chat", "2027-01-15T07:59:00Z")
    assert (report.keys[0].revocation, report.keys[0].not_after) == (told, "2027-01-15T08:01:00Z")
    assert (report.generation, report.used_since, report.other_revocations) == (4, "2027-01-15T07:00:00Z", [])


def test_revocations_of_what_is_no_key_of_policy_are_told_beside_it() -> None:
    report = keys_report(snapshot(), {"jwt:corp:x": REVOKED}, KeyUse(NOW_S, {}), NOW_S)
    assert [type(one) for one in report.other_revocations] == [OtherRevocationReport]
    assert report.other_revocations[0].id == "jwt:corp:x"


@pytest.mark.parametrize(
    ("credential_id", "known"),
    [
        ("a", True),
        ("b", False),
        ("", False),
        ("jwt:corp:robot", True),
        ("jwt:corp:", True),
        ("jwt:corp", False),
        ("jwt:other:robot", False),
        ("san:spiffe://corp/ads", True),
        ("san:spiffe://corp/administrator", True),
        ("san:", False),
    ],
)
def test_only_what_could_be_shown_and_accepted_can_be_revoked(credential_id: str, known: bool) -> None:
    assert is_known(snapshot(key("a")), credential_id) == known
