"""Ten thousand wrong keys from one address: it is told to wait, and a good key from there is never locked out."""

from __future__ import annotations

import asyncio
from collections import Counter

from gateway.dataplane.credentials import Credentials, Peer
from gateway.dataplane.server import ClientConnection
from gateway.decide.bad_keys import TRIES
from gateway.decide.decision import decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from model_pod.wire.http1 import RequestHead
from tests.fakes.pod import echo
from tests.gateway.dataplane.mesh import Answer, Caller, Mesh, in_mesh, post
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.policy import KEY, policy

WRONG_KEYS = 10_000
ON_THE_WIRE = 500
GOOD_EVERY = 50
ATTACKER = Peer("192.0.2.7")


def test_ten_thousand_wrong_keys_are_told_to_wait_and_a_good_one_passes_between_them() -> None:
    tables, credentials = Tables(policy()), Credentials(())

    def reason(number: int, key: str) -> str:
        head = RequestHead("POST", "/predictions/digits", [], {b"authorization": f"Bearer {key}".encode()}, 1, True)
        shown = credentials.read(head, ATTACKER, 500.0, number / 1000)
        facts = RequestFacts("POST", "/predictions/digits", shown, "", "", 0, 500.0)
        refusal = decide(tables, facts, FakeCounters(), 0.0).refusal
        return credentials.back_off(refusal, ATTACKER, number / 1000).reason if refusal is not None else ""

    reasons = Counter(reason(number, f"msk_guess_{number}") for number in range(WRONG_KEYS))
    assert reasons == {"key_unknown": TRIES, "too_many_bad_keys": WRONG_KEYS - TRIES}
    assert [reason(number, KEY) for number in range(0, WRONG_KEYS, 100)] == [""] * 100


def test_on_the_wire_the_wait_is_told_and_a_good_key_passes() -> None:
    async def story(mesh: Mesh) -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: ClientConnection(mesh.gateway), "127.0.0.1", 0)
        caller = Caller(*await asyncio.open_connection(*server.sockets[0].getsockname()))
        try:
            await guess(caller)
        finally:
            caller.writer.transport.abort()
            server.close()

    in_mesh(story, echo)


async def guess(caller: Caller) -> None:
    reasons: Counter[str] = Counter()
    for number in range(ON_THE_WIRE):
        refused = await ask(caller, f"msk_guess_{number}")
        reasons[refused.fields["penstock-reason"]] += 1
        assert refused.status == (429 if "retry-after" in refused.fields else 401)
        if number % GOOD_EVERY == 0:
            assert (await ask(caller, KEY)).status == 200
    assert reasons.keys() == {"key_unknown", "too_many_bad_keys"}


async def ask(caller: Caller, key: str) -> Answer:
    caller.writer.write(post(body=b"", key=key))
    return await caller.answer()
