"""The queue's bounds, and that its counts always return to nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_pod.protocols.exchange import BatchKey, RowInput
from model_pod.server.queue import QueuedRequest, RequestQueue, split
from model_pod.server.reply import Settled
from model_pod.wire.refusals import Refused
from model_pod.wire.rows import Part, PartKind, Row, Tensor


def _request(row_count: int, max_rows: int = 4, row_bytes: int = 10) -> list[QueuedRequest]:
    rows = [RowInput(Row("r"), (b"x" * row_bytes,))] * row_count
    return split(rows, BatchKey(), 0.0, 1.0, max_rows, _ignore)


def _ignore(settled: Settled) -> None:
    """Nobody waits."""


def test_a_request_is_split_into_parts_that_fit_a_batch() -> None:
    parts = _request(10)
    assert [part.row_count for part in parts] == [4, 4, 2]
    assert [part.part for part in parts] == [0, 1, 2]
    assert len({id(part.reply) for part in parts}) == 1


def test_rows_are_bounded_and_a_request_enters_whole_or_not_at_all() -> None:
    queue = RequestQueue(max_rows=9, max_bytes=1000)
    queue.add(_request(6))
    with pytest.raises(Refused, match="no room for 4 more rows") as refused:
        queue.add(_request(4))
    assert refused.value.reason == "queue_full"
    assert (queue.row_count, len(queue), queue.byte_count) == (6, 2, 60)


def test_bytes_are_bounded_while_bodies_arrive_and_while_batches_run() -> None:
    queue = RequestQueue(max_rows=100, max_bytes=100)
    queue.reserve(50)
    parts = _request(4)
    queue.add(parts)
    queue.take(parts)
    with pytest.raises(Refused):
        queue.reserve(11)
    queue.release(50)
    with pytest.raises(Refused):
        queue.add(_request(7))
    queue.release(40)
    queue.add(_request(7))


def test_what_was_never_run_returns_to_the_front() -> None:
    queue = RequestQueue(max_rows=100, max_bytes=1000)
    (first,), (second,), (left,) = _request(1), _request(2), _request(3)
    queue.add([first])
    queue.add([left])
    queue.take([first, left])
    queue.add([second])
    left.reply.cancel()
    queue.put_back([first, left])
    assert list(queue) == [first, second]
    assert (queue.row_count, queue.byte_count) == (3, 30)


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["wait", "remove", "run", "put back"])), max_size=20))
def test_counts_are_those_of_what_is_there(fates: list[tuple[int, str]]) -> None:
    queue = RequestQueue(max_rows=1000, max_bytes=100_000)
    waiting, running = 0, 0
    for row_count, fate in fates:
        parts = _request(row_count)
        queue.add(parts)
        if fate == "remove":
            queue.remove(parts)
            queue.remove(parts)
        elif fate != "wait":
            queue.take(parts)
            if fate == "put back":
                queue.put_back(parts)
        waiting += row_count * (fate in ("wait", "put back"))
        running += row_count * (fate == "run")
    assert (queue.row_count, queue.byte_count) == (waiting, 10 * (waiting + running))
    assert sum(request.row_count for request in queue) == waiting


def test_texts_that_travel_beside_the_bytes_are_counted_with_them() -> None:
    row = Row("r", (("name", "value"),), (Part("part", PartKind.BYTES, 0, "a/b"),), (), "path")
    (part,) = split([RowInput(row, (b"x" * 10,))], BatchKey(), 0.0, 1.0, 4, _ignore)
    assert part.byte_count == 10 + len("namevalue") + len("parta/b") + len("path")
    tensors = Row("r", tensors=(Tensor("pixels", "FP32", (1,), 0),))
    assert RowInput(tensors, (b"x" * 4,)).byte_count == 10
