"""Limits on the way of a request: charged once, given back however it ends, told to the caller as they decided."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.control.messages import QuotaWanted
from gateway.dataplane.credentials import NO_PEER
from gateway.dataplane.server import ClientConnection
from gateway.decide.tables import account_of
from gateway.limits.table import RowKind
from model_pod.wire.http1.head import parse_request_head
from policies.snapshot.limits import Limit
from policies.snapshot.tenant import LadderStep, Quota
from tests.fakes.pod import Answering, Script, Seen, cut_short, die, echo, never
from tests.gateway.dataplane.mesh import Mesh, in_mesh, post
from tests.gateway.policy import KEY, policy

ACCOUNT = "tenant/ads/quota/q/requests"
PLACES = "tenant/ads/tier/in_flight"
TIER = Limit("tier/gold", 1000.0, 10, 2)


def quota(meter: str, limit: int = 1000, *steps: LadderStep) -> Quota:
    return Quota("q", meter, limit, "rolling-24h", ladder=steps or (LadderStep(1.0, "refuse"),))


def grant(mesh: Mesh, granted: int, limit: int = 1000, account: str = ACCOUNT) -> None:
    row = mesh.table.find(account, RowKind.QUOTA)
    mesh.table.put_quota(row, granted=granted, shift=0, limit=limit, resets_at_s=4e9, rate_per_s=0.0)


def used(mesh: Mesh, account: str = ACCOUNT) -> int:
    return mesh.table.quota(mesh.table.find(account, RowKind.QUOTA)).used


def in_flight(mesh: Mesh) -> int:
    return mesh.table.in_flight(mesh.table.find(PLACES, RowKind.IN_FLIGHT))


async def until_settled(mesh: Mesh) -> None:
    while mesh.gateway.in_flight:  # noqa: ASYNC110  a caller that left is noticed by the loop, not told to the test
        await asyncio.sleep(0)


async def busy(seen: Seen, connection: Answering) -> None:
    """Refuse as a pod with a full queue does."""
    del seen
    connection.write(b"HTTP/1.1 503 Service Unavailable\r\npenstock-reason: queue_full\r\ncontent-length: 2\r\n\r\n{}")


@dataclass
class Wanted:
    """What the gateway asked the supervisor for; the ledger answers when the test says so."""

    amounts: list[dict[str, int]] = field(default_factory=list)

    def __call__(self, wanted: QuotaWanted) -> None:
        self.amounts.append(wanted.amounts)


def test_an_answer_tells_the_limits_that_let_it_pass() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post())
        assert answer.fields["ratelimit-policy"] == (
            '"tier/gold";q=10;w=1, "tier/gold/in_flight";q=2;qu="concurrent-requests"'
        )
        assert answer.fields["ratelimit"] == '"tier/gold";r=9;t=1, "tier/gold/in_flight";r=1'

    in_mesh(body, echo, snapshot=policy(limit=TIER))


def test_a_worker_that_was_stopped_refuses_nobody_by_the_time_before() -> None:
    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(post())).status == 200  # as a sibling charges the limit meanwhile
        stopped_s = mesh.gateway.now_s() - 2.0
        request = parse_request_head(post().partition(b"{}")[0], mesh.gateway.head_limits)
        facts = mesh.gateway.facts_of(request, NO_PEER, stopped_s)
        assert mesh.gateway.decide(facts, NO_PEER, stopped_s).refusal is None

    in_mesh(body, echo, snapshot=policy(limit=TIER))


def test_a_pods_own_rate_limit_fields_do_not_pass_for_ours() -> None:
    async def forging(seen: Seen, connection: Answering) -> None:
        del seen
        connection.write(b'HTTP/1.1 200 OK\r\nRateLimit: "x";r=99\r\ncontent-length: 0\r\n\r\n')

    async def body(mesh: Mesh) -> None:
        assert "ratelimit" not in (await mesh.ask(post())).fields

    in_mesh(body, forging)


def test_a_refusal_names_the_limit_and_the_time() -> None:
    async def body(mesh: Mesh) -> None:
        await mesh.ask(post())
        answer = await mesh.ask(post())
        told = json.loads(answer.body)
        assert (answer.status, told["reason"]) == (429, "rate_limited")
        assert "tier/gold" in told["message"]
        assert answer.fields["penstock-decision"] == 'gen=1;refused=rate_limited;limit="tier/gold"'
        after_s = int(answer.fields["retry-after"])
        assert 900 <= after_s <= 1000
        assert answer.fields["ratelimit"] == f'"tier/gold";r=0;t={after_s}'

    in_mesh(body, echo, snapshot=policy(rate_per_s=0.001, burst=1))


def test_an_observed_limit_is_named_and_lets_pass() -> None:
    async def body(mesh: Mesh) -> None:
        await mesh.ask(post())
        answer = await mesh.ask(post())
        assert answer.status == 200
        assert 'over="tier/gold"' in answer.fields["penstock-decision"]
        _, uses = mesh.gateway.settlement.take_uses()
        assert (uses.refused, uses.observed) == ({}, {"tier/gold": 1})

    in_mesh(body, echo, snapshot=policy(limit=Limit("tier/gold", 0.01, 1, observe=True)))


def test_a_place_is_given_back_however_the_request_ends() -> None:
    async def body(mesh: Mesh) -> None:
        with suppress(asyncio.IncompleteReadError):  # of an answer that is cut short
            await mesh.ask(post())
        assert in_flight(mesh) == 0

    for script in (echo, die, cut_short, busy):
        in_mesh(body, script, snapshot=policy(limit=TIER))


def test_a_caller_that_leaves_gives_its_place_back() -> None:
    async def body(mesh: Mesh) -> None:
        caller = await mesh.connect()
        caller.writer.write(post())
        while in_flight(mesh) != 1:  # noqa: ASYNC110  the pod never answers: only the table tells that it arrived
            await asyncio.sleep(0)
        caller.writer.transport.abort()
        await until_settled(mesh)
        assert in_flight(mesh) == 0

    in_mesh(body, never, snapshot=policy(limit=TIER))


def test_no_more_are_in_flight_than_may_be() -> None:
    async def body(mesh: Mesh) -> None:
        for _ in range(2):
            (await mesh.connect()).writer.write(post())
        while in_flight(mesh) != 2:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["reason"]) == (429, "in_flight_limited")

    in_mesh(body, never, snapshot=policy(limit=TIER))


def costs(meter: str, script: Script, request: bytes | None = None) -> int:
    """Return what one request is charged in the end."""
    charged: list[int] = []
    metered = quota(meter)
    account = account_of("ads", metered)

    async def body(mesh: Mesh) -> None:
        grant(mesh, 1000, account=account)
        await mesh.ask(request or post(body=b"0123456789"))
        await until_settled(mesh)
        charged.append(used(mesh, account))

    in_mesh(body, script, snapshot=policy(quotas=(metered,)))
    return charged[0]


def test_a_quota_is_charged_what_the_pod_measured() -> None:
    assert costs("requests", echo) == 1
    assert costs("bytes", echo) == 20
    assert costs("device_time", echo) == 7
    assert costs("tokens", echo) == 0


def test_a_request_that_no_model_saw_costs_nothing() -> None:
    for meter in ("requests", "bytes", "device_time"):
        assert costs(meter, busy) == 0
        assert costs(meter, echo, post("/predictions/nowhere")) == 0


def test_a_request_whose_cost_nobody_knows_costs_what_was_reserved() -> None:
    assert costs("requests", die) == 1


def test_a_large_body_makes_no_small_one_dear() -> None:
    sizes = quota("bytes", 10_000)

    async def body(mesh: Mesh) -> None:
        grant(mesh, 10_000, 10_000, account=account_of("ads", sizes))
        await mesh.ask(post(body=b"x" * 3000))
        assert mesh.gateway.limits.estimate("digits", "1", "bytes") == 3000, "what the answer had"

    in_mesh(body, echo, snapshot=policy(quotas=(sizes,)))


def test_a_body_that_no_quota_has_room_for_is_not_to_be_sent_again() -> None:
    sizes = quota("bytes", 1000, LadderStep(1.0, "refuse"))

    async def body(mesh: Mesh) -> None:
        grant(mesh, 1000, account=account_of("ads", sizes))
        answer = await mesh.ask(post(body=b"x" * 1001))
        told = json.loads(answer.body)
        assert (answer.status, told["reason"], told["retryable"]) == (413, "body_too_large", False)
        assert "gives 1000 bytes in all, and this body alone has 1001" in told["message"]
        assert "retry-after" not in answer.fields

    in_mesh(body, echo, snapshot=policy(quotas=(sizes,)))


def test_what_was_learnt_is_reserved_for_the_next() -> None:
    devices = quota("device_time")

    async def body(mesh: Mesh) -> None:
        grant(mesh, 1000, account=account_of("ads", devices))
        await mesh.ask(post())
        assert mesh.gateway.limits.estimate("digits", "1", "device_time") == 7
        await mesh.ask(post("/v2/models/digits/ready").replace(b"POST", b"GET", 1))
        assert mesh.gateway.limits.estimate("digits", "1", "device_time") == 7  # which is no inference

    in_mesh(body, echo, snapshot=policy(quotas=(devices,)))


def test_a_request_waits_for_the_ledger_and_loses_nothing_meanwhile() -> None:
    async def body(mesh: Mesh) -> None:
        wanted = mesh.gateway.on_wanted = Wanted()
        caller = await mesh.connect()
        caller.writer.write(post(body=b"first half, "[:6] + b"second"))
        while not wanted.amounts:  # noqa: ASYNC110  the gateway asks when it has read the request
            await asyncio.sleep(0)
        assert wanted.amounts == [{ACCOUNT: 1}]
        grant(mesh, 1)
        answer = await caller.answer()
        assert (answer.status, answer.body) == (200, b"first second")
        caller.writer.write(post(body=b"next"))
        assert (await caller.answer()).status == 503  # the ledger gives no more

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),)))


def test_a_chunked_body_waits_whole() -> None:
    head = f"POST /predictions/digits HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {KEY}\r\n"
    request = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n4\r\nfour\r\n5\r\n-five\r\n0\r\n\r\n"

    async def body(mesh: Mesh) -> None:
        wanted = mesh.gateway.on_wanted = Wanted()
        caller = await mesh.connect()
        caller.writer.write(request)
        while not wanted.amounts:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        grant(mesh, 5)
        assert (await caller.answer()).body == b"four-five"

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),)))


def test_a_body_that_is_too_large_for_the_route_is_refused_after_the_wait() -> None:
    head = f"POST /predictions/digits HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {KEY}\r\n"
    request = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n"

    async def body(mesh: Mesh) -> None:
        wanted = mesh.gateway.on_wanted = Wanted()
        caller = await mesh.connect()
        caller.writer.write(request)
        while not wanted.amounts:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        grant(mesh, 5)
        assert (await caller.answer()).status == 413
        assert used(mesh) == 0

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),), body_bytes=4))


def test_a_caller_that_leaves_while_it_waits_is_forgotten() -> None:
    async def body(mesh: Mesh) -> None:
        wanted = mesh.gateway.on_wanted = Wanted()
        caller = await mesh.connect()
        caller.writer.write(post())
        while not wanted.amounts:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        caller.writer.transport.abort()
        await until_settled(mesh)
        grant(mesh, 5)
        assert (await mesh.ask(post())).status == 200
        assert used(mesh) == 1

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),)))


def test_a_request_that_waited_for_the_ledger_beyond_its_own_deadline_is_not_sent() -> None:
    async def body(mesh: Mesh) -> None:
        wanted = mesh.gateway.on_wanted = Wanted()
        caller = await mesh.connect()
        caller.writer.write(post("/predictions/digits", b"{}", "penstock-timeout-ms: 5"))
        while not wanted.amounts:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        late_s = mesh.gateway.now_s() + 0.006
        while mesh.gateway.now_s() < late_s:  # noqa: ASYNC110  the clock tells nobody
            await asyncio.sleep(0)
        grant(mesh, 5)
        answer = await caller.answer()
        assert (answer.status, json.loads(answer.body)["reason"]) == (504, "deadline_exceeded")
        assert mesh.pods[0].seen == []
        assert used(mesh) == 0

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),)))


def test_a_request_that_waits_for_the_ledger_when_its_worker_leaves_may_be_sent_again() -> None:
    async def body(mesh: Mesh) -> None:
        wanted = mesh.gateway.on_wanted = Wanted()
        caller = await mesh.connect()
        caller.writer.write(post())
        while not wanted.amounts:  # noqa: ASYNC110  as above
            await asyncio.sleep(0)
        for connection in list(mesh.gateway.connections):
            assert isinstance(connection, ClientConnection)
            connection.give_up()
        told = json.loads((await caller.answer()).body)
        assert (told["reason"], told["retryable"]) == ("quota_pending", True)
        assert "was not run" in told["message"]

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),)))


def test_without_a_ledger_the_caller_is_told_to_try_again() -> None:
    async def body(mesh: Mesh) -> None:
        answer = await mesh.ask(post(body=b"x" * 1000))
        told = json.loads(answer.body)
        assert (answer.status, told["reason"], told["retryable"]) == (503, "quota_pending", True)
        assert answer.fields["retry-after"] == "1"

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests"),)))


def test_over_a_step_that_demotes_a_request_is_served_while_pods_have_room_to_spare() -> None:
    steps = (LadderStep(0.5, "warn"), LadderStep(0.5, "demote"))

    async def body(mesh: Mesh) -> None:
        grant(mesh, 1000)
        mesh.table.take_column()
        mesh.table.add(mesh.table.find(ACCOUNT, RowKind.QUOTA), 600)
        answer = await mesh.ask(post())
        assert answer.status == 200
        assert answer.fields["penstock-decision"].count(';warn="q";demoted="q";') == 1
        (pod,) = mesh.gateway.pods.of_version("digits", "1")
        pod.outstanding += 1
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["reason"]) == (429, "quota_demoted")
        pod.outstanding -= 1

    in_mesh(body, echo, snapshot=policy(quotas=(quota("requests", 1000, *steps),)))


def test_me_tells_a_caller_its_limits_and_quotas() -> None:
    async def body(mesh: Mesh) -> None:
        grant(mesh, 1000)
        await mesh.ask(post())
        answer = await mesh.ask(f"GET /me HTTP/1.1\r\nHost: m\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
        told = json.loads(answer.body)
        assert (answer.status, told["tenant"], told["tier"], told["may_call"]) == (200, "ads", "gold", ["digits"])
        assert told["credential"]["scopes"] == ["infer", "pin", "explain"]
        assert told["rates"][0]["left"] in (9, 10)
        assert told["rates"][0]["models"] == ["digits"]
        assert told["in_flight"][0] == {
            "name": "tier/gold/in_flight",
            "most": 2,
            "in_flight": 0,
            "is_enforced": True,
            "models": ["digits"],
        }
        assert told["queue"] == {"priority": 0, "weight": 1, "most_waiting": 64, "longest_wait_s": 1.0}
        assert (told["quotas"][0]["used"], told["quotas"][0]["left"]) == (1, 999)
        assert told["quotas"][0]["resets_at"] == "2096-10-02T07:06:40Z"

    in_mesh(body, echo, snapshot=policy(limit=TIER, quotas=(quota("requests"),)))


def test_me_is_for_callers_alone() -> None:
    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(b"GET /me HTTP/1.1\r\nHost: m\r\n\r\n")).status == 401

    in_mesh(body)


def test_a_revoked_key_is_refused_from_the_next_request_on() -> None:
    async def body(mesh: Mesh) -> None:
        assert (await mesh.ask(post())).status == 200
        mesh.gateway.revoke(frozenset({f"id-{KEY}"}))
        answer = await mesh.ask(post())
        assert (answer.status, json.loads(answer.body)["reason"]) == (401, "key_revoked")
        mesh.gateway.use(policy(generation=2))
        assert (await mesh.ask(post())).status == 401
        mesh.gateway.revoke(frozenset())
        assert (await mesh.ask(post())).status == 200

    in_mesh(body, echo)
