"""Decides which part of a long list a page shows, and where the others are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar
from urllib.parse import urlencode

from msgspec import Struct

from telemetry.hub.query import BadQuery

_Row = TypeVar("_Row")
_DIGITS = 6


class Paged(Struct, Generic[_Row], frozen=True):
    """One page of a list.

    Attributes:
        count: of all rows.
        place: which they are, for people: "51 to 100 of 212"; "" where they are all.
        before, after: the queries of the neighbours; "" where there is none.
    """

    rows: tuple[_Row, ...]
    count: int
    place: str
    before: str
    after: str


def paged(rows: Sequence[_Row], query: Mapping[str, str], of: int, key: str = "page") -> Paged[_Row]:
    """Return the page that a URL's query asks for; of a list that became shorter its last one.

    Raises:
        BadQuery: it is no number.
    """
    asked = query.get(key, "1")
    if not (asked.isascii() and asked.isdecimal() and len(asked) <= _DIGITS and int(asked) > 0):
        raise BadQuery(f"{key}={asked:.32} is no page: write {key}=2 for the second one.")
    pages = max(1, -(-len(rows) // of))
    page = min(int(asked), pages)
    first = (page - 1) * of
    shown = tuple(rows[first : first + of])
    place = "" if pages == 1 else f"{first + 1} to {first + len(shown)} of {len(rows)}"
    before = _query(query, key, page - 1) if page > 1 else ""
    after = _query(query, key, page + 1) if page < pages else ""
    return Paged(shown, len(rows), place, before, after)


def _query(query: Mapping[str, str], key: str, page: int) -> str:
    return "?" + urlencode({**query, key: str(page)})
