"""Reading the store: filters, pages, a trace by either id with its batch, and files that are no good."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.hub import reader
from telemetry.hub.hours import HOUR_S, HourName
from telemetry.hub.query import TraceQuery, parse, place
from telemetry.hub.reader import Patience, Reader, TooSlow
from telemetry.span import Link, Span
from tests.telemetry.hub.test_trace_files import NOW_S, nobody, write
from tests.telemetry.hub.traces import (
    BATCH_TRACE,
    MS,
    OTHER_TRACE,
    TRACE,
    batch_spans,
    gateway_spans,
    numbered,
    plain_span,
    pod_spans,
    request_spans,
)

COUNT = 60


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty requests in three files: every third refused, every fifth of another model."""
    directory = tmp_path_factory.mktemp("store")
    posts: list[tuple[list[Span], float]] = []
    for number in range(COUNT):
        changes = {"status": 503, "reason": "overloaded"} if number % 3 == 0 else {}
        model = {"model": "text"} if number % 5 == 0 else {}
        posts.append((numbered(number, **changes, **model), NOW_S + (number % 3) * HOUR_S))
    posts.append((batch_spans(), NOW_S))
    write(directory, posts)
    return directory


def numbers(directory: Path, **query: str) -> list[int]:
    found = Reader(directory, nobody).traces(parse({"limit": "1000", **query}))
    return [int(summary.request_id.removeprefix("numbered-")) for summary in found]


def test_the_newest_come_first_from_whatever_file(directory: Path) -> None:
    assert numbers(directory) == list(reversed(range(COUNT)))


def test_filters_narrow_the_list(directory: Path) -> None:
    every = list(reversed(range(COUNT)))
    assert numbers(directory, model="text") == [n for n in every if n % 5 == 0]
    assert numbers(directory, status="error") == [n for n in every if n % 3 == 0]
    assert numbers(directory, reason="overloaded", model="text") == [n for n in every if n % 15 == 0]
    assert numbers(directory, tenant="nobody") == []
    assert numbers(directory, min_ms="100", max_ms="100") == every
    assert numbers(directory, min_ms="100.1") == []
    assert numbers(directory, q="numbered-5") == [n for n in every if str(n).startswith("5")]
    assert numbers(directory, q=f"{8:032x}") == [7]
    assert numbers(directory, q="%") == []


def test_a_time_range_has_its_begin_and_not_its_end(directory: Path) -> None:
    everything = Reader(directory, nobody).traces(TraceQuery(limit=1000))
    since_ns, until_ns = everything[30].start_ns, everything[10].start_ns
    found = Reader(directory, nobody).traces(TraceQuery(since_ns=since_ns, until_ns=until_ns, limit=1000))
    assert found == everything[11:31]


def test_batches_are_listed_only_when_they_are_asked_for(directory: Path) -> None:
    (batch,) = Reader(directory, nobody).traces(parse({"name": "pod.batch"}))
    assert batch.trace_id == BATCH_TRACE
    assert Reader(directory, nobody).traces(parse({"q": BATCH_TRACE})) == [batch]


@settings(max_examples=20)
@given(limit=st.integers(1, COUNT + 5))
def test_pages_give_every_trace_once_and_in_order(directory: Path, limit: int) -> None:
    seen = []
    query = TraceQuery(limit=limit)
    while True:
        found = Reader(directory, nobody).traces(query)
        seen += [summary.request_id for summary in found[:limit]]
        if len(found) <= limit:
            break
        query = TraceQuery(limit=limit, after=place(found[limit - 1]))
    assert seen == [f"numbered-{number}" for number in reversed(range(COUNT))]


def test_a_trace_is_found_by_its_request_and_comes_with_its_batch(tmp_path: Path) -> None:
    write(tmp_path, [(gateway_spans(), NOW_S), (pod_spans(), NOW_S), (batch_spans(), NOW_S + HOUR_S)])
    stored = Reader(tmp_path, nobody).trace("request-1")
    assert stored is not None
    assert (stored.trace_id, stored.wanted_request) == (TRACE, "request-1")
    assert list(stored.spans) == sorted(request_spans(), key=lambda span: span.start_ns)
    assert [batch.span for batch in stored.batches] == batch_spans()
    assert stored.request_ids == {TRACE: "request-1", BATCH_TRACE: ""}


def test_a_batch_that_never_ran_is_found_from_its_side_alone(tmp_path: Path) -> None:
    write(tmp_path, [([*gateway_spans(), pod_spans()[0]], NOW_S), (batch_spans(), NOW_S)])
    stored = Reader(tmp_path, nobody).trace(TRACE)
    assert stored is not None
    assert [batch.span for batch in stored.batches] == batch_spans()


def test_a_batch_is_a_trace_that_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path, [(batch_spans(), NOW_S)])
    stored = Reader(tmp_path, nobody).trace(BATCH_TRACE)
    assert stored is not None
    assert [batch.span for batch in stored.batches] == batch_spans()
    assert stored.request_ids == {}


def test_a_callers_trace_that_was_not_gone_on_with_leads_to_the_request_that_links_to_it(tmp_path: Path) -> None:
    callers, link_batch = "d" * 32, "f" * 32
    root, *others = request_spans()
    spans = [replace(root, links=(Link(callers, "9" * 16, {}),)), *others]
    of_a_batch = replace(batch_spans()[0], trace_id=link_batch, links=(Link(OTHER_TRACE, "9" * 16, {}),))
    write(tmp_path, [(spans, NOW_S), ([of_a_batch], NOW_S)])
    stored = Reader(tmp_path, nobody).trace(callers)
    assert stored is not None
    assert (stored.trace_id, stored.wanted_request) == (TRACE, "")
    assert callers not in stored.request_ids
    assert Reader(tmp_path, nobody).trace(OTHER_TRACE) is None  # a batch tells little of a member that is not here


