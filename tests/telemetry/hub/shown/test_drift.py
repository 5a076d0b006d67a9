"""How drift is drawn: the farthest first, both distributions side by side, and what labels say."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.drift.reports import Bin, Shape
from telemetry.hub.shown.answers import Objective
from telemetry.hub.shown.drift import (
    DRAWN,
    drift_rows,
    histogram,
    interval_text,
    label_view,
    model_view,
    shape_text,
    state_counts,
)
from telemetry.hub.shown.fleet_answers import Drifts
from tests.fakes.fleet import drift, drifting
from tests.fakes.hub import objective

EVERY = msgspec.convert(drift(*drifting()), Drifts)


def names(state: str = "", model: str = "") -> list[tuple[str, str, str]]:
    return [(row.version.model, row.version.version, row.says) for row in drift_rows(EVERY, state, model)]


def test_what_drifts_comes_first_and_each_state_is_said_in_words() -> None:
    assert names() == [
        ("digits", "1", "drifts"),
        ("text", "3", "moved"),
        ("text", "1", "no reference yet"),
        ("digits", "2", "steady"),
        ("text", "2", "not looked at yet"),
    ]
    assert [row.level for row in drift_rows(EVERY)] == ["page", "ticket", "none", "ok", "none"]


def test_a_state_or_a_part_of_a_name_narrows_the_list() -> None:
    assert names(state="moved") == [("text", "3", "moved")]
    assert names(model="DIG") == [("digits", "1", "drifts"), ("digits", "2", "steady")]
    assert names(model="nothing") == []
    assert state_counts(EVERY)[0] == ("drifts", "drifts", 1)
    assert sum(number_of for _, _, number_of in state_counts(EVERY)) == 5


def test_a_line_says_why_and_what_moved_most_beside_its_limit() -> None:
    worst = drift_rows(EVERY)[0]
    assert worst.because == "value of input /age: above the limit in 3 windows in a row."
    assert worst.worst.startswith("value of input /age: 1.")
    assert float(worst.ticks[0].at.rstrip("%")) < float(worst.bar.width.rstrip("%")) <= 100.0
    assert worst.odd == "missing"
    assert "it has 40 rows" in drift_rows(EVERY, "learning")[0].because


def test_measures_are_ranked_by_what_is_above_chance() -> None:
    view = model_view(EVERY, "digits", (), "1")
    assert view is not None
    (version,) = view.versions
    assert [row.name for row in version.measures[:2]] == ["value of input /age", "class of output /label"]
    assert (version.measures[0].says, version.measures[1].says) == ("drifts", "steady")
    assert version.measures[0].rows == "1\u202f020"
    assert version.measures[0].trend is not None
    assert len(version.measures[0].trend.points.split()) == 8
    assert len(version.drawn) <= DRAWN
    assert model_view(EVERY, "nothing", ()) is None
    whole = model_view(EVERY, "digits", ())
    assert whole is not None
    assert [each.row.version.version for each in whole.versions] == ["1", "2"]


def test_what_is_odd_is_said_with_its_share() -> None:
    view = model_view(EVERY, "digits", (), "1")
    assert view is not None
    ages, _, labels = view.versions[0].parts
    assert ages.odd == ("missing in 12\u202f% of rows (120)",)
    assert not ages.is_bad
    assert labels.classes.startswith("yes: 70\u202f%, no: 30\u202f%; entropy 0.88")


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=14))
def test_columns_lie_side_by_side_within_their_square(counts: list[tuple[int, int]]) -> None:
    drawn = histogram([Bin("", before, now, float(at), at + 1.0) for at, (before, now) in enumerate(counts)])
    edge = 0.0
    for column in drawn.columns:
        for bar, top, height in (
            (column.reference, column.reference_top, column.reference_height),
            (column.now, column.now_top, column.now_height),
        ):
            left, wide = float(bar.x.rstrip("%")), float(bar.width.rstrip("%"))
            assert edge - 1e-2 <= left
            edge = left + wide
            assert float(top.rstrip("%")) + float(height.rstrip("%")) == pytest.approx(100.0, abs=0.01)
    assert edge <= 100.01
    shares = [
        max(before / (sum(b for b, _ in counts) or 1), now / (sum(n for _, n in counts) or 1)) for before, now in counts
    ]
    highest = max(range(len(shares)), key=shares.__getitem__)
    if shares[highest]:
        column = drawn.columns[highest]
        assert "100.000%" in (column.reference_height, column.now_height)


def test_bins_say_where_they_lie() -> None:
    bins = [
        Bin("", 1, 2, None, 3.0),
        Bin("", 1, 2, 3.0, 4.25),
        Bin("", 1, 2, 4.25, None),
        Bin("nothing found", 1, 0),
        Bin("", 1, 0),
    ]
    titles = [column.title for column in histogram(bins).columns]
    assert titles[0] == "below 3: reference 20\u202f%, now 33\u202f%"
    assert [title.partition(":")[0] for title in titles] == ["below 3", "to 4.25", "above 4.25", "nothing found", "all"]
    assert histogram([]).columns == ()


def test_shapes_read_as_their_middle_or_their_commonest() -> None:
    assert shape_text(Shape()) == "no data"
    assert shape_text(Shape(4.0, 1.0, 4.5, 9.0)) == "4.5 (1 to 9)"
    assert shape_text(Shape(64.0, 63.81, 64.2, 1061.4)) == "64 (64 to 1\u202f100)"
    assert shape_text(Shape(names=(("cat", 0.75), ("dog", 0.25)))) == "cat: 75\u202f%, dog: 25\u202f%"


def test_labels_have_an_interval_and_versions_where_an_objective_counts_them() -> None:
    on_labels = objective(name="right", events="labels", versions=[_version("1", 90, 10), _version("2", 0, 0)])
    told = msgspec.convert([on_labels, objective()], list[Objective])
    view = label_view({"right": 8, "wrong": 2, "too_late": 1, "new_word": 4}, told)
    assert view.right == interval_text(8, 2) == "80\u202f% (49\u202f% to 94\u202f%)"
    assert view.of == "10"
    assert view.outcomes == (("right", "8"), ("wrong", "2"), ("told too late", "1"), ("new word", "4"))
    assert view.versions == (("1", "right", interval_text(90, 10), "100"),)
    nothing = label_view({}, ())
    assert (nothing.right, nothing.outcomes, nothing.versions) == ("", (), ())


def _version(version: str, good: int, bad: int) -> dict[str, object]:
    return {"version": version, "good": good, "bad": bad, "ignored": 0, "remaining_ratio": None, "burn": []}
