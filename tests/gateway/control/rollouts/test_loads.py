"""What was asked of versions, minute by minute, and what it cost."""

from __future__ import annotations

from gateway.control.rollouts.loads import Loads
from gateway.decide.rollouts.progress import VersionSeen

T0 = 1_800_000_000.0
ONE, TWO = ("digits", "1"), ("digits", "2")


def loads() -> Loads:
    made = Loads()
    made.follow([ONE, TWO])
    return made


def test_the_busiest_minute_is_of_all_versions_of_a_model_and_of_the_last_hour() -> None:
    found = loads()
    found.add(ONE, 600, 0, T0)
    found.add(TWO, 60, 0, T0 + 30)
    found.add(ONE, 120, 0, T0 + 60)
    assert found.busiest_per_s("digits", T0 + 90) == 11.0
    assert found.rate_per_s("digits", T0 + 90) == 11.0
    assert found.rate_per_s("digits", T0 + 150) == 2.0
    assert found.busiest_per_s("digits", T0 + 3600) == 2.0
    assert found.busiest_per_s("another", T0) == 0.0


def test_what_a_request_costs_is_what_it_cost_lately() -> None:
    found = loads()
    found.add(ONE, 100, 100 * 50_000, T0)
    found.add(ONE, 20, 20 * 10_000, T0 + 1200)
    assert found.seen(ONE, 3, T0 + 1200) == VersionSeen(3, 20, 0.01)
    found.add(ONE, 5, 5 * 10_000, T0 + 2400)  # too few to say anything by themselves
    assert found.seen(ONE, 3, T0 + 2400) == VersionSeen(3, 125, 5.25 / 125)
    assert found.seen(TWO, 0, T0) == VersionSeen(0, 0, None)


def test_requests_that_tell_of_no_device_cost_an_unknown_time() -> None:
    found = loads()
    found.add(TWO, 50, 0, T0)
    assert found.seen(TWO, 1, T0) == VersionSeen(1, 50, None)


def test_only_versions_of_the_policy_are_counted_and_kept() -> None:
    found = loads()
    found.add(("digits", "9"), 50, 0, T0)
    found.add(ONE, 50, 0, T0)
    again = loads()
    again.restore(found.kept() | {("gone", "1"): ()})
    assert again.kept() == found.kept()
    assert set(again.kept()) == {ONE}


def test_a_clock_that_is_set_back_leaves_no_minutes_of_the_future() -> None:
    found = loads()
    found.add(ONE, 6000, 0, T0 + 7200)
    found.add(ONE, 60, 0, T0)
    assert found.busiest_per_s("digits", T0) == 1.0
