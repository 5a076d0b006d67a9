"""Decides which objectives a list shows: filters and pages as the URL says, those in trouble first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from urllib.parse import urlencode

from msgspec import Struct

from telemetry.hub.query import TEXT_CHARACTERS, BadQuery
from telemetry.hub.shown.answers import Objective
from telemetry.hub.shown.objectives import EXHAUSTED, LIKELY, ObjectiveRow, objective_rows

PER_PAGE = 50
STATES = {
    "": "any",
    "trouble": "in trouble",
    "page": "page",
    "ticket": "ticket",
    LIKELY: "budget likely ends",
    EXHAUSTED: "budget spent",
    "held": "with alerts held back",
    "ok": "ok",
    "few": "with too few events",
    "no_data": "no data",
}
FILTERS = ("model", "slo", "owner", "state")
_TROUBLE = ("page", "ticket", "exhausted")


class Counted(Struct, frozen=True):
    """How many objectives are in a state, with the query that shows them."""

    words: str
    state: str
    number: int
    query: str


class SloList(Struct, frozen=True):
    """One page of the objectives.

    Attributes:
        found: how many the filters leave, and ``whole`` how many there are.
        before, after: queries of the pages beside this one; "" where there is none.
    """

    rows: tuple[ObjectiveRow, ...]
    given: dict[str, str]
    states: tuple[Counted, ...]
    found: int
    whole: int
    page: int
    pages: int
    before: str
    after: str
    models: tuple[str, ...]
    names: tuple[str, ...]
    is_filtered: bool


def slo_list(objectives: Sequence[Objective], url_query: Mapping[str, str]) -> SloList:
    """Return the page that a URL asks for; one beyond the last is the last.

    Raises:
        BadQuery: a state or a page is none.
    """
    given = {key: url_query.get(key, "").strip()[:TEXT_CHARACTERS] for key in FILTERS}
    if given["state"] not in STATES:
        raise BadQuery(f"state is one of {', '.join(filter(None, STATES))}.")
    named = [one for one in objectives if _is_named(one, given)]
    found = [one for one in named if not given["state"] or given["state"] in states_of(one)]
    pages = max(1, ceil(len(found) / PER_PAGE))
    page = min(_page(url_query.get("page", "")), pages)
    rows = objective_rows(found)[(page - 1) * PER_PAGE : page * PER_PAGE]
    return SloList(
        rows,
        given,
        tuple(_counted(named, given)),
        len(found),
        len(objectives),
        page,
        pages,
        _query(given, page - 1) if page > 1 else "",
        _query(given, page + 1) if page < pages else "",
        tuple(sorted({one.model for one in objectives})),
        tuple(sorted({one.name for one in objectives})),
        any(given.values()),
    )


def states_of(objective: Objective) -> frozenset[str]:
    """Return the states under which an objective is found."""
    firing = {alert.tier for alert in objective.alerts if alert.state == "firing"}
    states = {objective.status, *(firing & {LIKELY, EXHAUSTED})}
    if objective.status in _TROUBLE:
        states.add("trouble")
    if any(alert.state == "firing" and alert.severity == "ticket" for alert in objective.alerts):
        states.add("ticket")
    if any(alert.held_back for alert in objective.alerts):
        states.add("held")
    if objective.good + objective.bad and not objective.is_enough:
        states.add("few")
    return frozenset(states)


def _is_named(objective: Objective, given: Mapping[str, str]) -> bool:
    own = {"model": objective.model, "slo": objective.name, "owner": objective.owner}
    return all(given[key] in ("", held) for key, held in own.items())


def _counted(objectives: Sequence[Objective], given: Mapping[str, str]) -> list[Counted]:
    states = [states_of(one) for one in objectives]
    numbers = {state: sum(state in each for each in states) for state in STATES}
    return [
        Counted(STATES[state], state, number, _query({**given, "state": state}, 1))
        for state, number in numbers.items()
        if number
    ]


def _query(given: Mapping[str, str], page: int) -> str:
    held = {key: text for key, text in given.items() if text}
    return urlencode(held | ({"page": str(page)} if page > 1 else {}))


def _page(text: str) -> int:
    if not text:
        return 1
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 6 and int(text)):
        raise BadQuery("page is a whole number from 1 on.")
    return int(text)
