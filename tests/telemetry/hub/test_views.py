"""Stored traces as JSON: everything in it is JSON, and hostile values stay values."""

from __future__ import annotations

import json
import math
from typing import Any

from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.hub.query import TraceQuery
from telemetry.hub.reader import StoredBatch, StoredTrace
from telemetry.hub.views import attributes_json, list_json, trace_json
from telemetry.span import Attributes, Event, Link
from tests.telemetry.hub.test_summary import summary_of
from tests.telemetry.hub.traces import (
    BATCH_SPAN,
    MS,
    OTHER_TRACE,
    ROOT,
    START_NS,
    TRACE,
    batch_spans,
    numbered,
    plain_span,
    request_spans,
)


def stored(**changes: Any) -> StoredTrace:
    (batch,) = batch_spans()
    trace = StoredTrace(
        TRACE, "", tuple(request_spans()), (StoredBatch(batch, (batch,)),), {TRACE: "request-1", OTHER_TRACE: ""}
    )
    return replace(trace, **changes)


def test_a_trace_says_who_rode_along_and_how_long_each_waited() -> None:
    answer = trace_json(stored())
    (batch,) = answer["batches"]
    assert batch["span_id"] == BATCH_SPAN
    assert [
        (m["request_id"], m["rows"], m["queue_wait_s"], m["is_this"], m["is_stored"]) for m in batch["members"]
    ] == [("request-1", 2, 0.006, True, True), ("request-2", 2, 0.001, False, True)]


def test_a_trace_says_where_its_time_went() -> None:
    answer = trace_json(stored())
    assert (answer["start_ns"], answer["duration_ns"], answer["request_id"]) == (START_NS, 100 * MS, "request-1")
    assert answer["covered_ratio"] == 1.0
    assert answer["parts"][0] == {"name": "gateway", "start_ns": START_NS, "duration_ns": 20 * MS, "share": 0.2}


def test_a_request_is_told_by_its_own_span_wherever_it_lies() -> None:
    caller = plain_span(TRACE, "9" * 16)
    assert trace_json(stored(spans=(caller, *request_spans())))["root_id"] == ROOT
    assert trace_json(stored(spans=(caller,)))["root_id"] == ""


def test_a_link_says_whether_it_leads_to_something_stored() -> None:
    linked = replace(plain_span(TRACE, "9" * 16), links=(Link(OTHER_TRACE, "8" * 16, {}), Link("d" * 32, "8" * 16, {})))
    (span,) = trace_json(stored(spans=(linked,)))["spans"]
    assert [link["is_stored"] for link in span["links"]] == [True, False]


def test_a_member_whose_trace_was_left_out_is_told_as_that() -> None:
    (batch,) = trace_json(stored(request_ids={TRACE: "request-1"}))["batches"]
    assert [member["is_stored"] for member in batch["members"]] == [True, False]


def test_a_batch_itself_has_no_parts_and_no_request() -> None:
    answer = trace_json(stored(trace_id="c" * 32, spans=tuple(batch_spans())))
    assert (answer["parts"], answer["covered_ratio"], answer["request_id"]) == ([], 0.0, "")
    assert [member["is_this"] for member in answer["batches"][0]["members"]] == [False, False]


def test_values_that_json_lacks_become_texts() -> None:
    odd: Attributes = {
        "nan": math.nan,
        "inf": -math.inf,
        "bytes": b"\xff",
        "large": 2**60,
        "deep": (1, (b"", True)),
        "true": True,
    }
    assert attributes_json(odd) == {
        "nan": "nan",
        "inf": "-inf",
        "bytes": "/w==",
        "large": str(2**60),
        "deep": [1, ["", True]],
        "true": True,
    }


def test_links_with_values_of_another_kind_than_ours_say_nothing() -> None:
    (batch,) = batch_spans()
    odd: Attributes = {Attribute.ROWS: "many", Attribute.QUEUE_WAIT_S: math.nan, Attribute.REQUEST_ID: 7}
    claimed = replace(batch, links=(Link(OTHER_TRACE, "9" * 16, odd),), events=(Event(1, "e", {"k": b""}),))
    answer = trace_json(stored(batches=(StoredBatch(claimed, (claimed,)),)))
    (member,) = answer["batches"][0]["members"]
    assert (member["rows"], member["queue_wait_s"], member["request_id"]) == (None, None, "")
    json.dumps(answer, allow_nan=False)


def test_a_page_of_the_list_tells_where_the_next_begins() -> None:
    found = [summary_of(numbered(number)) for number in (2, 1, 0)]
    page = list_json(found, TraceQuery(limit=2))
    assert [line["request_id"] for line in page["traces"]] == ["numbered-2", "numbered-1"]
    assert page["next"] == f"{found[1].start_ns}.{found[1].trace_id}"
    assert list_json(found, TraceQuery(limit=3))["next"] is None
