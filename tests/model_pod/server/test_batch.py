"""A batch's times as both processes saw them."""

from __future__ import annotations

from model_pod.protocols.exchange import BatchKey, RowInput
from model_pod.server.batch import Batch
from model_pod.server.queue import QueuedRequest, split
from model_pod.wire.inference import Ran, StageTimes
from model_pod.wire.rows import Row

SPAN = ("a" * 32, "b" * 16)


def queued(enqueued_s: float) -> QueuedRequest:
    (request,) = split([RowInput(Row("r"), ())], BatchKey(), enqueued_s, 99.0, 4, lambda _: None)
    return request


def ran(began_s: float, ended_s: float) -> Ran:
    return Ran(1, (), StageTimes(0.1, 0.2, 0.3), 0.15, 1, began_s, ended_s)


def test_times_are_the_inference_processes_where_it_tells_them() -> None:
    batch = Batch(7, (queued(9.0),), 1, 10.0, SPAN, 3)
    batch.ended(ran(10.1, 10.8), 11.0)
    assert batch.times() == (7, *SPAN, 10.0, 10.1, 0.1, 0.2, 0.3, 10.8, 11.0, 1, 1, 1, 0.15)


def test_a_batch_that_lay_ready_began_when_the_process_came_to_it() -> None:
    request = queued(9.0)
    batch = Batch(7, (request,), 1, 9.5, SPAN, 0)
    batch.started_s = 10.2  # when the server heard of the end of the one before
    batch.ended(ran(10.1, 10.8), 11.0)
    assert batch.started_s == 10.1
    assert batch.waited_s(request) == 10.1 - 9.0


def test_a_batch_that_never_ran_has_no_stages() -> None:
    batch = Batch(7, (queued(9.0),), 1, 10.0, SPAN, 0)
    assert batch.times()[4:10] == (0.0,) * 6
    batch.ended(None, 11.0)
    assert batch.times()[3:10] == (10.0, 0.0, 0.0, 0.0, 0.0, 0.0, 11.0)
