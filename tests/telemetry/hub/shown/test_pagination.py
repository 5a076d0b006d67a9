"""Pages of long lists: each row once, neighbours linked, other parts of the URL kept."""

from __future__ import annotations

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.query import BadQuery
from telemetry.hub.shown.pagination import paged


@given(st.integers(0, 400), st.integers(1, 60))
def test_going_through_all_pages_shows_each_row_once(length: int, of: int) -> None:
    rows, seen, query = list(range(length)), list[int](), {"model": "a&b"}
    while True:
        page = paged(rows, query, of)
        seen += page.rows
        assert page.count == length
        if not page.after:
            break
        query = dict(parse_qsl(page.after.removeprefix("?")))
        assert query["model"] == "a&b"
    assert seen == rows


def test_a_short_list_needs_no_pages_and_a_shrunken_one_shows_its_last() -> None:
    assert paged([1, 2], {}, 50).place == ""
    page = paged(list(range(120)), {"page": "9"}, 50)
    assert (page.rows[0], page.place, page.after) == (100, "101 to 120 of 120", "")
    assert page.before == "?page=2"


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "٣", "9999999"])
def test_what_is_no_page_is_refused(text: str) -> None:
    with pytest.raises(BadQuery, match="page=2"):
        paged([], {"page": text}, 50)
