"""Objectives: counts from tallies, alerts from counts, and what is dropped."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.slo_engine import SloEngine, alert_key
from gateway.control.slo_kept import Kept, Series, SlotRow
from telemetry.slo.events import NO_EVENTS, EventCount
from tests.gateway.control.objectives import (
    AVAILABILITY,
    DAY_S,
    LATENCY,
    PAGE,
    ROUTE,
    SNAPSHOT,
    START_S,
    TICKET,
    VERSIONS,
    engine,
    events,
    requests,
    tally,
)

OF_VERSION_1 = Series("digits-availability", "digits", "1", "")
MINUTE_S = 60.0


def outage(slos: SloEngine, minutes: int, bad_per_minute: int, from_s: float = START_S) -> list[tuple[int, str]]:
    """Tell of 1000 requests a minute, and return what is said at which minute."""
    told = []
    for minute in range(minutes):
        at_s = from_s + minute * MINUTE_S
        slos.take(1, tally(at_s, events(1000 - bad_per_minute, bad_per_minute)), at_s)
        told += [(minute + 1, line) for line in slos.judge_alerts(at_s + MINUTE_S)]
    return told


def test_every_objective_of_a_stable_version_is_counted_from_0_on() -> None:
    counts = engine().counts.by_series
    assert set(counts) == {OF_VERSION_1, Series("digits-latency", "digits", "", "")}
    assert all(one.total == NO_EVENTS for one in counts.values())


def test_only_what_an_objective_tells_apart_is_counted_apart() -> None:
    slos = engine()
    told = [events(3), events(1, version="2"), events(2, 1, "digits-latency"), events(4, 0, "digits-latency", "2")]
    slos.take(1, tally(START_S, *told), START_S)
    assert {series: counts.total for series, counts in slos.counts.by_series.items()} == {
        OF_VERSION_1: EventCount(3),
        Series("digits-availability", "digits", "2", ""): EventCount(1),
        Series("digits-latency", "digits", "", ""): EventCount(6, 1),
    }


def test_an_objective_by_tier_has_a_series_for_each() -> None:
    by_tier = replace(AVAILABILITY, by=("tier",))
    slos = engine(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, AVAILABILITY.name: by_tier}))
    slos.take(1, tally(START_S, events(3)), START_S)
    assert slos.counts.by_series[Series("digits-availability", "digits", "", "gold")].total == EventCount(3)


def test_a_late_tally_goes_to_the_slot_of_its_time() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(5, 5)), START_S + 600)
    counted = slos.counts.of("digits-availability", "digits")
    assert counted.count(300.0, START_S + 600) == NO_EVENTS
    assert counted.count(600.0, START_S + 600) == EventCount(5, 5)


def test_what_cannot_be_counted_is_dropped_and_counted() -> None:
    slos = engine()
    unknown = [events(2, 1, "gone"), replace(events(4), model="plain")]
    malformed = replace(requests(7), buckets=(7,))
    slos.take(1, tally(START_S, *unknown, malformed), START_S)
    slos.take(1, tally(START_S - 100 * DAY_S, events(9)), START_S)
    assert slos.dropped == {
        ("requests", "malformed"): 7,
        ("slo_events", "unknown_objective"): 7,
        ("slo_events", "series_full"): 0,
        ("slo_events", "too_late"): 9,
        ("series", "full"): 0,
    }
    assert slos.totals.requests == {}


def test_lost_records_of_workers_add_up_over_their_ends() -> None:
    slos = engine()
    slos.take(1, tally(START_S, dropped={"ring_full": 3}), START_S)
    slos.take(1, tally(START_S, dropped={"ring_full": 5}), START_S)
    slos.take(2, tally(START_S, dropped={"ring_full": 1, "socket_full": 1}), START_S)
    slos.worker_gone(1)
    slos.worker_gone(3)  # a spare that never told anything
    assert slos.dropped["records", "ring_full"] == 6
    assert slos.dropped["records", "socket_full"] == 1


def test_a_page_fires_at_its_minute_and_is_over_at_its_minute() -> None:
    """S1 of the workbook's oracle: 2 % bad for an hour after a clean one; the page fires in minutes 44 to 61."""
    slos = engine()
    assert outage(slos, 60, 0, START_S - 3600) == []
    burning = outage(slos, 60, 20)
    calm = outage(slos, 30, 0, START_S + 3600)
    paged = [(minute, line) for minute, line in burning if "page 1h" in line]
    assert [minute for minute, _ in paged] == [44]
    assert paged[0][1].startswith(
        "slo digits-availability of digits: page 1h fires (1h burns 14.7x, 5m burns 20x, limit 14.4x; "
    )
    assert ("slo digits-availability of digits: page 1h is over after 18 min") in [line for _, line in calm]
    assert [60 + minute for minute, line in calm if "page 1h" in line] == [62]
    states = [(one.alert.name, one.state) for one in slos.alerts.recent("digits-availability", "digits")]
    assert states[:2] == [("page 1h", "resolved"), ("page 1h", "firing")]