def test_the_beginning_of_an_id_is_enough_when_it_is_long_and_of_one_trace_only(tmp_path: Path) -> None:
    write(tmp_path, [(request_spans(), NOW_S), (numbered(1), NOW_S), (numbered(2), NOW_S + HOUR_S)])
    reading = Reader(tmp_path, nobody)
    by_trace, by_request = reading.trace(TRACE[:8]), reading.trace("request-")
    assert by_trace is not None
    assert by_request is not None
    assert (by_trace.trace_id, by_trace.wanted_request) == (TRACE, "")
    assert (by_request.trace_id, by_request.wanted_request) == (TRACE, "request-1")
    assert reading.trace(TRACE[:7]) is None
    assert reading.trace("numbered-") is None


def test_what_is_not_stored_is_not_found(directory: Path) -> None:
    assert Reader(directory, nobody).trace("f" * 32) is None
    assert Reader(directory, nobody).trace(OTHER_TRACE) is None
    assert Reader(directory, nobody).trace("") is None


def test_an_empty_store_has_no_traces(tmp_path: Path) -> None:
    assert Reader(tmp_path, nobody).traces(TraceQuery()) == []
    assert Reader(tmp_path, nobody).trace(TRACE) is None


def test_a_damaged_file_is_reported_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, [(numbered(1), NOW_S)])
    broken = HourName(NOW_S + HOUR_S)
    (tmp_path / str(broken)).write_bytes(b"no database at all" * 1000)
    suspects: list[HourName] = []
    found = Reader(tmp_path, lambda name, _: suspects.append(name)).traces(TraceQuery())
    assert [summary.request_id for summary in found] == ["numbered-1"]
    assert suspects == [broken]


def test_a_file_that_its_writer_has_just_made_is_empty(tmp_path: Path) -> None:
    write(tmp_path, [(numbered(1), NOW_S)])
    (tmp_path / str(HourName(NOW_S + HOUR_S))).touch()
    assert len(Reader(tmp_path, nobody).traces(TraceQuery())) == 1


def test_ten_thousand_traces_are_paged_through_without_holding_more_than_a_page(tmp_path: Path) -> None:
    count, limit = 10_000, 1000
    posts = [[span for number in range(at, at + 500) for span in numbered(number)] for at in range(0, count, 500)]
    write(tmp_path, [(post, NOW_S) for post in posts])
    stored = Reader(tmp_path, nobody)
    seen: list[str] = []
    after = None
    while True:
        tracemalloc.start()
        found = stored.traces(TraceQuery(limit=limit, after=after))
        _, most_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most_bytes < 16 * 2**20
        seen += [one.request_id for one in found[:limit]]
        if len(found) <= limit:
            break
        after = place(found[limit - 1])
    assert seen == [f"numbered-{number}" for number in reversed(range(count))]
    assert len(stored.traces(TraceQuery(limit=50, min_ns=10**12))) == 0
    assert [one.request_id for one in stored.traces(TraceQuery(q="numbered-77"))[:1]] == ["numbered-7799"]


def test_a_question_that_takes_too_long_is_broken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, [([span for number in range(3000) for span in numbered(number)], NOW_S)])
    monkeypatch.setattr(reader, "WITHIN_S", -1.0)
    with pytest.raises(TooSlow):
        Reader(tmp_path, nobody).traces(TraceQuery(min_ns=1000 * MS))


def test_a_request_id_that_others_name_opens_the_requests_own_trace(tmp_path: Path) -> None:
    claimed = {Attribute.REQUEST_ID: "request-1"}
    spoof = replace(plain_span("0" * 31 + "1", "9" * 16, "8" * 16), attributes=claimed)
    pod_only = [replace(span, trace_id="0" * 31 + "2") for span in pod_spans()]
    write(tmp_path, [([spoof], NOW_S), (pod_only, NOW_S), (request_spans(), NOW_S + HOUR_S)])
    stored = Reader(tmp_path, nobody).trace("request-1")
    assert stored is not None
    assert stored.trace_id == TRACE


def test_of_two_requests_with_one_id_the_newest_is_meant(tmp_path: Path) -> None:
    first, second = (replace(numbered(at)[0], attributes={Attribute.REQUEST_ID: "again"}) for at in (1, 2))
    write(tmp_path, [([second], NOW_S), ([first], NOW_S + HOUR_S)])
    stored = Reader(tmp_path, nobody).trace("again")
    assert stored is not None
    assert stored.trace_id == second.trace_id


def test_one_patience_is_for_all_questions_of_an_asker(tmp_path: Path) -> None:
    write(tmp_path, [(request_spans(), NOW_S)])
    patience = Patience()
    assert Reader(tmp_path, nobody).trace(TRACE, patience) is not None
    patience.end()
    with pytest.raises(TooSlow):
        Reader(tmp_path, nobody).trace(TRACE, patience)
    with pytest.raises(TooSlow):
        Reader(tmp_path, nobody).traces(TraceQuery(), patience)


def test_a_batch_comes_with_the_first_of_its_traces_spans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SPANS_OF_A_BATCH", 3)
    inner = [replace(plain_span(BATCH_TRACE, f"{at + 1:016x}", "e" * 16), start_ns=at) for at in range(10)]
    write(tmp_path, [(request_spans(), NOW_S), ([*inner, *batch_spans()], NOW_S)])
    for wanted in (TRACE, BATCH_TRACE):
        stored = Reader(tmp_path, nobody).trace(wanted)
        assert stored is not None
        (batch,) = stored.batches
        assert [span.span_id for span in batch.spans] == [inner[0].span_id, inner[1].span_id, batch.span.span_id]
        assert len(stored.spans) == (7 if wanted == TRACE else 11)
