"""Recorded traffic made by deciding it: what a worker would have written."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from gateway.dataplane.usage import Usage
from gateway.decide.credentials import Recorded
from gateway.decide.decision import Decision, decide
from gateway.decide.facts import RequestFacts
from gateway.decide.tables import Tables
from gateway.decisions.gathering import Gathering
from gateway.decisions.records import Block
from gateway.errors import REASONS
from gateway.trial.memory_counters import Costs, MemoryCounters
from policies.snapshot.generation import Snapshot

START_S = 1_800_000_000.0


class Call(Struct, frozen=True):
    """A request of tenant ``ads`` for ``digits``, unless it says otherwise."""

    at_s: float = 0.0
    path: str = "/predictions/digits"
    tenant: str = "ads"
    key_id: str = ""
    body_bytes: int = 10
    response_bytes: int = 10
    device_us: int = 1000
    duration_s: float = 0.01
    pinned_version: str = ""
    reason: str = ""
    scopes: tuple[str, ...] = ()

    def facts(self) -> RequestFacts:
        """Return what the gateway knew of it."""
        credential = Recorded(self.tenant, self.key_id, self.scopes)
        wall_s = START_S + self.at_s
        return RequestFacts("POST", self.path, credential, self.pinned_version, "", self.body_bytes, wall_s)


def request_id(number: int) -> str:
    """Return the id of the request of that number."""
    return f"{number + 1:032x}"


def recorded(snapshot: Snapshot, calls: Sequence[Call]) -> tuple[Block, bytes]:
    """Return a block of what these requests came to under a policy, and the requests' ids."""
    tables, counters, gathering = Tables(snapshot), MemoryCounters(snapshot, Costs()), Gathering()
    for number, call in enumerate(calls):
        note(gathering, call, decided(tables, counters, call), request_id(number))
    taken = gathering.take(START_S)
    assert taken is not None
    return taken


def decided(tables: Tables, counters: MemoryCounters, call: Call) -> Decision:
    """Decide and charge one request."""
    facts = call.facts()
    counters.at(facts.wall_s)
    decision = decide(tables, facts, counters, facts.wall_s)
    if decision.refusal is None:
        used = (1, call.body_bytes + call.response_bytes, call.device_us, 0)
        counters.charge(decision.charges, used, facts.wall_s + call.duration_s)
    return decision


def note(gathering: Gathering, call: Call, decision: Decision, identity: str) -> None:
    """Keep what became of one request."""
    reason = decision.refusal.reason if decision.refusal else call.reason
    status = REASONS[reason].status if reason else 200
    used = Usage(call.device_us, 0, call.body_bytes, call.response_bytes) if not decision.refusal else Usage()
    gathering.add(call.facts(), decision, identity, call.duration_s, status, reason, used)
