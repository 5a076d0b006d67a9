"""Decides how the times that alerts fired are drawn, and which of them a list shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from urllib.parse import urlencode

from msgspec import Struct

from telemetry.hub.query import TEXT_CHARACTERS, BadQuery
from telemetry.hub.shown.answers import Alerts, Episode, Telling
from telemetry.hub.shown.formats import date, duration, moment, times
from telemetry.hub.shown.objectives import Runbook, runbook

FILTERS = ("model", "slo", "severity", "tier", "state")
CHOICES = {
    "severity": ("", "page", "ticket"),
    "tier": ("", "fast", "slow", "likely", "exhausted"),
    "state": ("", "firing", "over"),
}
PER_PAGE = 50
# Traces of what led to an alert began before it did.
_BEFORE_S = 300.0

_RESULTS = {
    "ok": "told",
    "failed": "not told yet, it is tried again",
    "refused": "refused",
    "dropped": "given up",
    "waits": "waits",
}


class ToldRow(Struct, frozen=True):
    """What became of telling one receiver, and when; ``level`` colours it: ok or ticket."""

    text: str
    at: str
    why: str
    level: str


class EpisodeRow(Struct, frozen=True):
    """One time that an alert fired.

    Attributes:
        traces: the query that finds the requests that failed meanwhile.
    """

    episode: Episode
    began: str
    ended: str
    lasted: str
    highest: str
    told: tuple[ToldRow, ...]
    runbook: Runbook
    traces: str


class AlertList(Struct, frozen=True):
    """One page of them, newest first."""

    rows: tuple[EpisodeRow, ...]
    given: dict[str, str]
    found: int
    whole: int
    page: int
    pages: int
    before: str
    after: str
    is_filtered: bool


def wanted(alerts: Sequence[Episode], query: Mapping[str, str]) -> tuple[list[Episode], dict[str, str]]:
    """Return those that a URL's query asks for, and what of it does.

    Raises:
        BadQuery: a value is none of those that there are.
    """
    given = {key: query.get(key, "").strip()[:TEXT_CHARACTERS] for key in FILTERS}
    for key, choices in CHOICES.items():
        if given[key] not in choices:
            raise BadQuery(f"{key} is one of {', '.join(filter(None, choices))}.")
    return [one for one in alerts if _is_wanted(one, given)], given


def _is_wanted(episode: Episode, given: Mapping[str, str]) -> bool:
    own = {
        "model": episode.model,
        "slo": episode.slo,
        "severity": episode.severity,
        "tier": episode.tier,
        "state": "firing" if episode.ended_s is None else "over",
    }
    return all(given[key] in ("", held) for key, held in own.items())


def alert_list(told: Alerts, url_query: Mapping[str, str]) -> AlertList:
    """Return the page that a URL asks for; those that fire come first.

    Raises:
        BadQuery: the query cannot be understood.
    """
    found, given = wanted(told.alerts, url_query)
    ordered = sorted(found, key=lambda one: one.ended_s is not None)
    pages = max(1, ceil(len(ordered) / PER_PAGE))
    asked = url_query.get("page", "") or "1"
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 6 and int(asked)):
        raise BadQuery("page is a whole number from 1 on.")
    page = min(int(asked), pages)
    rows = tuple(episode_row(one, told) for one in ordered[(page - 1) * PER_PAGE : page * PER_PAGE])
    before, after = (_query(given, at) if 1 <= at <= pages else "" for at in (page - 1, page + 1))
    return AlertList(rows, given, len(found), len(told.alerts), page, pages, before, after, any(given.values()))


def _query(given: Mapping[str, str], page: int) -> str:
    return urlencode({key: text for key, text in given.items() if text} | {"page": str(page)})


def episodes_of(told: Alerts, slo: str, model: str) -> tuple[EpisodeRow, ...]:
    """Return the times that alerts of one objective fired, newest first."""
    return tuple(episode_row(one, told) for one in told.alerts if (one.slo, one.model) == (slo, model))


class SpanOver(Struct, frozen=True):
    """When an alert fired, for a plot to shade; ``to_s`` is None while it does."""

    from_s: float
    to_s: float | None
    severity: str
    name: str


def spans_over(told: Alerts, slo: str, model: str) -> list[SpanOver]:
    """Return when alerts of one objective fired."""
    return [
        SpanOver(one.began_s, one.ended_s, one.severity, one.name)
        for one in told.alerts
        if (one.slo, one.model) == (slo, model)
    ]


def episode_row(episode: Episode, told: Alerts) -> EpisodeRow:
    """Return one time that an alert fired."""
    end_s = told.at_s if episode.ended_s is None else episode.ended_s
    query = {
        "model": episode.model,
        "status": "error",
        "since": f"{max(0.0, episode.began_s - _BEFORE_S):.0f}",
        **({} if episode.ended_s is None else {"until": f"{episode.ended_s:.0f}"}),
    }
    return EpisodeRow(
        episode,
        date(episode.began_s).removesuffix(" UTC"),
        "" if episode.ended_s is None else date(episode.ended_s).removesuffix(" UTC"),
        duration(max(0.0, end_s - episode.began_s)),
        times(episode.highest_burn),
        tuple(_told_row(one) for one in episode.told),
        runbook(episode.runbook),
        urlencode(query),
    )


def _told_row(telling: Telling) -> ToldRow:
    said = _RESULTS.get(telling.result, telling.result)
    text = f"{telling.to}: {telling.what} {said}, {moment(telling.at_s)}"
    return ToldRow(text, date(telling.at_s), telling.why, "ok" if telling.result == "ok" else "ticket")
