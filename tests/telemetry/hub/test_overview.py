"""What the pages show of the mesh, from what its supervisor said last."""

from __future__ import annotations

from telemetry.hub.overview import Known, firing, overview_json, slos_json

PAGE = {"severity": "page", "name": "page 1h", "state": "firing"}
TICKET = {"severity": "ticket", "name": "ticket 3d", "state": "firing"}
SLOS = {
    "models": [{"model": "digits"}],
    "slos": [
        {"name": "a", "owner": "ml", "model": "digits", "alerts": [TICKET, {"severity": "page", "state": "inactive"}]},
        {"name": "b", "owner": "ml", "model": "digits", "alerts": [PAGE]},
    ],
}
STATUS = {"mesh": "demo", "pods": [{"name": "digits/1/0"}]}


def test_firing_alerts_say_what_they_are_of_and_pages_come_first() -> None:
    assert firing(SLOS) == [
        {"slo": "b", "model": "digits", "owner": "ml", **PAGE},
        {"slo": "a", "model": "digits", "owner": "ml", **TICKET},
    ]


def test_the_overview_puts_status_and_objectives_together() -> None:
    assert overview_json(Known(STATUS, SLOS, 100.0), 101.0) == {
        "models": SLOS["models"],
        "slos": SLOS["slos"],
        "pods": STATUS["pods"],
        "firing": firing(SLOS),
        "mesh": "demo",
        "error": "",
    }


def test_what_is_old_says_how_old_it_is_and_is_still_shown() -> None:
    stale = Known(STATUS, SLOS, 100.0, "The gateway does not answer.")
    assert slos_json(stale, 112.4) == {
        "slos": SLOS,
        "as_of": 100.0,
        "error": "The gateway does not answer. What is shown is 12 s old.",
    }


def test_before_the_first_answer_there_is_nothing_to_show() -> None:
    assert slos_json(Known(error="No gateway runs."), 1.0) == {"slos": None, "as_of": 0.0, "error": "No gateway runs."}
    assert overview_json(Known(error="No gateway runs."), 1.0)["slos"] == []
