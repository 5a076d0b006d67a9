"""Of the keys that go bad at the same moment one counts, whichever version it has."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.rollouts import moments
from gateway.decide.rollouts.moments import LOOKS_IN_A_MOMENT, Bad, Present
from telemetry.stats.sequential import RatioTest


def bad(subject: int, *, in_canary: bool = False) -> Bad:
    return Bad(subject, in_canary, 0.05, f"{subject:032x}")


def after(present: Present, looks: int = LOOKS_IN_A_MOMENT) -> list[tuple[Bad, bool]]:
    """What counts after so many looks."""
    return [counted for counted in (present.looked() for _ in range(looks)) if counted is not None]


def test_a_key_that_is_alone_in_its_moment_counts_by_itself() -> None:
    present = Present()
    present.add(bad(7))
    assert after(present) == [(bad(7), False)]
    assert after(present, 10) == []


def test_a_key_that_is_bad_again_and_again_is_one() -> None:
    present = Present()
    for _ in range(5):
        present.add(bad(7))
    assert after(present) == [(bad(7), False)]


def test_of_many_one_counts_as_one_of_many_and_the_others_may_come_again() -> None:
    present = Present()
    for subject in range(56):
        present.add(bad(subject))
    ((first, is_one_of_many),) = after(present)
    assert is_one_of_many
    for subject in set(range(56)) - {first.subject}:
        present.add(bad(subject))
    assert len(after(present)) == 1


def test_a_moment_lasts_so_many_looks() -> None:
    present = Present()
    present.add(bad(1))
    assert after(present, LOOKS_IN_A_MOMENT - 1) == []
    present.add(bad(2))
    assert [is_one_of_many for _, is_one_of_many in after(present, 1)] == [True]


def test_whom_a_moment_draws_knows_nothing_of_versions() -> None:
    drawn: Counter[bool] = Counter()
    present = Present()
    for number in range(2000):
        for subject in range(10):
            present.add(bad(number * 10 + subject, in_canary=subject == 0))
        drawn.update(counted.in_canary for counted, _ in after(present))
    assert 140 < drawn[True] < 260


def test_a_moment_has_a_bound() -> None:
    present = Present()
    for subject in range(moments.MAX_KEYS + 10):
        present.add(bad(subject))
    assert len(present._bad) == moments.MAX_KEYS


@given(st.lists(st.booleans(), max_size=60), st.sampled_from([0.01, 0.05, 0.5, 0.9]))
def test_one_of_many_never_gains_more_than_one_alone(arms: list[bool], share: float) -> None:
    alone = many = RatioTest.begun(1.2, 1.5)
    for in_canary in arms:
        alone, many = alone.seen(in_canary, share), many.seen(in_canary, share, is_one_of_many=True)
    assert many.harm <= alone.harm * (1 + 1e-9)
    assert many.safe <= alone.safe * (1 + 1e-9)
    assert (many.events, many.canary_events) == (alone.events, alone.canary_events)


def test_one_of_many_counts_as_little_as_where_pods_are_half_and_half() -> None:
    test = RatioTest.begun(1.2, 1.5)
    assert test.seen(True, 0.05, is_one_of_many=True).harm == test.seen(True, 0.5).harm < test.seen(True, 0.05).harm
