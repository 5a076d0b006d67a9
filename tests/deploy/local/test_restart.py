"""How soon a process that died is started again."""

from __future__ import annotations

from deploy.local.restart import count_quick_deaths, pause_s


def test_pauses_grow_as_quick_deaths_follow_each_other() -> None:
    assert [pause_s(deaths) for deaths in range(10)] == [0.0, 0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_any_number_of_deaths_has_a_pause() -> None:
    assert pause_s(10**9) == 30.0


def test_a_long_life_begins_the_count_anew() -> None:
    assert count_quick_deaths(4, lived_s=4.9) == 5
    assert count_quick_deaths(5, lived_s=5.0) == 0
