"""Times that alerts fired: those that fire first, with who was told, and filtered by the URL."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.hub.query import BadQuery
from telemetry.hub.shown.answers import Alerts
from telemetry.hub.shown.past_alerts import PER_PAGE, alert_list, episodes_of, spans_over, wanted
from tests.fakes.hub import alerts_past, episode


def told(*more: Any, **changed: Any) -> Alerts:
    return msgspec.convert(alerts_past(*more) | changed, Alerts)


def test_one_that_fires_lasts_until_now_and_one_that_is_over_as_long_as_it_did() -> None:
    now, over = episodes_of(told(), "fast", "digits")
    assert (now.began, now.ended, now.lasted, now.highest) == (
        "2027-01-15 08:00:00",
        "",
        "10\u202fm 00\u202fs",
        "31.4×",
    )
    assert (over.ended, over.lasted) == ("2027-01-15 05:13:20", "50\u202fm 00\u202fs")
    assert [(row.text, row.level, row.why) for row in over.told] == [
        ("webhook/hooks.example: begin told, 04:23:21", "ok", ""),
        ("webhook/hooks.example: end not told yet, it is tried again, 05:13:23", "ticket", "503"),
    ]
    assert episodes_of(told(), "fast", "text") == ()


def test_the_requests_that_failed_meanwhile_are_a_link_away() -> None:
    now, over = episodes_of(told(), "fast", "digits")
    assert now.traces == "model=digits&status=error&since=1799999700"
    assert over.traces == "model=digits&status=error&since=1799986700&until=1799990000"


@pytest.mark.parametrize(
    ("page", "href"),
    [
        ("https://wiki.example/a.md", "https://wiki.example/a.md"),
        ("docs/runbooks/a.md", ""),
        ("javascript:alert(1)", ""),
        ("//wiki.example/a.md", ""),
    ],
)
def test_only_an_address_of_the_web_is_a_link(page: str, href: str) -> None:
    alerts = told(episode(slo="other", runbook=page))
    (row,) = episodes_of(alerts, "other", "digits")
    assert row.runbook.href == href
    assert row.runbook.text == ("a.md" if href else page)


def test_the_list_has_those_that_fire_first_and_is_paged() -> None:
    more = [episode(name=f"page {at}", began_s=1_800_000_100.0 + at, ended_s=1_800_000_300.0) for at in range(80)]
    alerts = told(*more)
    view = alert_list(alerts, {})
    assert view.rows[0].ended == ""
    assert (len(view.rows), view.found, view.pages, view.after) == (PER_PAGE, 82, 2, "page=2")
    assert alert_list(alerts, {"page": "7"}).page == 2
    fires = alert_list(alerts, {"state": "firing", "severity": "page"})
    assert (fires.found, fires.whole, fires.is_filtered) == (1, 82, True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({}, 3),
        ({"model": "text"}, 1),
        ({"slo": "fast"}, 2),
        ({"tier": "likely"}, 1),
        ({"severity": "ticket", "state": "over"}, 1),
        ({"severity": "ticket", "state": "firing"}, 0),
    ],
)
def test_filters_go_together(query: dict[str, str], count: int) -> None:
    likely = episode(slo="slow", model="text", severity="ticket", tier="likely", ended_s=1_800_000_300.0)
    assert len(wanted(told(likely).alerts, query)[0]) == count


@pytest.mark.parametrize("query", [{"state": "odd"}, {"severity": "high"}, {"tier": "quick"}, {"page": "x"}])
def test_a_query_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery):
        alert_list(told(), query)


def test_a_plot_is_shaded_where_alerts_of_the_objective_fired() -> None:
    spans = spans_over(told(episode(model="text")), "fast", "digits")
    assert [(one.from_s, one.to_s) for one in spans] == [(1.8e9, None), (1_799_987_000.0, 1_799_990_000.0)]
