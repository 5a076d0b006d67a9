"""The list of objectives: filtered and paged by the URL, those in trouble first."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from telemetry.hub.query import BadQuery
from telemetry.hub.shown.answers import Objective
from telemetry.hub.shown.slo_list import PER_PAGE, SloList, slo_list, states_of
from tests.fakes.hub import Json, objective


def read(**changed: Any) -> Objective:
    return msgspec.convert(objective(**changed), Objective)


def fires(tier: str, severity: str = "ticket", **changed: Any) -> Json:
    first: Json = objective()["alerts"][0]
    return first | {"tier": tier, "severity": severity, "name": f"{severity} {tier}", "state": "firing"} | changed


MANY = [
    read(model=f"model-{number:03}", name=name, status="page" if number == 150 else "ok", alerts=[])
    for number in range(200)
    for name in ("fast", "right", "loads")
]


def shown(view: SloList) -> list[tuple[str, str]]:
    return [(row.objective.model, row.objective.name) for row in view.rows]


def test_two_hundred_models_with_three_objectives_each_are_paged() -> None:
    view = slo_list(MANY, {})
    assert (len(view.rows), view.found, view.whole, view.page, view.pages) == (PER_PAGE, 600, 600, 1, 12)
    assert [model for model, _ in shown(view)[:3]] == ["model-150"] * 3
    assert (view.before, view.after) == ("", "page=2")
    last = slo_list(MANY, {"page": "99"})
    assert (last.page, last.before, last.after) == (12, "page=11", "")
    every = [one for page in range(1, 13) for one in shown(slo_list(MANY, {"page": str(page)}))]
    assert len(set(every)) == 600


def test_filters_go_together_and_stay_from_page_to_page() -> None:
    view = slo_list(MANY, {"slo": "fast"})
    assert (view.found, view.after) == (200, "slo=fast&page=2")
    assert shown(slo_list(MANY, {"slo": "fast", "model": "model-007"})) == [("model-007", "fast")]
    assert slo_list(MANY, {"owner": "nobody"}).found == 0
    assert [row.objective.model for row in slo_list(MANY, {"state": "trouble"}).rows] == ["model-150"] * 3


@pytest.mark.parametrize(
    ("changed", "states"),
    [
        ({"status": "page", "alerts": [fires("fast", "page")]}, {"page", "trouble"}),
        ({"status": "ticket", "alerts": [fires("likely")]}, {"ticket", "likely", "trouble"}),
        ({"status": "exhausted", "alerts": [fires("exhausted")]}, {"ticket", "exhausted", "trouble"}),
        ({"status": "page", "alerts": [fires("fast", "page"), fires("slow")]}, {"page", "ticket", "trouble"}),
        ({"status": "ok", "alerts": []}, {"ok"}),
        ({"status": "ok", "alerts": [fires("fast", state="inactive", held_back="few")]}, {"ok", "held"}),
        ({"status": "ok", "alerts": [], "is_enough": False}, {"ok", "few"}),
        ({"status": "no_data", "alerts": [], "good": 0, "bad": 0, "is_enough": False}, {"no_data"}),
    ],
)
def test_an_objective_is_found_under_each_of_its_states(changed: Json, states: set[str]) -> None:
    changed = {"status": "ok", "alerts": []} | changed
    assert states_of(read(**changed)) == states | {changed["status"]}


def test_how_many_are_in_each_state_is_said_of_what_the_names_leave() -> None:
    counted = {each.state: each.number for each in slo_list(MANY, {"model": "model-150", "state": "ok"}).states}
    assert counted == {"trouble": 3, "page": 3}


@pytest.mark.parametrize("query", [{"state": "odd"}, {"page": "0"}, {"page": "-1"}, {"page": "two"}, {"page": "9" * 9}])
def test_a_query_that_cannot_be_is_refused_with_what_can(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery):
        slo_list(MANY, query)
