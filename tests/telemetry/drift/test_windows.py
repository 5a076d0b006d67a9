from __future__ import annotations

from telemetry.drift.fields import INPUT, Field
from telemetry.drift.windows import (
    KEPT,
    LATE_S,
    PERIOD_ROWS,
    PERIOD_WINDOWS,
    REFERENCE_ROWS,
    Windows,
    add,
    latest,
    periods_of,
    place_of,
    reference_of,
    together,
)
from telemetry.stats.sketch import sketched

HOUR = 3600.0
AGE = place_of(INPUT, "/age")


def rows(count: int) -> Field:
    return Field(count, measures={"value": sketched([1.0] * count)}, kinds={"number": count})


def hours(*counts: int, first: int = 0) -> Windows:
    windows: Windows = {}
    for hour, count in enumerate(counts, first):
        if count:
            add(windows, hour * HOUR + 5.0, HOUR, AGE, rows(count))
    return windows


def test_rows_are_counted_into_the_window_of_their_moment() -> None:
    windows: Windows = {}
    add(windows, 7199.9, HOUR, AGE, rows(2))
    add(windows, 7200.0, HOUR, AGE, rows(3))
    add(windows, 7300.0, HOUR, AGE, rows(4))
    assert {start: places[AGE].rows for start, places in windows.items()} == {3600: 2, 7200: 7}


def test_the_first_windows_stay_and_the_latest_and_nothing_between() -> None:
    windows = hours(*[1] * (3 * KEPT))
    starts = sorted(windows)
    assert len(starts) == 2 * KEPT
    assert starts[: KEPT + 1] == [*(hour * 3600 for hour in range(KEPT)), 2 * KEPT * 3600]


def test_pods_of_a_version_are_counted_together() -> None:
    both = together([hours(5, 6), hours(7), {}])
    assert [both[start][AGE].rows for start in sorted(both)] == [12, 6]


def test_a_reference_is_the_first_hours_and_then_changes_no_more() -> None:
    windows = hours(*[400] * 10)
    now_s = 3 * HOUR + LATE_S
    early = reference_of(windows, AGE, 3 * HOUR, HOUR, now_s - 1)
    learnt = reference_of(windows, AGE, 3 * HOUR, HOUR, now_s)
    assert not early.is_learnt
    assert learnt.is_learnt
    assert learnt.dated is not None
    assert (learnt.dated.from_s, learnt.dated.until_s, learnt.dated.field.rows) == (0, 3 * HOUR, 1200)
    assert reference_of(windows, AGE, 3 * HOUR, HOUR, 100 * HOUR).dated == learnt.dated


