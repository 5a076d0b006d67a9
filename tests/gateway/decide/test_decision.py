"""Decisions as values: facts in, version or refusal out."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.decide.credentials import CertificateShown, KeyShown, NoCredential, TokenShown
from gateway.decide.decision import Decision, Refusal, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.release import Arm
from gateway.decide.route import Api
from gateway.decide.tables import Tables
from gateway.errors import REASONS
from policies.snapshot.mesh import Bounds
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.policy import EXPIRED_KEY, KEY, PLAIN_KEY, STRANGER_KEY, policy

MISSING = NoCredential("key_missing", "this mesh needs an API key")


def shown(key: str) -> KeyShown:
    return KeyShown(hashlib.sha256(key.encode()).digest())


FACTS = RequestFacts("POST", "/predictions/digits", shown(KEY), "", "", content_length=0, wall_s=2000.0)


def decided(facts: RequestFacts = FACTS, tables: Tables | None = None) -> Decision:
    return decide(tables or Tables(policy()), facts, FakeCounters(), now_s=50.0)


def refusal(facts: RequestFacts) -> Refusal:
    decision = decided(facts)
    assert decision.refusal is not None
    return decision.refusal


def test_a_request_goes_to_the_stable_version() -> None:
    assert decided() == Decision(
        generation=1,
        refusal=None,
        tenant="ads",
        tier="gold",
        key_id=f"id-{KEY}",
        scopes=("infer", "pin", "explain"),
        api=Api.PREDICT,
        model="digits",
        version="1",
        arm=Arm.STABLE,
        timeout_s=120.0,
        body_limit_bytes=64 * 2**20,
        in_flight=100,
    )


@pytest.mark.parametrize(
    ("path", "api", "version"),
    [
        ("/predictions/digits/", Api.PREDICT, "1"),
        ("/predictions/digits/2", Api.PREDICT, "2"),
        ("/predictions/digits/2/a/b", Api.PREDICT, "2"),
        ("/explanations/digits", Api.EXPLAIN, "1"),
        ("/v2/models/digits/infer", Api.INFER, "1"),
        ("/v2/models/digits/versions/2/infer", Api.INFER, "2"),
    ],
)
def test_paths_of_every_protocol_find_their_model(path: str, api: Api, version: str) -> None:
    decision = decided(replace(FACTS, path=path))
    assert (decision.api, decision.model, decision.version) == (api, "digits", version)


REFUSED = {
    "no key": (replace(FACTS, credential=MISSING), "key_missing"),
    "unknown key": (replace(FACTS, credential=shown(STRANGER_KEY)), "key_unknown"),
    "expired key": (replace(FACTS, credential=shown(EXPIRED_KEY)), "key_not_valid_now"),
    "no key on an unknown path": (replace(FACTS, path="/nothing", credential=MISSING), "key_missing"),
    "a token of nobody": (replace(FACTS, credential=TokenShown("sso", "who", "s", ("infer",), 1e12)), "token_refused"),
    "a certificate of nobody": (replace(FACTS, credential=CertificateShown("spiffe://who")), "key_unknown"),
    "unknown path": (replace(FACTS, path="/nothing"), "path_not_found"),
    "double slash": (replace(FACTS, path="//predictions/digits"), "path_not_found"),
    "path that is not UTF-8": (replace(FACTS, path=None), "path_not_found"),
    "unknown model": (replace(FACTS, path="/predictions/nope"), "model_not_found"),
    "somebody else's model": (replace(FACTS, path="/predictions/secret"), "model_not_allowed"),
    "unknown version": (replace(FACTS, path="/predictions/digits/9"), "version_not_found"),
    "pin without the scope": (
        replace(FACTS, credential=shown(PLAIN_KEY), pinned_version="2"),
        "scope_missing",
    ),
    "explain without the scope": (
        replace(FACTS, credential=shown(PLAIN_KEY), path="/explanations/digits"),
        "scope_missing",
    ),
    "GET on infer": (replace(FACTS, method="GET", path="/v2/models/digits/infer"), "method_not_allowed"),
    "time-out that is no number": (replace(FACTS, timeout_ms="2s"), "bad_header"),
    "announced body over the limit": (replace(FACTS, content_length=2**40), "body_too_large"),
    "no time left": (replace(FACTS, timeout_ms="0"), "deadline_exceeded"),
}


@pytest.mark.parametrize(("facts", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_names_its_reason_and_says_a_sentence(facts: RequestFacts, reason: str) -> None:
    refused = refusal(facts)
    assert refused.reason == reason
    assert refused.reason in REASONS
    assert len(refused.message) > 10


def test_a_wrong_method_says_which_are_right() -> None:
    assert refusal(replace(FACTS, method="PUT", path="/v2/models/digits")).allow == ("GET", "HEAD")


def test_a_key_without_pin_may_name_the_stable_version() -> None:
    decision = decided(replace(FACTS, credential=shown(PLAIN_KEY), pinned_version="1"))
    assert (decision.version, decision.arm) == ("1", Arm.STABLE)


def test_a_pin_is_told_as_such() -> None:
    assert decided(replace(FACTS, pinned_version="2")).arm is Arm.PINNED


@pytest.mark.parametrize(
    ("asked_ms", "timeout_s"),
    [("250", 0.25), ("", 5.0), ("999999", 8.0)],
)
def test_the_callers_time_counts_within_the_ceilings(asked_ms: str, timeout_s: float) -> None:
    tables = Tables(policy(deadline_s=5.0, timeout_s=8.0, bounds=Bounds(max_deadline_s=60.0)))
    assert decided(replace(FACTS, timeout_ms=asked_ms), tables).timeout_s == timeout_s


def test_a_request_over_the_rate_is_told_when_to_come_back() -> None:
    counters = FakeCounters(tats_s={"tenant/ads/tier/rate": 52.0})
    decision = decide(Tables(policy(rate_per_s=2.0, burst=4)), FACTS, counters, now_s=50.0)
    assert decision.refusal is not None
    assert decision.refusal.reason == "rate_limited"
    assert decision.refusal.retry_after_s == pytest.approx(0.5)


def test_everything_a_decision_can_refuse_with_is_in_the_registry() -> None:
    assert {reason for _, reason in REFUSED.values()} <= REASONS.keys()


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({"credential": shown("nobody")}, ("", "", None, "")),
        ({"path": "/nowhere"}, ("ads", "gold", None, "")),
        ({"path": "/predictions/made-up"}, ("ads", "gold", Api.PREDICT, "")),
        ({"path": "/predictions/secret"}, ("ads", "gold", Api.PREDICT, "secret")),
        ({"timeout_ms": "0"}, ("ads", "gold", Api.PREDICT, "digits")),
    ],
)
def test_a_refusal_is_counted_for_whom_and_what_was_known_by_then(
    changes: dict[str, Any], known: tuple[str, str, Api | None, str]
) -> None:
    decision = decided(replace(FACTS, **changes))
    assert decision.refusal is not None
    assert (decision.tenant, decision.tier, decision.api, decision.model) == known
    assert decision.version == ""
