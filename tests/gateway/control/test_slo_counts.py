"""The bound on series of objectives."""

from __future__ import annotations

from gateway.control.series_room import SeriesRoom
from gateway.control.slo_counts import SloCounts
from gateway.control.slo_kept import Series


def test_a_series_beyond_the_bound_is_refused_and_one_forgotten_makes_room() -> None:
    room = SeriesRoom()
    counts = SloCounts(room, most=2)
    a, b, c = (Series("slo", "model", version, "") for version in "abc")
    assert counts.open(a) is counts.open(a) is not None
    assert counts.open(b) is not None
    assert counts.open(c) is None
    counts.forget([a])
    assert counts.versions("slo", "model") == ["b"]
    assert counts.open(c) is not None
    assert room.left == SeriesRoom().left - 6


def test_every_outcome_of_a_series_needs_room() -> None:
    room = SeriesRoom(most=5)
    counts = SloCounts(room)
    assert counts.open(Series("slo", "model", "1", "")) is not None
    assert counts.open(Series("slo", "model", "2", "")) is None
    assert (room.left, room.refused) == (2, 1)
