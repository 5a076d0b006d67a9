"""Hostile Authorization fields: always 401 in one shape, never an error of ours."""

from __future__ import annotations

import time
from itertools import islice

import msgspec
from msgspec.structs import replace

from gateway.dataplane.credentials import NO_PEER, Credentials
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.errors import REASONS
from model_pod.wire.http1 import RequestHead
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from tests.fakes.issuer import NOW_S, Issuer, trusted_issuer
from tests.fakes.pod import echo
from tests.gateway.dataplane.mesh import Answer, in_mesh, post
from tests.gateway.dataplane.mesh import Mesh as RunningMesh
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.policy import KEY, policy
from tests.security.authorization_values import COUNT, hostile_values, is_http

SHAPE = {"code", "error", "message", "reason", "request_id", "retryable", "type"}
REFUSED = {"key_missing", "key_unknown", "token_refused"}
WITHIN_S = 0.005
_ON_THE_WIRE = 400


def with_tokens() -> Snapshot:
    return replace(policy(), mesh=Mesh("test", jwt=(trusted_issuer(),)))


def head(*authorization: bytes) -> RequestHead:
    """A head as the strict gate would leave it, with values that the gate would never let through."""
    fields = [(b"host", b"mesh"), *((b"Authorization", value) for value in authorization)]
    values = {name.lower(): value for name, value in fields}
    return RequestHead("POST", "/predictions/digits", fields, values, 1, True)


class Edge:
    """One worker's way from a head to a decision."""

    def __init__(self) -> None:
        snapshot = with_tokens()
        self.tables = Tables(snapshot)
        self.credentials = Credentials(snapshot.mesh.jwt)
        self.credentials.put_keys("corp", Issuer().jwks())

    def decide(self, request: RequestHead) -> Decision:
        credential = self.credentials.read(request, NO_PEER, NOW_S, 0.0)
        facts = RequestFacts("POST", "/predictions/digits", credential, "", "", 0, NOW_S)
        return decide(self.tables, facts, FakeCounters(), 0.0)


def test_five_thousand_hostile_values_are_refused_before_anything_else_is_told() -> None:
    edge, count = Edge(), 0
    begun_s = time.process_time()
    for value in hostile_values():
        decision = edge.decide(head(value))
        assert decision.refusal is not None, value
        assert decision.refusal.reason in REFUSED, value
        assert REASONS[decision.refusal.reason].status == 401
        assert (decision.tenant, decision.model, decision.key_id) == ("", "", "")
        count += 1
    assert count == COUNT
    assert (time.process_time() - begun_s) / COUNT < WITHIN_S


def test_the_messages_are_few_and_tell_nothing_of_what_was_shown() -> None:
    edge = Edge()
    messages = set()
    for value in hostile_values():
        refusal = edge.decide(head(value)).refusal
        assert refusal is not None
        messages.add((refusal.reason, refusal.message))
    assert len(messages) <= len(REFUSED)


def test_a_good_key_beside_another_is_refused() -> None:
    edge = Edge()
    good = f"Bearer {KEY}".encode()
    assert edge.decide(head(good)).refusal is None
    for both in ((good, good), (good, b""), (b"", good), (good, b"Bearer x"), (b"Basic x", good)):
        refusal = edge.decide(head(*both)).refusal
        assert refusal is not None, both
        assert refusal.reason in REFUSED


def test_on_the_wire_they_are_401_or_no_http_at_all() -> None:
    # A line's end in a value begins the next field, which is another request and not a hostile one.
    some = [*islice(hostile_values(), 60), *islice(hostile_values(), 60, COUNT, COUNT // _ON_THE_WIRE)]
    values = [value for value in some if b"\n" not in value]
    assert len(values) > _ON_THE_WIRE / 2

    async def story(mesh: RunningMesh) -> None:
        for value in values:
            fields = b"POST /predictions/digits HTTP/1.1\r\nHost: m\r\nAuthorization: %b\r\nContent-Length: 0\r\n\r\n"
            caller = await mesh.connect()
            caller.writer.write(fields % value)
            check(await caller.answer(), value)
            caller.writer.transport.abort()
        assert (await mesh.ask(post())).status == 200

    in_mesh(story, echo, snapshot=with_tokens())


def check(found: Answer, value: bytes) -> None:
    if is_http(value):
        assert found.status == 401, value
        assert found.fields["www-authenticate"] == "Bearer"
    else:
        assert found.status in (400, 401, 431), value
    told = msgspec.json.decode(found.body, type=dict[str, object])
    assert told.keys() == SHAPE
    assert told["request_id"] == found.fields["x-request-id"]
    assert len(found.body) < 600
