"""What is held is released once, given up once, and never beyond the bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.undecided import (
    CAPACITY,
    HOLD_S,
    HOLD_SPANS_S,
    RECORDS_BYTES,
    SPANS_BYTES,
    Held,
    Recorded,
    Undecided,
)
from telemetry.span import Kind, Span
from tests.telemetry.sidecar.recording import POD, frame, pod_request


def held(*traces: str, size_bytes: int = 1) -> Held:
    return Held(Recorded(frame(POD), pod_request(1)), frozenset(traces), traces[0], size_bytes)


def spans(count: int, trace: str = "t", size_bytes: int = 1) -> Held:
    one = Span(trace, "s", "p", "handler", Kind.INTERNAL, 0, 1)
    return Held((one,) * count, frozenset((trace,)), trace, size_bytes)


def test_what_waits_for_a_trace_is_released_once() -> None:
    waiting = Undecided()
    one, other = held("a"), held("b", "a")
    assert [*waiting.hold(one, 0.0), *waiting.hold(other, 1.0)] == []
    assert waiting.release("c") == []
    assert waiting.release("b") == [other]
    assert waiting.release("a") == [one]
    assert waiting.release("a") == []
    assert list(waiting.expired(100.0)) == []
    assert waiting.weight == 0


def test_what_waits_too_long_is_given_up_in_its_order() -> None:
    waiting = Undecided()
    one, other = held("a"), held("b")
    list(waiting.hold(one, 0.0))
    list(waiting.hold(other, 1.0))
    assert list(waiting.expired(HOLD_S - 0.1)) == []
    assert list(waiting.expired(HOLD_S)) == [one]
    assert list(waiting.expired(HOLD_S + 1.0)) == [other]
    assert waiting.release("a") == []


def test_beyond_the_bound_the_oldest_go_and_what_is_larger_than_all_goes_itself() -> None:
    waiting = Undecided()
    first, second = spans(CAPACITY - 1), spans(1)
    assert list(waiting.hold(first, 0.0)) == []
    assert list(waiting.hold(second, 0.0)) == []
    assert list(waiting.hold(spans(1), 0.0)) == [first]
    too_many = spans(CAPACITY + 1)
    assert list(waiting.hold(too_many, 0.0)) == [too_many]
    assert waiting.weight == 2


def test_what_is_held_is_bounded_by_its_bytes_and_the_oldest_go() -> None:
    waiting = Undecided()
    large = [spans(1, trace, SPANS_BYTES // 4) for trace in "abcd"]
    assert [given_up for one in large for given_up in waiting.hold(one, 0.0)] == []
    assert list(waiting.hold(spans(1, "e", SPANS_BYTES // 2), 1.0)) == large[:2]
    too_large = spans(1, "f", SPANS_BYTES + 1)
    assert list(waiting.hold(too_large, 1.0)) == [too_large]
    assert waiting.weight == 3
    waiting.release("e")
    assert list(waiting.hold(spans(1, "g", SPANS_BYTES // 2), 1.0)) == []


def test_spans_of_others_drive_no_records_out() -> None:
    waiting = Undecided()
    record = held("a", size_bytes=RECORDS_BYTES)
    assert list(waiting.hold(record, 0.0)) == []
    for number in range(8):
        list(waiting.hold(spans(CAPACITY // 4, f"t{number}", SPANS_BYTES // 4), 0.0))
    assert waiting.release("a") == [record]


def test_spans_wait_for_a_long_request_and_are_given_up_with_its_record() -> None:
    waiting = Undecided()
    early, alone = spans(2, "a"), spans(1, "b")
    list(waiting.hold(early, 0.0))
    list(waiting.hold(alone, 0.0))
    assert list(waiting.expired(100.0)) == []
    record, batch = held("a"), held("batch", "a")
    list(waiting.hold(record, 100.0))
    list(waiting.hold(batch, 101.0))
    assert list(waiting.expired(100.0 + HOLD_S)) == [record, early]  # the batch may still be kept for another's sake
    assert list(waiting.expired(101.0 + HOLD_S)) == [batch]
    assert list(waiting.expired(HOLD_SPANS_S)) == [alone]


def test_spans_go_with_the_last_record_of_their_trace() -> None:
    waiting = Undecided()
    early, one, other = spans(2, "a"), held("a"), held("a")
    list(waiting.hold(early, 0.0))
    list(waiting.hold(one, 100.0))
    list(waiting.hold(other, 101.0))
    assert list(waiting.expired(100.0 + HOLD_S)) == [one]
    assert list(waiting.expired(101.0 + HOLD_S)) == [other, early]
    assert waiting.weight == 0


STEPS = st.lists(
    st.tuples(st.sampled_from("hre"), st.sets(st.sampled_from("abcd"), min_size=1), st.floats(0.0, 5.0)), max_size=40
)


@given(STEPS)
def test_everything_that_was_held_comes_out_exactly_once(steps: list[tuple[str, set[str], float]]) -> None:
    waiting, now_s = Undecided(), 0.0
    went_in: list[Held] = []
    came_out: list[Held] = []
    for what, traces, later_s in steps:
        now_s += later_s
        if what == "h":
            went_in.append(held(*sorted(traces)))
            came_out += waiting.hold(went_in[-1], now_s)
        elif what == "r":
            came_out += [item for trace_id in traces for item in waiting.release(trace_id)]
        else:
            came_out += waiting.expired(now_s)
        assert waiting.weight == len(went_in) - len(came_out)
    came_out += waiting.expired(now_s + HOLD_S)
    assert sorted(map(id, came_out)) == sorted(map(id, went_in))
    assert waiting.weight == 0


def test_nothing_of_a_trace_is_remembered_once_it_is_done() -> None:
    waiting = Undecided()
    for number in range(100):
        list(waiting.hold(held(f"t{number}"), 0.0))
    list(waiting.expired(HOLD_S))
    assert vars(waiting)["_of_trace"] == {}
