"""Where things lie along an axis: never off it, and its ticks are round."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.shown.axis import Bar, LogScale, Tick, bar, log_scale, time_ticks
from telemetry.hub.shown.formats import duration

POSITIVE = st.floats(1e-9, 1e9)
ANY = st.floats(-1e12, 1e12)


def place(percent: str) -> float:
    return float(percent.removesuffix("%"))


def test_a_stretch_is_drawn_where_it_lies() -> None:
    assert bar(25.0, 50.0, 100.0) == Bar("25.000%", "50.000%")


def test_what_lies_outside_is_cut_off() -> None:
    assert bar(-10.0, 20.0, 100.0) == Bar("0.000%", "10.000%")
    assert bar(90.0, 20.0, 100.0) == Bar("90.000%", "10.000%")
    assert bar(200.0, 20.0, 100.0) == Bar("100.000%", "0.000%")


def test_on_an_axis_of_no_length_a_stretch_is_all_of_it() -> None:
    assert bar(0.0, 0.0, 0.0) == Bar("0%", "100%")


@given(ANY, st.floats(0, 1e12), POSITIVE)
def test_no_stretch_leaves_its_axis(start: float, length: float, whole: float) -> None:
    drawn = bar(start, length, whole)
    assert 0 <= place(drawn.x) <= place(drawn.x) + place(drawn.width) <= 100.002  # each is rounded


def test_ticks_are_at_round_lengths_of_time() -> None:
    assert [tick.text for tick in time_ticks(0.0189)] == ["0", *map(duration, (0.005, 0.01, 0.015))]
    assert time_ticks(0.0) == (Tick("0%", duration(0.0)),)


@given(POSITIVE)
def test_ticks_are_few_and_on_the_axis(length_s: float) -> None:
    ticks = time_ticks(length_s)
    assert 2 <= len(ticks) <= 6
    assert ticks[0] == Tick("0.000%", "0")
    assert [place(tick.at) for tick in ticks] == sorted({place(tick.at) for tick in ticks})


def test_a_scale_goes_from_one_power_of_ten_to_another() -> None:
    scale = log_scale(0.004, 0.2)
    assert scale == LogScale(-3, 0)
    assert scale.ticks() == ((0.001, 0.0), (0.01, 1 / 3), (0.1, 2 / 3), (1.0, 1.0))


def test_a_scale_of_one_number_has_a_length() -> None:
    assert log_scale(0.01, 0.01) == LogScale(-2, -1)


@given(POSITIVE, POSITIVE)
def test_a_scale_holds_both_its_numbers(one: float, other: float) -> None:
    scale = log_scale(min(one, other), max(one, other))
    assert -1e-9 <= scale.at(min(one, other)) <= scale.at(max(one, other)) <= 1 + 1e-9
