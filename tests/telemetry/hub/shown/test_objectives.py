"""How budgets, burn rates and alerts are drawn: those in trouble first, and nothing coloured that cannot be told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.hub.overview import firing
from telemetry.hub.shown.answers import Alert, Burn, Objective, Overview
from telemetry.hub.shown.axis import Tick
from telemetry.hub.shown.formats import duration, share
from telemetry.hub.shown.objectives import (
    HEADROOM,
    budget,
    burn_bars,
    firing_rows,
    model_cards,
    objective_row,
    objective_rows,
)
from tests.fakes.hub import Json, mesh, objective


def read(**changed: Any) -> Objective:
    return msgspec.convert(objective(**changed), Objective)


def overview(**changed: Any) -> Overview:
    answer: Json = mesh(**changed)
    return msgspec.convert(answer | {"firing": firing(answer)}, Overview)


@pytest.mark.parametrize(
    ("remaining", "level", "width"),
    [
        (1.0, "good", "100.000%"),
        (0.25, "good", "25.000%"),
        (0.2, "low", "20.000%"),
        (-1.5, "gone", "0.000%"),
        (0.0, "gone", "0.000%"),
    ],
)
def test_a_budget_is_coloured_by_what_is_left(remaining: float, level: str, width: str) -> None:
    drawn = budget(remaining)
    note = "spent" if level == "gone" else ""
    assert (drawn.text, drawn.level, drawn.bar.width, drawn.note) == (share(remaining), level, width, note)


def test_a_budget_of_few_events_has_no_colour_and_says_why() -> None:
    assert (budget(0.01, False).level, budget(0.01, False).note) == ("unknown", "few events yet")
    spent = budget(-20.0, False)
    assert (spent.level, spent.note, spent.bar.width) == ("gone", "spent; few events yet", "0.000%")
    assert budget(0.5, False).bar.width == "50.000%"
    assert (budget(None).text, budget(None).note, budget(None).bar.width) == ("–", "no events yet", "0.000%")


def alerts(**changed: Any) -> tuple[Alert, ...]:
    return read(alerts=[read_alert | changed for read_alert in objective()["alerts"][:1]]).alerts


def test_a_burn_rate_has_a_tick_at_the_factor_of_each_alert_that_looks_at_it() -> None:
    looked_at, other = burn_bars([Burn(300.0, 7.2, 90, 10), Burn(60.0, 0.5, 9, 1)], alerts())
    whole = HEADROOM * 14.4
    assert looked_at.ticks == (Tick(f"{100 * 14.4 / whole:.3f}%", "14.4×"),)
    assert (looked_at.window, looked_at.rate, looked_at.counts) == ("5m", "7.20×", "90 good, 10 bad")
    assert (looked_at.bar.width, looked_at.is_hot) == (f"{100 * 7.2 / whole:.3f}%", False)
    assert (other.ticks, other.is_hot) == ((), False)


def test_a_burn_rate_beyond_a_factor_is_hot_and_stays_in_its_bar() -> None:
    (drawn,) = burn_bars([Burn(300.0, 400.0, 0, 10)], alerts())
    assert (drawn.is_hot, drawn.bar.width) == (True, "100.000%")


def test_an_objective_says_what_it_promises() -> None:
    row = objective_row(read())
    assert row.promise == f"{row.target} good over 30d. A request is good when its status is below 500."
    assert row.exhaustion == f"in {duration(93_600.0)}"
    assert objective_row(read(exhaustion_s=None)).exhaustion == "not at this pace"
    assert objective_row(read(exhaustion_s=0.0)).exhaustion == "has ended"


def test_an_alert_says_what_it_waits_for_and_where_it_stands() -> None:
    first = objective_row(read()).alerts[0]
    assert (first.rule, first.now) == ("over 14.4× in both 1h and 5m", "16.9× and 31.4×")
    assert first.since == "2027-01-15 08:00:00 UTC"


def test_objectives_in_trouble_come_first_and_a_newer_status_before_them() -> None:
    statuses = ("ok", "no_data", "ticket", "page", "exhausted", "on fire")
    rows = objective_rows([read(status=status, model=status) for status in statuses])
    assert [row.objective.status for row in rows] == ["on fire", "page", "exhausted", "ticket", "ok", "no_data"]
    assert [row.status for row in rows[-2:]] == ["ok", "no data"]


def test_a_model_is_shown_whether_it_was_called_has_a_pod_or_an_objective() -> None:
    seen = overview(models=[mesh()["models"][0] | {"model": "called"}], pods=[], slos=[objective(model="promised")])
    assert [card.model for card in model_cards(seen)] == ["called", "promised"]
    assert model_cards(Overview()) == ()


def test_a_card_counts_ready_pods_and_takes_the_worst_status() -> None:
    digits, text = model_cards(overview())
    assert (digits.model, digits.worst, digits.ready_count, len(digits.pods)) == ("digits", "page", 1, 2)
    assert [each.version for each in digits.versions] == ["1", "2"]
    assert (text.worst, text.ready_count, len(text.pods)) == ("ok", 1, 1)


def test_alerts_that_fire_tell_of_what() -> None:
    (row,) = firing_rows(overview().firing)
    assert (row.alert.model, row.alert.slo, row.alert.owner) == ("digits", "fast", "team-digits")
    assert (row.now, row.also) == ("16.9× and 31.4×", ())


def test_an_objective_of_which_several_alerts_fire_is_told_once_by_the_worst() -> None:
    fires = [each | {"state": "firing"} for each in objective()["alerts"]]
    rows = firing_rows(overview(slos=[objective(alerts=fires[::-1]), objective(model="text", alerts=fires[2:])]).firing)
    assert [(row.alert.model, row.alert.name, row.also) for row in rows] == [
        ("digits", "page 6h", ("page 1h", "ticket 3d")),
        ("text", "ticket 3d", ()),
    ]


def test_a_version_has_a_budget_of_its_own() -> None:
    one, two = objective_row(read()).versions
    assert (one.version, one.budget.level) == ("1", "good")
    assert (two.version, two.budget.level, two.budget.text) == ("2", "gone", share(-1.51))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"alerts": []}, ""),
        ({}, "burns fast, 1 alert held back"),
        ({"status": "no_data"}, "no event counted in 30d"),
        ({"alerts": [], "is_enough": False}, "too few events to tell"),
    ],
)
def test_an_objective_says_why_it_is_where_it_is(changed: dict[str, Any], words: str) -> None:
    assert objective_row(read(**changed)).why == words


def test_the_likely_end_of_a_budget_and_its_end_are_told_in_words() -> None:
    day_s = 86_400.0
    likely = objective()["alerts"][0] | {"tier": "likely", "name": "breach likely", "severity": "ticket"}
    ended = likely | {"tier": "exhausted", "name": "budget exhausted", "long_s": 30 * day_s, "short_s": 30 * day_s}
    row = objective_row(read(status="ticket", alerts=[likely, ended], likely_within_s=day_s))
    assert row.why == "budget likely ends within 1d, budget spent"
    assert row.alerts[0].rule == "the budget ends soon at this pace: over 14.4× in both 1h and 5m"
    assert (row.alerts[1].rule, row.alerts[1].now) == ("as much was bad in 30d as may be", "16.9×")


def test_a_window_without_events_is_no_data() -> None:
    (drawn,) = burn_bars([Burn(300.0, 0.0, 0, 0)], alerts())
    assert (drawn.rate, drawn.counts, drawn.has_data) == ("no data", "no events", False)


@pytest.mark.parametrize(
    ("good", "bad", "text"),
    [(0, 0, "no data"), (10, 0, "100"), (999_999, 1, "99.999"), (1, 1, "50"), (0, 7, "0"), (9_999_999, 1, "99.999")],
)
def test_what_was_good_is_rounded_down(good: int, bad: int, text: str) -> None:
    assert objective_row(read(good=good, bad=bad)).sli.removesuffix("\u202f%") == text
