"""The URL's query is read strictly: what is not understood is said, not ignored."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.query import SHOWN_AT_MOST, BadQuery, Place, TraceQuery, cursor, newest, parse, place
from tests.telemetry.hub.test_summary import summary_of
from tests.telemetry.hub.traces import START_NS, numbered


def test_every_filter_is_read_in_its_unit() -> None:
    query = {
        "model": "digits",
        "status": "error",
        "min_ms": "1.5",
        "max_ms": "20",
        "q": "abc",
        "since": "1800000000",
        "until": "1800000060",
        "limit": "7",
        "cursor": "5.abc",
        "tenant": "",
    }
    assert parse(query) == TraceQuery(
        equal=(("model", "digits"), ("status", "error")),
        min_ns=1_500_000,
        max_ns=20_000_000,
        q="abc",
        since_ns=START_NS,
        until_ns=START_NS + 60_000_000_000,
        limit=7,
        after=Place(5, "abc"),
    )


@pytest.mark.parametrize(
    "query",
    [
        {"modle": "digits"},
        {"status": "bad"},
        {"min_ms": "-1"},
        {"min_ms": "nan"},
        {"max_ms": "inf"},
        {"since": "yesterday"},
        {"until": "1e300"},
        {"limit": "0"},
        {"limit": "1001"},
        {"limit": "²"},
        {"cursor": "5"},
        {"cursor": "99999999999999999999.abc"},
        {"cursor": "x.abc"},
        {"limit": "000000001" + "9" * 100},
        {"cursor": "0" * 19 + "1" + "9" * 40 + ".x"},
        {"cursor": "1."},
        {"model": "m" * 300},
    ],
    ids=str,
)
def test_what_is_not_understood_is_said(query: dict[str, str]) -> None:
    with pytest.raises(BadQuery, match=r"\.$"):
        parse(query)


_TEXTS = st.one_of(
    st.text(), st.text("0123456789", max_size=60), st.from_regex(r"[0-9]{1,60}\.[a-f0-9]", fullmatch=True)
)


@given(st.dictionaries(st.sampled_from(["min_ms", "since", "limit", "cursor", "q"]), _TEXTS))
def test_no_query_fails_in_another_way_or_goes_beyond_a_bound(query: dict[str, str]) -> None:
    with suppress(BadQuery):
        parsed = parse(query)
        assert 1 <= parsed.limit <= SHOWN_AT_MOST
        bounds = (parsed.min_ns, parsed.since_ns, parsed.after.start_ns if parsed.after else None)
        assert all(bound is None or 0 <= bound < 2**63 for bound in bounds)


def test_a_cursor_names_the_place_of_its_trace() -> None:
    summary = summary_of(numbered(3))
    assert parse({"cursor": cursor(summary)}).after == place(summary)


def test_a_trace_that_two_files_know_is_listed_once() -> None:
    found = [summary_of(numbered(number)) for number in (1, 2, 1)]
    assert [summary.request_id for summary in newest(found, 10)] == ["numbered-2", "numbered-1"]
