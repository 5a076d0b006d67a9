"""Objectives: counts from tallies, alerts from counts, and what is dropped."""

from __future__ import annotations

from msgspec.structs import replace

from gateway.control.series_room import MAX_SERIES
from gateway.control.slo_counts import MAX_APART, SloCounts
from gateway.control.slo_engine import SloEngine, alert_key
from gateway.control.slo_kept import Remembered, Series, SlotRow
from model_pod.wire.status import LoadEnded
from policies.snapshot.generation import Snapshot
from telemetry.slo.events import NO_EVENTS, EventCount
from telemetry.slo.windows import LEVELS, Slots
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
    label,
    loads,
    requests,
    tally,
    with_others,
)

OF_VERSION_1 = Series("digits-availability", "digits", "1", "")
WHOLE = Series("digits-availability", "digits", "", "")
MINUTE_S = 60.0


def slots_of(rows: tuple[SlotRow, ...]) -> dict[Series, Slots]:
    """Return what a file gives back of what was kept."""
    found: dict[Series, Slots] = {}
    level_of = {level.slot_s: level for level in LEVELS}
    for row in rows:
        found.setdefault(row.series, Slots()).put_back(level_of[row.level_s], row.start_s, EventCount(*row[3:]))
    return found


def outage(slos: SloEngine, minutes: int, bad_per_minute: int, from_s: float = START_S) -> list[tuple[int, str]]:
    """Tell of 1000 requests a minute, and return what is said at which minute."""
    told = []
    for minute in range(minutes):
        at_s = from_s + minute * MINUTE_S
        slos.take(1, tally(at_s, events(1000 - bad_per_minute, bad_per_minute)), at_s)
        told += [(minute + 1, line) for line in slos.judge_alerts(at_s + MINUTE_S)]
    return told


def test_every_objective_of_every_version_is_counted_from_0_on() -> None:
    counts = dict(engine().counts.totals())
    of_version_2 = Series("digits-availability", "digits", "2", "")
    assert counts == dict.fromkeys((OF_VERSION_1, of_version_2, Series("digits-latency", "digits", "", "")), NO_EVENTS)


def test_where_there_is_no_room_for_all_stable_versions_have_it() -> None:
    slos = SloEngine(START_S)
    slos.counts = SloCounts(most_apart=1)
    slos.follow(SNAPSHOT, START_S)
    assert [series for series, _ in slos.counts.totals() if series.version] == [OF_VERSION_1]


def test_only_what_an_objective_tells_apart_is_counted_apart() -> None:
    slos = engine()
    told = [events(3), events(1, version="2"), events(2, 1, "digits-latency"), events(4, 0, "digits-latency", "2")]
    slos.take(1, tally(START_S, *told), START_S)
    assert dict(slos.counts.totals()) == {
        OF_VERSION_1: EventCount(3),
        Series("digits-availability", "digits", "2", ""): EventCount(1),
        Series("digits-latency", "digits", "", ""): EventCount(6, 1),
    }


def test_an_objective_by_tier_has_a_series_for_each() -> None:
    by_tier = replace(AVAILABILITY, by=("tier",))
    slos = engine(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, AVAILABILITY.name: by_tier}))
    slos.take(1, tally(START_S, events(3)), START_S)
    assert dict(slos.counts.totals())[Series("digits-availability", "digits", "", "gold")] == EventCount(3)


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
        ("slo_series", "series_full"): 0,
        ("slo_events", "too_late"): 9,
        ("slo_loads", "untold"): 0,
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
    slos.follow(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, AVAILABILITY.name: without}), START_S + 600)
    lines = slos.judge_alerts(START_S + 600)
    assert lines == ["slo digits-availability of digits: page 1h is no longer in the policy; it fired for 9 min"]
    assert alert_key(AVAILABILITY, "digits", PAGE) not in slos.alerts.firing()


def test_a_changed_target_judges_all_that_was_counted() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(990, 10)), START_S)
    laxer = replace(AVAILABILITY, target=0.9)
    slos.follow(replace(SNAPSHOT, objectives={**SNAPSHOT.objectives, AVAILABILITY.name: laxer}), START_S)
    judged = next(slos.judged(START_S + 10))
    assert judged.evaluation.period == EventCount(990, 10)
    assert judged.evaluation.remaining_ratio == 0.9


def test_what_was_kept_is_where_a_restart_goes_on() -> None:
    before = engine()
    outage(before, 60, 20)
    changes = before.take_changes(START_S + 3600)
    after = engine()
    after.restore(Remembered(slots_of(changes.slots), dict(changes.firing), changes.transitions))
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
    assert {row.series for row in first.slots} == {OF_VERSION_1, WHOLE}
    slos.take(1, tally(START_S + 10, events(2)), START_S + 10)
    second = slos.take_changes(START_S + 10)
    assert {(row.level_s, row.good) for row in second.slots} == {(10, 2), (60, 3), (3600, 3)}
    slos.not_kept(first.slots)
    again = slos.take_changes(START_S + 20)
    assert {(row.level_s, row.start_s, row.good) for row in again.slots} == {
        (10, START_S, 1), (60, START_S, 3), (3600, START_S, 3),
    }  # fmt: skip
    assert {row.series for row in again.slots} == {OF_VERSION_1, WHOLE}


