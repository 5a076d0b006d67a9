"""Quota windows against the calendar and against a list of everything that happened."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decide.quota_windows import (
    LONGEST_SLOT_S,
    LONGEST_WINDOW_S,
    PERIODS,
    SETTLED_BEFORE_END_S,
    Window,
    may_come_back,
    resets_at_s,
    slot_end_s,
    use_in_window,
    window_at,
)

ROLLING_S = {"rolling-1h": 3600.0, "rolling-24h": 86400.0, "rolling-7d": 604800.0, "rolling-30d": 2592000.0}
ZONES = ("UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia")
MOMENTS = st.floats(1.2e9, 2.2e9)


def moment(text: str, zone: str = "UTC") -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("per", "now", "start", "end", "hours"),
    [
        ("calendar-day", "2026-03-29T12:00", "2026-03-29", "2026-03-30", 23),
        ("calendar-day", "2026-10-25T12:00", "2026-10-25", "2026-10-26", 25),
        ("calendar-week", "2026-10-25T23:59", "2026-10-19", "2026-10-26", 7 * 24 + 1),
        ("calendar-month", "2026-02-28T23:59", "2026-02-01", "2026-03-01", 28 * 24),
        ("calendar-month", "2026-12-01T00:00", "2026-12-01", "2027-01-01", 31 * 24),
        ("calendar-hour", "2026-07-01T10:59", "2026-07-01T10:00", "2026-07-01T11:00", 1),
    ],
)
def test_a_calendar_window_is_the_calendars(per: str, now: str, start: str, end: str, hours: int) -> None:
    zone = "Europe/Berlin"
    found = window_at(per, zone, moment(now, zone))
    assert (found.start_s, found.end_s) == (moment(start, zone), moment(end, zone))
    assert found.end_s - found.start_s == hours * 3600


def test_the_hour_that_comes_twice_is_two_windows() -> None:
    first = moment("2026-10-25T00:30")  # 02:30 summer time in Berlin
    assert window_at("calendar-hour", "Europe/Berlin", first).end_s == moment("2026-10-25T01:00")
    assert window_at("calendar-hour", "Europe/Berlin", first + 3600).start_s == moment("2026-10-25T01:00")


def test_hours_of_a_zone_that_is_off_by_minutes_begin_at_its_own_full_hours() -> None:
    found = window_at("calendar-hour", "Asia/Kathmandu", moment("2026-07-01T10:20", "Asia/Kathmandu"))
    assert found.start_s == moment("2026-07-01T10:00", "Asia/Kathmandu")


def test_a_day_that_a_zone_left_out_belongs_to_no_window() -> None:
    last = window_at("calendar-day", "Pacific/Apia", moment("2011-12-29T12:00", "Pacific/Apia"))
    following = window_at("calendar-day", "Pacific/Apia", moment("2011-12-31T12:00", "Pacific/Apia"))
    assert last.end_s == following.start_s


@given(st.sampled_from(PERIODS), st.sampled_from(ZONES), MOMENTS)
def test_a_window_holds_its_moment_and_touches_the_next(per: str, zone: str, now_s: float) -> None:
    found = window_at(per, zone, now_s)
    assert found.start_s <= now_s < found.end_s
    assert found.end_s - found.start_s <= LONGEST_WINDOW_S
    following = window_at(per, zone, found.end_s)
    if per in ROLLING_S:
        assert following.start_s == found.start_s + found.slot_s
    else:
        assert following.start_s == found.end_s
        assert window_at(per, zone, found.start_s) == found


@given(st.sampled_from(PERIODS), st.sampled_from(ZONES), MOMENTS)
def test_the_slot_of_a_moment_ends_after_it_and_within_its_length(per: str, zone: str, now_s: float) -> None:
    window = window_at(per, zone, now_s)
    end_s = slot_end_s(window, now_s)
    assert now_s < end_s <= now_s + window.slot_s + 1e-6
    assert end_s <= window.end_s, "or the next window counts it again"
    assert window.slot_s <= LONGEST_SLOT_S


@pytest.mark.parametrize(
    ("per", "zone", "now"),
    [
        ("calendar-month", "Europe/Berlin", "2026-03-31T23:30"),
        ("calendar-month", "Europe/Berlin", "2026-10-31T23:30"),
        ("calendar-week", "America/New_York", "2026-03-08T23:30"),
        ("calendar-day", "Australia/Lord_Howe", "2026-04-05T23:45"),
    ],
)
def test_use_before_clocks_changed_counts_in_one_window(per: str, zone: str, now: str) -> None:
    now_s = moment(now, zone)
    window = window_at(per, zone, now_s)
    used = {slot_end_s(window, now_s): 5}
    assert use_in_window(used, window) == 5
    assert use_in_window(used, window_at(per, zone, window.end_s)) == 0


EVENTS = st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 5)), min_size=1, max_size=60)


@given(st.sampled_from(tuple(ROLLING_S)), EVENTS, st.integers(1, 30))
def test_a_rolling_quota_is_never_overspent_in_any_interval(
    per: str, events: list[tuple[float, int]], limit: int
) -> None:
    """Admit by slots; then look at every interval of the window's length that ends with an event."""
    length_s, now_s = ROLLING_S[per], 1.7e9
    slots: dict[float, int] = {}
    admitted: list[tuple[float, int]] = []
    for wait, amount in events:
        now_s += wait * length_s / 4
        window = window_at(per, "UTC", now_s)
        used = use_in_window(slots, window)
        if used + amount <= limit:
            end_s = slot_end_s(window, now_s)
            slots[end_s] = slots.get(end_s, 0) + amount
            admitted.append((now_s, amount))
        else:
            with_a_slot_more = sum(n for at_s, n in admitted if at_s > now_s - length_s - window.slot_s)
            assert with_a_slot_more + amount > limit, "refused though even a slot's more use would leave room"
    for end_s, _ in admitted:
        assert sum(amount for at_s, amount in admitted if end_s - length_s < at_s <= end_s) <= limit


def test_use_falls_when_the_oldest_slot_leaves() -> None:
    now_s = moment("2026-07-01T10:00:01")
    window = window_at("rolling-1h", "UTC", now_s)
    used = {slot_end_s(window, now_s): 3}
    leaves_s = resets_at_s(window, min(used))
    assert use_in_window(used, window_at("rolling-1h", "UTC", leaves_s - 0.001)) == 3
    assert use_in_window(used, window_at("rolling-1h", "UTC", leaves_s)) == 0


def test_a_calendar_quota_resets_with_its_window_whatever_was_used() -> None:
    window = window_at("calendar-day", "UTC", moment("2026-07-01T10:00"))
    assert resets_at_s(window, None) == resets_at_s(window, window.start_s + 1) == moment("2026-07-02")


def test_slots_of_another_grid_that_reach_into_the_window_count() -> None:
    window = Window(1000.0, 2000.0, 10.0)
    assert use_in_window({1000.0: 1, 1000.5: 2, 5000.0: 4}, window) == 6


def test_what_was_reserved_comes_back_only_in_its_own_window() -> None:
    end_s = datetime(2026, 7, 2, tzinfo=UTC).timestamp()
    assert may_come_back("calendar-day", end_s, end_s - SETTLED_BEFORE_END_S - 0.5)
    assert not may_come_back("calendar-day", end_s, end_s - SETTLED_BEFORE_END_S + 0.5)
    assert not may_come_back("calendar-day", end_s, end_s + 3.0)
    assert may_come_back("rolling-1h", end_s, end_s + 3.0)
