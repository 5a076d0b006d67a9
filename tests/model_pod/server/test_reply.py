"""Reply slots: told once, in order, whatever else happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.exchange import RowOutput
from model_pod.server.reply import Reply, Settled, Usage
from model_pod.wire.inference import StageTimes
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import RowAnswer


def _output(part: int) -> RowOutput:
    return RowOutput(RowAnswer(blob=0), [b"%d" % part])


def test_parts_are_gathered_in_their_order() -> None:
    told: list[Settled] = []
    reply = Reply(2, told.append)
    reply.resolve(1, [_output(1)], Usage(200, 7, 3, 0.5, StageTimes(1.0, 2.0, 3.0)))
    assert told == []
    reply.resolve(0, [_output(0)], Usage(101, 5, 4, 0.1, StageTimes(1.0, 1.0, 1.0)))
    (settled,) = told
    assert settled.outputs == [_output(0), _output(1)]
    assert (settled.usage.device_us, settled.usage.tokens) == (301, 12)
    assert settled.usage.batch_rows == 4
    assert settled.usage.queue_s == 0.5
    assert settled.usage.stages == StageTimes(2.0, 3.0, 4.0)


def test_a_refused_part_refuses_the_whole() -> None:
    told: list[Settled] = []
    reply = Reply(2, told.append)
    refused = Refused("inference_lost", "gone")
    reply.refuse(refused)
    reply.resolve(0, [_output(0)], Usage())
    assert [settled.refused for settled in told] == [refused]


def test_a_cancelled_reply_is_never_told() -> None:
    told: list[Settled] = []
    reply = Reply(1, told.append)
    reply.cancel()
    reply.resolve(0, [_output(0)], Usage())
    reply.refuse(Refused("inference_lost", "gone"))
    assert reply.is_settled
    assert told == []


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from(["resolve", "refuse", "cancel"]), st.integers(0, 3))))
def test_nothing_is_told_twice(parts: int, events: list[tuple[str, int]]) -> None:
    told: list[Settled] = []
    reply = Reply(parts, told.append)
    for kind, part in events:
        if kind == "resolve":
            reply.resolve(part % parts, [_output(part)], Usage())
        elif kind == "refuse":
            reply.refuse(Refused("inference_lost", "gone"))
        else:
            reply.cancel()
    assert len(told) <= 1
    resolved = {part % parts for kind, part in events if kind == "resolve"}
    if all(kind == "resolve" for kind, _ in events):
        assert len(told) == (len(resolved) == parts)