def test_an_alert_that_the_policy_loses_while_it_fires_is_said_to_be_gone() -> None:
    slos = engine()
    outage(slos, 10, 500)
    without = replace(AVAILABILITY, alerts=(TICKET,))
    slos.follow(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, AVAILABILITY.name: without}))
    lines = slos.judge_alerts(START_S + 600)
    assert lines == ["slo digits-availability of digits: page 1h is no longer in the policy; it fired for 9 min"]
    assert alert_key(AVAILABILITY, "digits", PAGE) not in slos.alerts.firing()


def test_a_changed_target_judges_all_that_was_counted() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(990, 10)), START_S)
    laxer = replace(AVAILABILITY, target=0.9)
    slos.follow(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, AVAILABILITY.name: laxer}))
    judged = next(slos.judged(START_S + 10))
    assert judged.evaluation.period == EventCount(990, 10)
    assert judged.evaluation.remaining_ratio == 0.9


def test_what_was_kept_is_where_a_restart_goes_on() -> None:
    before = engine()
    outage(before, 60, 20)
    changes = before.take_changes(START_S + 3600)
    after = engine()
    after.restore(Kept(changes.slots, dict(changes.firing), changes.transitions), START_S + 3600)
    assert [one.evaluation for one in after.judged(START_S + 3600)] == [
        one.evaluation for one in before.judged(START_S + 3600)
    ]
    assert after.alerts.firing() == before.alerts.firing()
    assert after.judge_alerts(START_S + 3600) == []  # what fires is not told again
    assert before.take_changes(START_S + 3600).slots == ()


def test_only_what_changed_is_kept_again_unless_it_could_not_be_kept() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(1)), START_S)
    first = slos.take_changes(START_S)
    assert {(row.level_s, row.good) for row in first.slots} == {(10, 1), (60, 1), (3600, 1)}
    slos.take(1, tally(START_S + 10, events(2)), START_S + 10)
    second = slos.take_changes(START_S + 10)
    assert {(row.level_s, row.good) for row in second.slots} == {(10, 2), (60, 3), (3600, 3)}
    slos.not_kept(first.slots)
    assert len(slos.take_changes(START_S + 20).slots) == 4


def test_a_slot_of_the_future_is_not_restored() -> None:
    slos = engine()
    slos.restore(Kept((SlotRow(10, int(START_S) + 1000, OF_VERSION_1, 5, 5, 0),)), START_S)
    assert slos.counts.of("digits-availability", "digits").count(DAY_S, START_S + 2000) == NO_EVENTS


def test_a_version_is_forgotten_once_it_is_gone_and_silent_for_the_period() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(1), events(1, version="2")), START_S)
    route = replace(ROUTE, versions={"1": VERSIONS["1"]})
    slos.follow(replace(SNAPSHOT, routes={"digits": route}))
    slos.tidy(START_S + 30 * DAY_S)
    assert slos.counts.versions("digits-availability", "digits") == ["1", "2"]
    slos.tidy(START_S + 30 * DAY_S + 1)
    assert slos.counts.versions("digits-availability", "digits") == ["1"]
    slos.follow(replace(SNAPSHOT, routes={}, objectives={}))
    slos.tidy(START_S + 30 * DAY_S + 1)
    assert slos.counts.by_series == {}


def test_edges_of_durations_follow_the_policy() -> None:
    slos = engine()
    slos.take(1, tally(START_S, requests(3)), START_S)
    (durations,) = slos.totals.durations.values()
    assert LATENCY.within_s in durations.edges_s
    assert durations.count == 3
