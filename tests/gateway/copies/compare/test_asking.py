"""Which copies are asked about again: the first that differ, and then within a share of all copies."""

from __future__ import annotations

import pytest

from gateway.copies.compare.asking import LEVELS, Awaited, is_asked, level_for
from tests.gateway.copies.compare.exchanges import says


def test_the_first_that_differ_are_all_asked_about() -> None:
    assert level_for(differ=49, compared=49, asked=49, share=0.02) == 0
    assert level_for(differ=50, compared=50, asked=50, share=0.02) > 0


@pytest.mark.parametrize(("differ", "level"), [(10, 0), (198, 0), (390, 1), (790, 2), (10_000, 6)])
def test_no_more_than_the_share_of_all_copies_is_asked_about(differ: int, level: int) -> None:
    assert level_for(differ, 10_000, 50, 0.02) == level
    assert (differ + 1) / 10_001 * 0.5**level <= 0.02 + 1e-9


def test_a_share_of_nothing_has_no_level_but_the_first_and_a_tiny_one_the_last() -> None:
    assert level_for(5000, 10_000, 50, 0.0) == 0
    assert level_for(10_000, 10_000, 50, 1e-9) == LEVELS - 1


def test_of_a_level_about_its_part_is_asked_about_and_always_the_same() -> None:
    names = [f"r-{number}" for number in range(4000)]
    assert all(is_asked("dark", name, 0) for name in names)
    asked = [is_asked("dark", name, 2) for name in names]
    assert 900 < sum(asked) < 1100
    assert asked == [is_asked("dark", name, 2) for name in names]


def test_what_is_awaited_comes_once() -> None:
    awaited = Awaited()
    assert awaited.put("r-1", says(1), 3)
    assert not awaited.put("r-1", says(2), 0)
    found = awaited.pop("r-1")
    assert found is not None
    assert (found.shadow, found.level) == (says(1), 3)
    assert awaited.pop("r-1") is None


def test_what_has_come_makes_room() -> None:
    awaited = Awaited()
    awaited.put("first", says(1), 0)
    for number in range(40):
        awaited.put(f"large-{number}", says("x" * 2**20), 0)
        awaited.pop(f"large-{number}")
    assert awaited.pop("first") is not None


def test_what_is_awaited_is_bounded_by_number_and_by_bytes() -> None:
    awaited = Awaited()
    for number in range(1100):
        awaited.put(f"r-{number}", says(1), 0)
    assert awaited.pop("r-0") is None
    assert awaited.pop("r-1099") is not None
    for number in range(40):
        awaited.put(f"large-{number}", says("x" * 2**20), 0)
    assert awaited.pop("large-0") is None
    assert awaited.pop("r-1098") is None
    assert awaited.pop("large-39") is not None
