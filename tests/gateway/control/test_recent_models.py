"""What models did in the last five minutes."""

from __future__ import annotations

import pytest

from gateway.control.messages import RequestCounts
from gateway.control.recent_models import ModelActivity, RecentModels, counted_s, quantile

EDGES_S = (0.1, 0.2)


def counted(status: int, buckets: tuple[int, ...], version: str = "1") -> RequestCounts:
    return RequestCounts("digits", version, "t", "", status, "", buckets, 1.0)


def test_rate_errors_and_times_of_good_answers() -> None:
    recent = RecentModels(started_s=0.0)
    recent.add(990, counted(200, (0, 90, 0)), EDGES_S, now_s=1000.0)
    recent.add(1000, counted(503, (10, 0, 0)), EDGES_S, now_s=1000.0)  # quick, which makes no model quick
    recent.add(1000, counted(429, (50, 0, 0), version=""), EDGES_S, now_s=1000.0)  # no version's doing
    (activity,) = recent.activity(1000.0)
    assert activity == ModelActivity("digits", "1", 100 / 300, 0.1, activity.p50_s, activity.p99_s)
    assert [activity.p50_s, activity.p99_s] == pytest.approx([0.15, 0.199])


def test_a_young_supervisor_divides_by_its_age() -> None:
    recent = RecentModels(started_s=1000.0)
    recent.add(1010, counted(200, (30, 0, 0)), EDGES_S, now_s=1015.0)
    assert recent.activity(1030.0)[0].requests_per_s == 1.0


def test_what_is_older_than_five_minutes_is_forgotten_and_never_taken() -> None:
    recent = RecentModels(started_s=0.0)
    recent.add(1000, counted(500, (1, 0, 0)), EDGES_S, now_s=1000.0)
    assert recent.activity(1299.0)[0].p50_s is None  # an error only
    assert recent.activity(1300.0) == []
    recent.add(1000, counted(200, (1, 0, 0)), EDGES_S, now_s=1300.0)
    recent.add(1320, counted(200, (1, 0, 0)), EDGES_S, now_s=1300.0)  # from a clock that is ahead
    assert recent.activity(1300.0) == []


def test_after_a_clock_was_set_back_what_is_in_the_future_is_not_recent() -> None:
    recent = RecentModels(started_s=1000.0)
    recent.add(10_000, counted(200, (3000, 0, 0)), EDGES_S, now_s=10_005.0)
    assert recent.activity(2800.0) == []
    recent.add(2800, counted(200, (30, 0, 0)), EDGES_S, now_s=2805.0)
    assert [one.requests_per_s for one in recent.activity(2805.0)] == [0.1]
    assert recent.activity(10_005.0) == []


def test_a_clock_set_back_to_before_the_start_makes_the_supervisor_young() -> None:
    recent = RecentModels(started_s=10_000.0)
    recent.add(2800, counted(200, (30, 0, 0)), EDGES_S, now_s=2800.0)
    assert recent.activity(2860.0)[0].requests_per_s == 0.5


def test_quantiles_lie_inside_their_bucket_and_the_last_edge_is_all_that_is_known() -> None:
    assert quantile(0.5, (0, 10, 0), EDGES_S) == pytest.approx(0.15)
    assert quantile(0.5, (4, 0, 0), EDGES_S) == pytest.approx(0.05)
    assert quantile(0.99, (1, 0, 9), EDGES_S) == 0.2
    assert quantile(0.5, (0, 0, 0), EDGES_S) is None


def test_a_short_look_back_takes_the_slots_that_began_within_it() -> None:
    recent = RecentModels(started_s=0.0)
    for slot_s in (960, 980, 990, 1000):
        recent.add(slot_s, counted(200, (30, 0, 0)), EDGES_S, now_s=1003.0)
    assert recent.activity(1003.0, within_s=30.0)[0].requests_per_s == pytest.approx(90 / 23)
    assert counted_s(1003.0, 30.0) == pytest.approx(23.0)
    assert recent.activity(1003.0, within_s=10.0)[0].requests_per_s == 3.0
