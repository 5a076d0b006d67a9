"""The benchmark of the hop measures what it says: usual requests, taken at once, answered and told of."""

from __future__ import annotations

from pathlib import Path

from gateway.dataplane.express import Passage
from tests.benchmarks.hop import CLIENTS, Hop


def test_every_request_goes_the_usual_way_and_is_answered(tmp_path: Path) -> None:
    hop = Hop(tmp_path)
    try:
        hop.turn(1)
        hop._ask()
        assert {type(client._forward) for client in hop._clients} == {Passage}
        hop._answer_all()
        assert [client._forward for client in hop._clients] == [None] * CLIENTS
        written = {client._transport.last[:15] for client in hop._clients}  # type: ignore[attr-defined]
        assert written == {b"HTTP/1.1 200 OK"}
        assert hop._gateway.settlement.requests == 3 * CLIENTS
        assert len(hop._recorder._ring) == 3 * CLIENTS
        assert hop._decisions.lost == 0
    finally:
        hop.close()
