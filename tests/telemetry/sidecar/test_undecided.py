"""What is held is released once, given up once, and never beyond the bound."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.sidecar.undecided import CAPACITY, HOLD_S, Held, Recorded, Undecided
from telemetry.span import Kind, Span
from tests.telemetry.sidecar.recording import POD, frame, pod_request


def held(*traces: str) -> Held:
    return Held(Recorded(frame(POD), pod_request(1)), frozenset(traces), traces[0])


def spans(count: int) -> Held:
    one = Span("t", "s", "p", "handler", Kind.INTERNAL, 0, 1)
    return Held((one,) * count, frozenset(("t",)), "t")


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
    first, second = spans(CAPACITY - 1), held("a")
    assert list(waiting.hold(first, 0.0)) == []
    assert list(waiting.hold(second, 0.0)) == []
    assert list(waiting.hold(held("b"), 0.0)) == [first]
    too_large = spans(CAPACITY + 1)
    assert list(waiting.hold(too_large, 0.0)) == [too_large]
    assert waiting.weight == 2


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
