"""Counts add, and what is ignored is no part of the total."""

from __future__ import annotations

from telemetry.slo.events import NO_EVENTS, EventCount


def test_counts_add_and_take_away_by_meaning() -> None:
    assert EventCount(1, 2, 3) + EventCount(10, 20, 30) == EventCount(11, 22, 33)
    assert EventCount(11, 22, 33) - EventCount(1, 2, 3) == EventCount(10, 20, 30)


def test_what_is_ignored_is_no_part_of_the_total() -> None:
    assert EventCount(good=7, bad=2, ignored=5).total == 9


def test_ignored_events_are_events_and_none_are_none() -> None:
    assert EventCount(ignored=1)
    assert not NO_EVENTS