def test_a_reference_goes_on_until_it_has_enough_rows() -> None:
    windows = hours(*[REFERENCE_ROWS // 4] * 10)
    learnt = reference_of(windows, AGE, 2 * HOUR, HOUR, 10 * HOUR)
    assert learnt.dated is not None
    assert (learnt.dated.until_s, learnt.dated.field.rows) == (4 * HOUR, REFERENCE_ROWS)
    assert learnt.is_learnt
    assert not reference_of(hours(10, 10), AGE, 2 * HOUR, HOUR, 50 * HOUR).is_learnt


def test_there_is_no_reference_of_what_was_never_found() -> None:
    assert reference_of(hours(5), place_of(INPUT, "/other"), HOUR, HOUR, HOUR) == (None, False)


def test_a_part_that_is_watched_later_has_a_later_reference() -> None:
    windows = hours(*[0] * 5, *[2000] * 3)
    dated = reference_of(windows, AGE, HOUR, HOUR, 10 * HOUR).dated
    assert dated is not None
    assert (dated.from_s, dated.until_s) == (5 * HOUR, 6 * HOUR)


def test_the_reference_of_a_part_that_is_watched_later_stays_what_it_was() -> None:
    windows: Windows = {}
    for hour in range(6 * KEPT):
        add(windows, hour * HOUR, HOUR, AGE, Field(1000))
        if hour >= 3 * KEPT:
            add(windows, hour * HOUR, HOUR, place_of(INPUT, "/other"), Field(1000))
    for place, since in ((AGE, 0), (place_of(INPUT, "/other"), 3 * KEPT)):
        dated = reference_of(windows, place, 24 * HOUR, HOUR, 6 * KEPT * HOUR).dated
        assert dated is not None
        assert (dated.from_s, dated.until_s) == (since * HOUR, (since + 24) * HOUR)
    assert len(windows) == 3 * KEPT


def test_a_period_is_one_window_that_is_over() -> None:
    windows = hours(600, 700, 800)
    found = periods_of(windows, AGE, HOUR, HOUR, 2.5 * HOUR)
    assert [(period.from_s, period.until_s, period.field.rows) for period in found] == [(HOUR, 2 * HOUR, 700)]


def test_thin_windows_are_judged_together() -> None:
    windows = hours(*[PERIOD_ROWS // 2] * 5)
    found = periods_of(windows, AGE, 0.0, HOUR, 5 * HOUR + LATE_S)
    assert [(period.from_s, period.until_s, period.field.rows) for period in found] == [
        (0, 2 * HOUR, PERIOD_ROWS),
        (2 * HOUR, 4 * HOUR, PERIOD_ROWS),
    ]


def test_windows_that_lie_far_apart_are_not_judged_together() -> None:
    far = hours(PERIOD_ROWS - 1, *[0] * PERIOD_WINDOWS, 1)
    assert periods_of(far, AGE, 0.0, HOUR, 100 * HOUR) == []


def test_the_latest_rows_are_shown_however_few() -> None:
    windows = hours(3, 4)
    found = latest(windows, AGE, 0.0, HOUR, 2 * HOUR)
    assert found is not None
    assert (found.from_s, found.until_s, found.field.rows) == (0, 2 * HOUR, 7)
    assert latest(windows, AGE, 5 * HOUR, HOUR, 9 * HOUR) is None


def counted_on(windows: Windows, first: int, count: int) -> None:
    """Go on with one row an hour, from an hour by the clock as it is now."""
    for hour in range(first, first + count):
        add(windows, hour * HOUR + 5.0, HOUR, AGE, rows(1))


YEAR = 365 * 24


def test_after_a_clock_was_ahead_for_long_windows_are_kept_as_before() -> None:
    windows = hours(*[1] * (2 * KEPT), first=YEAR)
    counted_on(windows, 2 * YEAR, KEPT)  # a year ahead
    counted_on(windows, YEAR + 3 * KEPT, 5)
    assert [hour * 3600 in windows for hour in range(YEAR + 3 * KEPT, YEAR + 3 * KEPT + 5)] == [True] * 5
    found = latest(windows, AGE, (YEAR + 3 * KEPT) * HOUR, HOUR, (YEAR + 3 * KEPT + 4) * HOUR + 9)
    assert found is not None
    assert found.field.rows == 5


def test_windows_of_a_clock_that_was_ahead_are_not_kept_for_ever() -> None:
    for before in (0, 2 * KEPT):
        windows = hours(*[1] * before, first=YEAR - before)
        counted_on(windows, 2 * YEAR, 3)
        counted_on(windows, YEAR, KEPT - 3)
        assert max(windows) == (2 * YEAR + 2) * 3600
        counted_on(windows, YEAR + KEPT - 3, 4)
        assert max(windows) == (YEAR + KEPT) * 3600


def test_a_clock_that_is_set_back_and_right_again_costs_neither_the_reference_nor_the_latest() -> None:
    windows = hours(*[1] * (4 * KEPT), first=YEAR)
    before = dict(windows)
    counted_on(windows, 10, 3)
    assert len(windows.keys() & before.keys()) == len(before) - 3  # the latest three are three others
    counted_on(windows, YEAR + 4 * KEPT, KEPT)
    starts = [start // 3600 for start in sorted(windows)]
    assert starts == [*range(YEAR, YEAR + KEPT), *range(YEAR + 4 * KEPT, YEAR + 5 * KEPT)]