def test_whatever_requests_carry_an_objective_is_judged_by_all_of_its_events() -> None:
    slos = engine()
    for number in range(MAX_SERIES):  # fills the room that metrics of requests have
        slos.take(1, tally(START_S, replace(requests(1), tenant="", reason=f"r{number}")), START_S)
    for number in range(MAX_APART + 5):
        slos.take(1, tally(START_S, events(1, 1, version=f"v{number}")), START_S)
    slos.take(1, tally(START_S, events(0, 1000, version="other")), START_S)
    judged = next(slos.judged(START_S + 10))
    assert judged.evaluation.period == EventCount(MAX_APART + 5, MAX_APART + 1005)
    assert slos.dropped["series", "full"] > 0
    assert slos.dropped["slo_events", "series_full"] == 2 * 7 + 1000  # two versions have their room anyway


def renamed() -> Snapshot:
    """Return a policy in which the availability has another name."""
    other = replace(AVAILABILITY, name="digits-up")
    return replace(
        SNAPSHOT,
        routes={"digits": replace(ROUTE, slo=("digits-up", "digits-latency"))},
        objectives={other.name: other, LATENCY.name: LATENCY},
    )


def test_at_a_switch_events_of_both_generations_are_counted() -> None:
    slos = engine()
    slos.expect(renamed())
    slos.take(1, tally(START_S, events(1), events(2, slo="digits-up")), START_S)
    slos.follow(renamed(), START_S + 1)
    slos.take(2, tally(START_S, events(4), events(8, slo="digits-up")), START_S + 2)
    assert slos.dropped["slo_events", "unknown_objective"] == 0
    counted = [slos.counts.of(slo, "digits").count(60.0, START_S + 10).good for slo in (AVAILABILITY.name, "digits-up")]
    assert counted == [5, 10]
    slos.tidy(START_S + 11)
    slos.take(2, tally(START_S, events(16)), START_S + 12)
    assert slos.dropped["slo_events", "unknown_objective"] == 16


def test_a_generation_that_was_not_put_in_force_is_expected_no_more() -> None:
    slos = engine()
    slos.expect(renamed())
    slos.follow(SNAPSHOT, START_S)
    slos.take(1, tally(START_S, events(2, slo="digits-up")), START_S)
    assert slos.dropped["slo_events", "unknown_objective"] == 2


def test_those_who_ask_often_are_told_what_was_said_in_the_slot() -> None:
    slos = engine()
    first = slos.judged_in_slot(START_S + 1)
    slos.take(1, tally(START_S, events(2)), START_S)
    assert slos.judged_in_slot(START_S + 9) is first
    assert slos.judged_in_slot(START_S + 10)[0].evaluation.period == EventCount(2)
    slos.follow(renamed(), START_S + 11)
    assert slos.judged_in_slot(START_S + 11)[0].objective.name == "digits-up"


def test_metrics_have_room_for_so_many_objectives_and_all_are_judged() -> None:
    count = 1500
    routes = {f"m{number}": replace(ROUTE, model=f"m{number}", slo=(AVAILABILITY.name,)) for number in range(count)}
    slos = engine(replace(SNAPSHOT, routes=routes, objectives={AVAILABILITY.name: AVAILABILITY}))
    shown = sum(slos.is_shown(AVAILABILITY.name, model) for model in routes)
    assert 0 < shown < count
    assert slos.dropped["series", "full"] == count - shown
    assert sum(1 for _ in slos.judged(START_S)) == count
    slos.take(1, tally(START_S, replace(requests(1), model="m0")), START_S)
    assert slos.dropped["series", "full"] == count - shown  # what is shown of objectives takes nothing from requests


def test_a_firing_alert_that_is_found_late_has_fired_since_it_began() -> None:
    slos = engine()
    outage(slos, 10, 500)
    key = alert_key(AVAILABILITY, "digits", PAGE)
    own = slos.alerts.transitions[0]
    earlier = own._replace(at_s=START_S - 50)
    slos.restore(Remembered({}, {key: START_S - 50}, (earlier,)))
    assert slos.alerts.firing()[key] == START_S - 50
    assert [one.at_s for one in slos.alerts.transitions][:2] == [START_S - 50, own.at_s]


def test_a_version_is_forgotten_once_it_is_gone_and_silent_for_the_period() -> None:
    slos = engine()
    slos.take(1, tally(START_S, events(1), events(1, version="2")), START_S)
    route = replace(ROUTE, versions={"1": VERSIONS["1"]})
    slos.follow(replace(SNAPSHOT, routes={"digits": route}), START_S)
    slos.tidy(START_S + 30 * DAY_S)
    assert slos.counts.versions("digits-availability", "digits") == ["1", "2"]
    slos.tidy(START_S + 30 * DAY_S + 1)
    assert slos.counts.versions("digits-availability", "digits") == ["1"]
    slos.follow(replace(SNAPSHOT, routes={}, objectives={}), START_S)
    slos.tidy(START_S + 30 * DAY_S + 1)
    assert dict(slos.counts.totals()) == {}


