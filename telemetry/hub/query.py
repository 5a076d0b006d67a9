"""Decides which traces a list shows: reads the URL's query and writes the statement that finds them, newest first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from telemetry.conventions import SpanName
from telemetry.hub.summary import Summary

SHOWN = 50
SHOWN_AT_MOST = 1000
TEXT_CHARACTERS = 256

_EQUAL = ("name", "model", "version", "tenant", "status", "reason")
_KEYS = (*_EQUAL, "min_ms", "max_ms", "q", "since", "until", "limit", "cursor")
_LAST = "\U0010ffff"


class BadQuery(Exception):
    """The query cannot be understood; the message is a sentence for whoever asked."""


def chosen(key: str, value: str, choices: Iterable[str], usual: str) -> str:
    """Return what a query says of something that has few values; the usual one where it says nothing.

    Raises:
        BadQuery: it is none of them.
    """
    if value and value not in choices:
        raise BadQuery(f"{key} is one of {', '.join(choices)}.")
    return value or usual


class Place(Struct, frozen=True, order=True):
    """Where in the list a trace is; the list goes from the greatest to the smallest."""

    start_ns: int
    trace_id: str


class TraceQuery(Struct, frozen=True):
    """Which traces are wanted.

    Attributes:
        equal: values by the name of a column.
        min_ns, max_ns: of the duration; None for any.
        q: how a request's or a trace's id begins; "" for any.
        since_ns, until_ns: of the start; ``until_ns`` itself is not in; None for any.
        limit: at most so many.
        after: go on behind this one; None from the newest.
    """

    equal: tuple[tuple[str, str], ...] = ()
    min_ns: int | None = None
    max_ns: int | None = None
    q: str = ""
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int = SHOWN
    after: Place | None = None


class Statement(Struct, frozen=True):
    """SQL and what its question marks stand for."""

    sql: str
    parameters: tuple[str | int, ...]


def parse(query: Mapping[str, str]) -> TraceQuery:
    """Read the query of a URL; an empty value is the same as none.

    Raises:
        BadQuery: a name or a value is wrong.
    """
    given = {key: value.strip() for key, value in query.items() if value.strip()}
    unknown = sorted(given.keys() - set(_KEYS))
    if unknown:
        raise BadQuery(f"{', '.join(unknown)} is no filter: {', '.join(_KEYS)} are.")
    if any(len(value) > TEXT_CHARACTERS for value in given.values()):
        raise BadQuery(f"A filter has at most {TEXT_CHARACTERS} characters.")
    if given.get("status", "ok") not in ("ok", "error"):
        raise BadQuery("status is ok or error.")
    return TraceQuery(
        tuple((key, given[key]) for key in _EQUAL if key in given),
        _scaled(given, "min_ms", 1e6),
        _scaled(given, "max_ms", 1e6),
        given.get("q", ""),
        _scaled(given, "since", 1e9),
        _scaled(given, "until", 1e9),
        _limit(given),
        _place(given["cursor"]) if "cursor" in given else None,
    )


def cursor(summary: Summary) -> str:
    """Return what a next query's ``cursor`` is, to go on behind this trace."""
    return f"{summary.start_ns}.{summary.trace_id}"


def place(summary: Summary) -> Place:
    """Return where in the list the trace is."""
    return Place(summary.start_ns, summary.trace_id)


def select(query: TraceQuery) -> Statement:
    """Return the statement that finds the wanted traces in one file."""
    conditions: list[str] = []
    parameters: list[str | int] = []

    def where(condition: str, *values: str | int) -> None:
        conditions.append(condition)
        parameters.extend(values)

    for column, value in query.equal:
        where(f"{column} = ?", value)
    if not query.q and "name" not in dict(query.equal):
        where("name <> ?", SpanName.POD_BATCH)  # one for each request or so: they are found from there
    for bound, condition in (
        (query.min_ns, "duration_ns >= ?"),
        (query.max_ns, "duration_ns <= ?"),
        (query.since_ns, "start_ns >= ?"),
        (query.until_ns, "start_ns < ?"),
    ):
        if bound is not None:
            where(condition, bound)
    if query.q:
        where(_BEGINS, query.q, query.q + _LAST, query.q, query.q + _LAST)
    if query.after is not None:
        where("(start_ns, trace_id) < (?, ?)", query.after.start_ns, query.after.trace_id)
    sql = f"SELECT body FROM trace_summary WHERE {' AND '.join(conditions or ['1'])} "  # noqa: S608 - of constants
    return Statement(f"{sql}ORDER BY start_ns DESC, trace_id DESC LIMIT ?", (*parameters, query.limit + 1))


_BEGINS = (
    "trace_id IN (SELECT trace_id FROM trace_summary WHERE trace_id BETWEEN ? AND ? "
    "UNION SELECT trace_id FROM request WHERE request_id BETWEEN ? AND ?)"
)


def newest(found: Sequence[Summary], limit: int) -> list[Summary]:
    """Return the first of the list, one line for each trace, and one more than ``limit`` if there are more."""
    first: dict[str, Summary] = {}
    for summary in sorted(found, key=place, reverse=True):
        first.setdefault(summary.trace_id, summary)
    return list(first.values())[: limit + 1]


def _scaled(given: Mapping[str, str], key: str, scale: float) -> int | None:
    if key not in given:
        return None
    try:
        value = float(given[key])
    except ValueError:
        value = math.nan
    if not 0 <= value * scale < 2**63:
        raise BadQuery(f"{key} is a number, not below 0.")
    return round(value * scale)


def _limit(given: Mapping[str, str]) -> int:
    limit = _whole(given.get("limit", str(SHOWN)))
    if limit is None or not 1 <= limit <= SHOWN_AT_MOST:
        raise BadQuery(f"limit is a whole number from 1 to {SHOWN_AT_MOST}.")
    return limit


def _place(text: str) -> Place:
    digits, _, trace_id = text.partition(".")
    start_ns = _whole(digits)
    if start_ns is None or start_ns >= 2**63 or not trace_id:
        raise BadQuery("cursor is what the list before gave as next.")
    return Place(start_ns, trace_id)


def _whole(text: str) -> int | None:
    """Return the number that all of the text is; a filter is short, so this is quick."""
    return int(text) if text.isascii() and text.isdigit() else None
