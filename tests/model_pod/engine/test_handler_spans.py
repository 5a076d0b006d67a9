from __future__ import annotations

import copy
import json
import threading
from collections.abc import Iterator
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.sdk.trace import TracerProvider

from model_pod.engine.handler_spans import RowsInContext, context_of

BATCH = 9


def _context(number: int) -> Context:
    return context_of(f"00-{number:032x}-{number:016x}-01")


def _current() -> int:
    return trace.get_current_span().get_span_context().span_id


def _current_at(row: dict[str, Any]) -> int:
    return _current()


@pytest.fixture(autouse=True)
def _in_batch() -> Iterator[None]:
    token = attach(_context(BATCH))
    yield
    detach(token)


def _data(count: int = 3) -> RowsInContext:
    rows: list[dict[str, Any]] = [{"row": number} for number in range(1, count + 1)]
    return RowsInContext(rows, [(row, _context(row["row"])) for row in rows])


def test_loops_run_in_each_rows_context_and_end_in_the_batchs() -> None:
    data = _data()
    assert [_current() for _ in data] == [1, 2, 3]
    assert [_current() for _, _ in enumerate(data)] == [1, 2, 3]
    assert [_current() for _, _ in zip(data, "ab", strict=False)] == [1, 2]
    assert list(map(_current_at, data)) == [1, 2, 3]
    assert _current() == BATCH


def test_a_loop_that_is_left_early_ends_in_the_batchs_context() -> None:
    for row in _data():
        if row["row"] == 2:
            break
    assert _current() == BATCH


def test_a_loop_within_a_loop_gives_the_outer_row_back() -> None:
    seen = [(_current(), [_current() for _ in _data(2)], _current()) for _ in _data(2)]
    assert seen == [(1, [1, 2], 1), (2, [1, 2], 2)]
    assert _current() == BATCH


def test_two_loops_side_by_side_end_in_the_batchs_context() -> None:
    data = _data()
    assert [_current() for _, _ in zip(data, data, strict=True)] == [1, 2, 3]
    assert _current() == BATCH


def test_indexing_has_the_batchs_context() -> None:
    data = _data()
    assert data[0] == {"row": 1}
    assert data[-1] == {"row": 3}
    assert _current() == BATCH


def test_slices_are_alike() -> None:
    assert [_current() for _ in _data()[1:]] == [2, 3]


def test_rows_are_known_again_when_the_handler_moves_them_and_new_ones_have_the_batchs_context() -> None:
    data = _data()
    data.reverse()
    data.pop()
    data.append({"row": 7})
    assert [_current() for _ in data] == [3, 2, BATCH]


def test_a_span_of_the_handlers_own_stays_the_parent() -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("loop") as span:
        assert {_current() for _ in _data()} == {span.get_span_context().span_id}
    for row in _data():
        with tracer.start_as_current_span("one") as span:
            assert trace.get_current_span() is span
        assert _current() == row["row"]


def test_a_thread_has_the_rows_contexts_too() -> None:
    seen: list[list[int]] = []
    data = _data()
    thread = threading.Thread(target=lambda: seen.append([*(_current() for _ in data), _current()]))
    thread.start()
    thread.join()
    assert seen == [[1, 2, 3, 0]]


def test_a_loop_that_another_thread_ends_leaves_its_context_alone() -> None:
    loop = iter(_data())
    next(loop)
    mine = get_current()
    thread = threading.Thread(target=loop.close)  # type: ignore[attr-defined]  # a generator
    thread.start()
    thread.join()
    assert get_current() is mine


def test_it_is_a_list_for_all_that_wants_one() -> None:
    data = _data(2)
    plain = [{"row": 1}, {"row": 2}]
    assert isinstance(data, list)
    assert data == plain
    assert (len(data), sorted(data, key=lambda row: -row["row"]), [*data]) == (2, plain[::-1], plain)
    assert json.loads(json.dumps(data)) == plain
    assert type(copy.deepcopy(data)) is list
    # What a handler hands to a process of its own.
    assert type(ForkingPickler.loads(ForkingPickler.dumps(data))) is list
