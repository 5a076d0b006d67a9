"""What the management API reports of objectives, whole."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise

import pytest

from gateway.control.slo_engine import SloEngine
from gateway.control.slo_reports import MAX_SPAN_S, MIN_SPAN_S, HistoryQuestion
from gateway.control.slo_view import MAX_POINTS, history_report, history_step_s, slo_report
from telemetry.slo.attended import Time
from tests.gateway.control.objectives import DAY_S, START_S, engine, events, requests, tally

NOW_S = START_S + 60.0


def counted() -> SloEngine:
    """One minute: 100 requests of version 1, ten of them bad, and 100 good ones of version 2."""
    slos = engine()
    told = tally(START_S, events(90, 10), events(100, version="2"), requests(90), requests(10, 503))
    slos.take(1, told, START_S)
    return slos


def test_an_objective_is_reported_with_all_that_people_ask() -> None:
    slos = counted()
    slos.judge_alerts(NOW_S)
    report = slo_report(slos, NOW_S)
    assert (report.at, report.slot_s) == (NOW_S, 10)
    availability, latency = report.slos
    page = {"severity": "page", "name": "page 1h", "factor": 14.4, "long_s": 3600.0, "short_s": 300.0}
    ticket = {"severity": "ticket", "name": "ticket 1d", "factor": 3.0, "long_s": 86400.0, "short_s": 7200.0}
    burn = pytest.approx(50.0)
    fires = {"long_burn": burn, "short_burn": burn, "state": "firing", "since": NOW_S, "held_back": ""}
    windows = [
        {"window_s": window_s, "burn_rate": burn, "good": 190, "bad": 10}
        for window_s in (300.0, 3600.0, 7200.0, 86400.0)
    ]
    first, second = asdict(availability).pop("versions")
    assert asdict(availability) | {"versions": []} == {
        "name": "digits-availability",
        "owner": "vision",
        "model": "digits",
        "target": 0.999,
        "period_s": 30 * DAY_S,
        "within_s": None,
        "events": "requests",
        "good_when": "A request is good when its status is below 500.",
        "status": "page",
        "good": 190,
        "bad": 10,
        "ignored": 0,
        "remaining_ratio": pytest.approx(-49.0),
        "is_enough": False,
        "exhaustion_s": 0.0,
        "burn": windows,
        "alerts": [
            one | fires | {"tier": "fast", "runbook": f"docs/runbooks/slo-{one['severity']}-fast.md"}
            for one in (page, ticket)
        ],
        "recent": [
            {"state": "firing", "name": "ticket 1d", "severity": "ticket", "at": NOW_S},
            {"state": "firing", "name": "page 1h", "severity": "page", "at": NOW_S},
        ],
        "versions": [],
        "guards": {"min_events": 0, "min_bad_events": 0, "chance_below": 0},
        "likely_within_s": 0.0,
        "regained_ratio": pytest.approx(-49.0),
        "regained_in_s": DAY_S,
    }
    assert (first["version"], first["good"], first["bad"], first["remaining_ratio"]) == (
        "1",
        90,
        10,
        pytest.approx(-99.0),
    )
    assert (second["version"], second["good"], second["bad"], second["remaining_ratio"]) == ("2", 100, 0, 1.0)
    assert (latency.status, latency.remaining_ratio, latency.within_s) == ("no_data", None, 0.123)
    assert latency.versions == []


def test_what_the_period_is_about_to_forget_is_regained() -> None:
    slos = engine()
    for at_s, told in ((START_S, events(90_000, 90)), (START_S + 20 * DAY_S, events(10_000, 5))):
        slos.take(1, tally(at_s, told), at_s)
    availability, _ = slo_report(slos, START_S + 29.5 * DAY_S).slos
    assert availability.remaining_ratio == pytest.approx(1 - 95 / 100.095)
    assert availability.regained_ratio == pytest.approx(1 - 5 / 100.095)
    assert availability.regained_in_s == DAY_S


def test_models_are_reported_with_their_last_five_minutes() -> None:
    (model,) = slo_report(counted(), NOW_S).models
    assert (model.model, model.version, model.requests_per_s, model.error_ratio) == ("digits", "1", 100 / 60, 0.1)


def test_a_history_has_every_step_to_now_and_loses_no_event() -> None:
    slos = engine()
    attend(slos, START_S - DAY_S, START_S + 3600)
    for minute in range(60):
        at_s = START_S + minute * 60.0
        slos.take(1, tally(at_s, events(9, minute % 2)), at_s)
    history = history_report(slos, HistoryQuestion("digits-availability", "digits", None, 3600.0), START_S + 3595.0)
    assert history.step_s == 10
    assert len(history.points) == 360
    assert history.points[-1].start_s == START_S + 3590
    assert (sum(point.good for point in history.points), sum(point.bad for point in history.points)) == (540, 30)
    assert history.points[0].burn["300"] == 0.0
    last = history.points[-1]
    assert last.burn == {window: pytest.approx(1000 * 30 / 570) for window in ("3600", "7200", "86400")} | {
        "300": pytest.approx(1000 * 3 / 48)
    }
    assert last.remaining_ratio == pytest.approx(1 - 1000 * 30 / 570)


def attend(slos: SloEngine, from_s: float, to_s: float) -> None:
    """Have the supervisor run meanwhile."""
    slos.attended.restore([Time(from_s, to_s)])


def test_a_time_in_which_nobody_counted_is_no_data_and_never_good() -> None:
    slos = engine()
    attend(slos, START_S, START_S + 600)
    attend(slos, START_S + 1800, START_S + 3600)
    for at_s in (START_S, START_S + 900, START_S + 3500):  # the second is told late, of a time that nobody attended
        slos.take(1, tally(at_s, events(10)), START_S + 3500)
    question = HistoryQuestion("digits-availability", "digits", None, 3600.0)
    points = {point.start_s - START_S: point for point in history_report(slos, question, START_S + 3600).points}
    known = {at_s for at_s, point in points.items() if point.is_known}
    assert known == {*range(0, 610, 10), 900, *range(1800, 3600, 10)}
    assert (points[700].burn, points[700].remaining_ratio, points[700].good) == ({}, None, 0)
    assert points[2000].burn["300"] == 0.0  # quiet, and attended


def test_the_step_that_has_just_begun_is_known() -> None:
    slos = engine()
    attend(slos, START_S, START_S + 598.0)
    slos.take(1, tally(START_S, events(10)), START_S)
    question = HistoryQuestion("digits-availability", "digits", None, 600.0)
    *_, last = history_report(slos, question, START_S + 601.0).points
    assert (last.start_s, last.is_known, last.burn["3600"]) == (START_S + 600, True, 0.0)


@pytest.mark.parametrize("span_s", [3600.0, 2.5 * 3600.0, 2 * DAY_S])
def test_a_history_shows_nothing_of_a_fault_before_it(span_s: float) -> None:
    slos = engine()
    attend(slos, START_S - 3 * DAY_S, START_S + 1805)
    fault_s = START_S + 16 * 60 + 1
    for at_s, told in ((START_S + 300, events(100)), (fault_s, events(0, 20)), (START_S + 1800, events(100))):
        slos.take(1, tally(at_s, told), at_s)
    question = HistoryQuestion("digits-availability", "digits", None, span_s)
    points = history_report(slos, question, START_S + 1805.0).points
    (step_s,) = {after.start_s - before.start_s for before, after in pairwise(points)}
    before = [point for point in points if point.start_s + step_s <= fault_s - fault_s % 10]
    after = [point for point in points if point.start_s > fault_s]
    assert {point.remaining_ratio for point in before} == {None, 1.0}
    assert {burn for point in before for burn in point.burn.values()} == {0.0}
    assert after
    assert all((point.remaining_ratio or 0.0) < 0.0 for point in after)


def test_the_history_of_one_version_is_its_own() -> None:
    question = HistoryQuestion("digits-availability", "digits", "2", 60.0)
    assert sum(point.good + point.bad for point in history_report(counted(), question, NOW_S).points) == 100


@pytest.mark.parametrize("span_s", [MIN_SPAN_S, 4000.0, 7200.0, 12 * 3600.0, 3 * DAY_S, 30 * DAY_S, MAX_SPAN_S])
def test_a_history_has_at_most_400_steps_of_whole_slots_whatever_it_spans(span_s: float) -> None:
    slos = counted()
    at_s = START_S + 7 * 3600.0
    history = history_report(slos, HistoryQuestion("digits-availability", "digits", None, span_s), at_s)
    assert history.step_s == history_step_s(span_s)
    assert len(history.points) <= MAX_POINTS
    assert history.points[-1].start_s + history.step_s >= at_s
    is_inside = history.points[0].start_s <= START_S
    assert sum(point.good + point.bad for point in history.points) == (200 if is_inside else 0)