def test_edges_of_durations_follow_the_policy() -> None:
    slos = engine()
    slos.take(1, tally(START_S, requests(3)), START_S)
    (durations,) = slos.totals.durations.values()
    assert LATENCY.within_s in durations.edges_s
    assert durations.count == 3


def test_a_load_counts_once_in_the_slot_in_which_it_ended_and_a_failed_one_is_bad() -> None:
    slos = engine(with_others())
    told = loads(
        LoadEnded(1, START_S - 3600.0, 10.0, True),
        LoadEnded(2, START_S - 3600.0, 10.1, True),
        LoadEnded(3, START_S - 5.0, 0.1, False),
    )
    for now_s in (START_S, START_S + 1.0):
        slos.take_loads("digits", "1", told, now_s, is_all_known=True)
    counted = slos.counts.of("digits-loads", "digits")
    assert counted.count(10.0, START_S) == EventCount(0, 1)
    assert counted.count(10.0, START_S - 3590.0) == EventCount(1, 1)
    assert dict(slos.counts.totals())[Series("digits-loads", "digits", "1", "")] == EventCount(1, 2)
    assert slos.counts.of("digits-availability", "digits").count(7200.0, START_S) == NO_EVENTS


def test_while_it_is_not_known_what_was_counted_only_loads_since_the_start_are() -> None:
    slos = engine(with_others())
    told = loads(LoadEnded(1, START_S - 1.0, 1.0, True), LoadEnded(2, START_S + 1.0, 1.0, True))
    slos.take_loads("digits", "1", told, START_S + 2.0, is_all_known=False)
    assert slos.counts.of("digits-loads", "digits").count(600.0, START_S + 2.0) == EventCount(1)


def test_loads_of_before_an_objective_are_not_held_against_it() -> None:
    slos = engine()
    told = loads(LoadEnded(1, START_S, 60.0, True))
    slos.take_loads("digits", "1", told, START_S, is_all_known=True)
    slos.follow(with_others(), START_S + 1.0)
    slos.take_loads("digits", "1", told, START_S + 2.0, is_all_known=True)
    assert slos.counts.of("digits-loads", "digits").count(600.0, START_S + 2.0) == NO_EVENTS


def test_loads_that_are_not_told_any_more_are_dropped_with_a_count() -> None:
    slos = engine(with_others())
    slos.take_loads("digits", "1", loads(LoadEnded(4, START_S, 1.0, True)), START_S, is_all_known=True)
    assert slos.dropped["slo_loads", "untold"] == 3


def test_a_label_counts_in_the_slot_of_its_request_however_late_it_is_told() -> None:
    slos = engine(with_others())
    now_s = START_S + 5 * 3600.0
    slos.take_labels(
        [
            label(START_S + 3.0, is_right=False),
            label(START_S + 4.0, is_right=True, tier="bronze"),
            label(now_s, is_right=True, version="2"),
        ],
        now_s,
    )
    counted = slos.counts.of("digits-right", "digits")
    assert counted.count(MINUTE_S, START_S + MINUTE_S) == EventCount(1, 1)
    assert counted.count(600.0, now_s + 1.0) == EventCount(1)
    totals = dict(slos.counts.totals())
    assert totals[Series("digits-right", "digits", "1", "gold")] == EventCount(0, 1)
    assert totals[Series("digits-right", "digits", "1", "bronze")] == EventCount(1)
    assert totals[Series("digits-right", "digits", "2", "gold")] == EventCount(1)


def test_a_label_of_a_request_that_is_older_than_any_window_is_dropped_with_a_count() -> None:
    slos = engine(with_others())
    slos.take_labels([label(START_S - 91 * DAY_S, is_right=False)], START_S)
    assert slos.dropped["slo_events", "too_late"] == 1


def test_labels_of_a_model_without_an_objective_on_them_are_no_events() -> None:
    slos = engine()
    slos.take_labels([label(START_S, is_right=False)], START_S)
    assert sum(events.total for _, events in slos.counts.totals()) == 0


def test_which_loads_were_counted_is_kept_with_the_counts() -> None:
    first = engine(with_others())
    told = loads(LoadEnded(1, START_S, 60.0, True))
    first.take_loads("digits", "1", told, START_S, is_all_known=True)
    kept = first.take_changes(START_S)
    second = engine(with_others())
    second.restore(Remembered(slots_of(kept.slots), loads=dict(kept.loads)))
    second.take_loads("digits", "1", told, START_S + 1.0, is_all_known=True)
    assert second.counts.of("digits-loads", "digits").count(600.0, START_S + 5.0) == EventCount(0, 1)
