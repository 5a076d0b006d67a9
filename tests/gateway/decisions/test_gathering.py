"""What is kept of a settled request, and what is not."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gateway.dataplane.usage import Usage
from gateway.decide.credentials import CertificateShown, Credential, KeyShown, NoCredential, TokenShown
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.decisions import gathering
from gateway.decisions.gathering import Gathering
from gateway.decisions.records import Asked, Block, facts_of, framed, record_at
from policies.snapshot.limits import Limit
from policies.snapshot.tenant import TenantJwt
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.policy import KEY, policy
from tests.gateway.trial.traffic_made import START_S, Call, note, recorded, request_id

DIGEST = bytes.fromhex(policy().tenants["ads"].keys[0].sha256)
TABLES = Tables(policy(limit=Limit("tier/gold", 10.0, 20, 5)))


def taken(kept: Gathering) -> Block:
    found = kept.take(START_S)
    assert found is not None
    return found[0]


def noted(facts: RequestFacts, tables: Tables = TABLES) -> Block:
    kept = Gathering()
    decision = decide(tables, facts, FakeCounters(), 50.0)
    kept.add(facts, decision, request_id(0), 0.25, 200, "", Usage(812, 17, 100, 200))
    return taken(kept)


def test_a_record_has_what_a_decision_depends_on_and_what_came_of_it() -> None:
    call = Call(path="/v2/models/digits/versions/2/infer", body_bytes=640, pinned_version="1")
    record = record_at(noted(call.facts()), 0)
    assert record.at_s == START_S
    assert record.asked == Asked("POST", "infer", "digits", "2", "1", "", "ads", "", ("explain", "infer", "pin"))
    assert (record.ended.status, record.ended.version, record.ended.arm) == (200, "2", "pinned")
    assert (record.ended.rooms, record.left) == (("tier/gold", "tier/gold/in_flight"), (19, 4))
    assert (record.device_us, record.tokens, record.request_bytes, record.response_bytes) == (812, 17, 100, 200)
    assert (record.content_length, record.duration_s) == (640, 0.25)


def test_the_same_request_is_decided_again_from_its_record() -> None:
    for path in ("/predictions/digits/2", "/explanations/digits", "/v2/models/digits", "/v2", "/me", "/nothing"):
        facts = Call(path=path).facts()
        record = record_at(noted(facts), 0)
        again = facts_of(record.asked, record.content_length, record.at_s)
        assert decide(TABLES, again, FakeCounters(), 50.0) == decide(TABLES, facts, FakeCounters(), 50.0)


def test_of_a_caller_whom_nobody_knows_only_the_reason_is_counted() -> None:
    kept = Gathering()
    facts = replace(Call(path="/predictions/secret-name").facts(), credential=NoCredential("key_missing", "no key"))
    kept.add(facts, decide(TABLES, facts, FakeCounters(), 50.0), request_id(0), 0.0, 401, "key_missing", Usage())
    kept.count_unidentified("malformed_http")
    block = taken(kept)
    assert block.unidentified == {"key_missing": 1, "malformed_http": 1}
    assert (block.asked, block.ended, block.left) == ((), (), ())
    assert framed(block, b"")


def test_no_secret_and_no_path_of_the_callers_own_is_kept() -> None:
    facts = replace(Call(path="/predictions/digits/1/patient/4711").facts(), credential=KeyShown(DIGEST))
    block = noted(facts)
    assert block.asked[0].credential_id == f"id-{KEY}"
    written = repr(block)
    assert "4711" not in written
    assert repr(DIGEST) not in written


def test_the_scopes_of_a_token_are_kept_since_no_file_has_them() -> None:
    snapshot = policy()
    tenant = replace(snapshot.tenants["ads"], jwt=TenantJwt("corp", "a-1"))
    tables = Tables(replace(snapshot, tenants={"ads": tenant}))
    token = TokenShown("corp", "a-1", "job", ("infer",), START_S + 60.0)
    asked = noted(replace(Call().facts(), credential=token), tables).asked[0]
    assert (asked.credential_id, asked.scopes) == ("jwt:corp:job", ("infer",))
    assert noted(replace(Call().facts(), credential=KeyShown(DIGEST)), tables).asked[0].scopes == ()


@pytest.mark.parametrize(
    "credential",
    [
        TokenShown("corp", "a-1", "job", (), START_S + 60.0),
        TokenShown("corp", "a-1", "job", ("infer",), START_S + 60.0),
        CertificateShown("spiffe://corp/ads"),
        KeyShown(DIGEST),
    ],
)
@pytest.mark.parametrize("path", ["/predictions/digits", "/explanations/digits", "/v2/models/digits/versions/2/infer"])
def test_any_credential_may_again_what_it_might_and_nothing_else(credential: Credential, path: str) -> None:
    snapshot = policy()
    tenant = replace(snapshot.tenants["ads"], jwt=TenantJwt("corp", "a-1"), certificates=("spiffe://corp/ads",))
    tables = Tables(replace(snapshot, tenants={"ads": tenant}))
    facts = replace(Call(path=path).facts(), credential=credential)
    record = record_at(noted(facts, tables), 0)
    again = facts_of(record.asked, record.content_length, record.at_s)
    assert decide(tables, again, FakeCounters(), 50.0) == decide(tables, facts, FakeCounters(), 50.0)


def test_names_that_a_caller_makes_up_are_cut() -> None:
    assert len(noted(Call(path=f"/predictions/{'x' * 8000}").facts()).asked[0].model) == 64


def test_what_many_requests_share_is_kept_once() -> None:
    block, ids = recorded(policy(), [Call(at_s=number / 10) for number in range(50)])
    assert (len(block.asked), len(block.ended), len(block.left), len(ids)) == (1, 1, 50, 50 * 16)


MIXED = [
    Call(at_s=number / 10, path=path, key_id=key_id)
    for number, (path, key_id) in enumerate(
        [(path, key_id) for path in ("/predictions/digits", "/me", "/predictions/no") for key_id in ("", f"id-{KEY}")]
        * 2
    )
]


def block_of(kept: Gathering, calls: list[Call]) -> Block:
    for number, call in enumerate(calls):
        note(kept, call, decide(TABLES, call.facts(), FakeCounters(), 50.0), request_id(number))
    return taken(kept)


def test_a_block_does_not_depend_on_the_blocks_before() -> None:
    kept = Gathering()
    first = block_of(kept, MIXED)
    assert block_of(kept, MIXED[3:]) == block_of(Gathering(), MIXED[3:])
    assert block_of(kept, MIXED) == first


def test_what_is_remembered_is_bounded_and_nothing_is_lost_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = block_of(Gathering(), MIXED)
    monkeypatch.setattr(gathering, "MAX_KINDS", 2)
    assert block_of(Gathering(), MIXED) == whole


def test_a_path_that_nobody_needs_is_recorded_and_not_remembered() -> None:
    calls = [Call(path=f"/predictions/digits/1/{'x' * 5000}", at_s=float(number)) for number in range(3)]
    kept = Gathering()
    block = block_of(kept, calls)
    assert (len(block.left), [asked.version for asked in block.asked]) == (3, ["1"])
    assert "x" * 100 not in repr(vars(kept))


def test_rows_are_in_the_order_of_their_decisions() -> None:
    block, ids = recorded(policy(), [Call(at_s=2.0), Call(at_s=1.0)])
    assert block.since_us == int((START_S + 1.0) * 1e6)
    assert block.columns[0] == (0, 1_000_000)
    assert ids.hex() == request_id(1) + request_id(0)


def test_beyond_the_bound_records_are_lost_and_counted() -> None:
    kept = Gathering()
    facts = Call().facts()
    decision = decide(TABLES, facts, FakeCounters(), 50.0)
    for number in range(gathering.MAX_ROWS + 3):
        kept.add(facts, decision, request_id(number), 0.0, 200, "", Usage())
    block = taken(kept)
    assert (len(block.left), block.lost) == (gathering.MAX_ROWS, 3)
    assert kept.take(START_S) is None


def test_an_id_that_is_none_of_ours_costs_only_the_ids() -> None:
    kept = Gathering()
    facts = Call().facts()
    kept.add(facts, decide(TABLES, facts, FakeCounters(), 50.0), "not-hex", 0.0, 200, "", Usage())
    found = kept.take(START_S)
    assert found is not None
    assert found[1] == bytes(16)
