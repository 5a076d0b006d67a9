"""Each load that pods tell of is taken once, whatever they tell again, and after a restart too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.slo_loads import MAX_INSTANCES, LoadBook, NewLoads
from model_pod.wire.status import LoadEnded
from tests.gateway.control.objectives import START_S, loads


def ended(number: int, at_s: float = START_S, *, is_loaded: bool = True) -> LoadEnded:
    return LoadEnded(number, at_s, 1.0, is_loaded)


def test_what_a_pod_tells_again_is_not_taken_again() -> None:
    book = LoadBook()
    assert book.take(loads(ended(1), ended(2))).loads == (ended(1), ended(2))
    assert book.take(loads(ended(1), ended(2))) == NewLoads()
    assert book.take(loads(ended(1), ended(2), ended(3))).loads == (ended(3),)


def test_a_pod_that_starts_anew_begins_with_its_first_load() -> None:
    book = LoadBook()
    book.take(loads(ended(1)))
    assert book.take(loads(ended(1), instance="two")).loads == (ended(1),)


def test_a_pod_that_numbers_no_loads_tells_none() -> None:
    assert LoadBook().take(loads(ended(1), instance="")) == NewLoads()
    assert LoadBook().take(loads()) == NewLoads()


def test_loads_that_a_pod_no_longer_tells_are_known_to_be_missing() -> None:
    book = LoadBook()
    book.take(loads(ended(1)))
    assert book.take(loads(ended(5), ended(6))) == NewLoads((ended(5), ended(6)), untold=3)


def test_what_ended_before_a_moment_may_have_been_counted_by_somebody_else() -> None:
    book = LoadBook()
    early, late = ended(1, START_S - 1.0), ended(2, START_S)
    assert book.take(loads(early, late), since_s=START_S) == NewLoads((late,))
    assert book.take(loads(early, late)) == NewLoads()


def test_what_was_kept_is_not_taken_again_and_what_is_known_is_newer() -> None:
    book = LoadBook()
    book.take(loads(*(ended(number) for number in (1, 2, 3)), instance="known"))
    book.restore({"known": 2, "kept": 4})
    assert book.take(loads(ended(3), instance="known")) == NewLoads()
    assert book.take(loads(ended(4), ended(5), instance="kept")).loads == (ended(5),)


def test_beyond_a_bound_the_pods_that_were_not_seen_for_longest_are_forgotten() -> None:
    book = LoadBook()
    for number in range(MAX_INSTANCES):
        book.take(loads(ended(1), instance=f"pod {number}"))
    book.take(loads(ended(1), instance="pod 0"))
    book.take(loads(ended(1), instance="one more"))
    assert len(book.counted) == MAX_INSTANCES
    assert "pod 0" in book.counted
    assert "pod 1" not in book.counted


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 8), st.booleans()), max_size=40))
def test_each_load_is_taken_once_or_known_to_be_missing(steps: list[tuple[int, int, bool]]) -> None:
    """Pods tell their last four loads; the supervisor restarts now and then with what it kept."""
    book, numbers, taken, untold = LoadBook(), [0] * 4, [0] * 4, [0] * 4
    for pod, more, restarts in steps:
        if restarts:
            kept, book = book.counted, LoadBook()
            book.restore(kept)
        numbers[pod] += more
        told = [ended(number) for number in range(max(1, numbers[pod] - 3), numbers[pod] + 1)]
        news = book.take(loads(*told, instance=f"pod {pod}"))
        taken[pod] += len(news.loads)
        untold[pod] += news.untold
    assert [one + other for one, other in zip(taken, untold, strict=True)] == numbers
