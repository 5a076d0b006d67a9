"""How a trace is drawn: every span once, below its parent, whatever the spans say of each other."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from telemetry.conventions import Attribute, SpanName
from telemetry.hub.parts import TimePart
from telemetry.hub.shown.answers import Batch, Member, ShownSpan, SpanEvent, SpanLink, Trace
from telemetry.hub.shown.axis import Bar
from telemetry.hub.shown.formats import duration, share
from telemetry.hub.shown.waterfall import (
    DEPTHS,
    ROWS,
    ROWS_INSIDE,
    ROWS_OF_PAGE,
    Chip,
    batch_view,
    part_rows,
    trace_view,
    waterfall,
)
from tests.fakes.hub import ScriptedSource, mesh, request_id_of, requests

MS = 1_000_000
REQUEST_SPANS = [
    "gateway.request",
    "gateway.forward",
    "pod.request",
    "pod.queue",
    "pod.preprocess",
    "pod.inference",
    "pod.postprocess",
]


def span(span_id: str, parent_id: str = "", start_ms: int = 0, took_ms: int = 10, **changed: Any) -> ShownSpan:
    made = ShownSpan(span_id, parent_id, "work", "internal", "", "", start_ms * MS, took_ms * MS, "ok", "")
    return msgspec.structs.replace(made, **changed)


def member(number: int, waited_s: float | None, **changed: Any) -> Member:
    made = Member(f"t{number}", f"s{number}", f"r{number}", 1, waited_s, False, True)
    return msgspec.structs.replace(made, **changed)


def shown(number: int = 4) -> Trace:
    source = ScriptedSource(mesh(), requests(6))
    return msgspec.convert(asyncio.run(source.trace(request_id_of(number))), Trace)


def test_a_request_is_drawn_from_the_gateway_down() -> None:
    view = trace_view(shown())
    assert [row.name for row in view.waterfall.rows] == REQUEST_SPANS
    assert [row.depth for row in view.waterfall.rows] == [0, 1, 2, 3, 3, 3, 3]
    assert view.title == "digits/1"
    assert dict(view.facts)["status"] == "200"
    assert dict(view.facts)["spans"] == "7"
    assert view.covered == share(1.0)
    assert not view.is_error


def test_the_span_that_rode_in_a_batch_leads_to_it() -> None:
    view = trace_view(shown())
    (batch,) = view.batches
    by_name = {row.name: row for row in view.waterfall.rows}
    assert by_name["pod.inference"].chips == (Chip(batch.anchor, "batch of 12 rows, 3 requests"),)
    assert by_name["pod.inference"].links == ()  # its one link is the batch's, which is on the page
    assert by_name["pod.queue"].chips == ()


def test_the_members_of_a_batch_are_told_the_longest_wait_first() -> None:
    view = batch_view(shown().batches[0])
    assert [row.label for row in view.members] == ["req-0005", "req-0004", "req-0003"]
    assert [row.member.is_this for row in view.members] == [False, True, False]
    assert view.members[0].bar.x == "0.000%"
    waited = [float(row.bar.x[:-1]) + float(row.bar.width[:-1]) for row in view.members]
    assert all(abs(end - float(view.bar.x[:-1])) < 0.01 for end in waited)  # all waits end when the batch begins


def test_a_batch_of_which_little_is_known_is_drawn_all_the_same() -> None:
    batch = Batch("b", "bs", {}, 0, 0, (), (member(1, None, request_id=""),))
    view = batch_view(batch)
    assert view.title == "Batch of some rows, 1 request"
    assert (view.members[0].label, view.members[0].waited, view.members[0].bar) == ("t1", "–", Bar("0%", "0.000%"))
    assert view.inside is None
    nobody = msgspec.structs.replace(batch, members=(), attributes={Attribute.BATCH_ROWS: 1})
    assert batch_view(nobody).title == "Batch of 1 row, 0 requests"


def test_a_page_has_no_more_rows_than_a_browser_can_draw() -> None:
    own = tuple(span(f"s{at}") for at in range(ROWS + 500))
    inside = (span("bs", name=SpanName.POD_BATCH), *(span(f"i{at}", "bs") for at in range(200)))
    riders = tuple(member(at, at / 1000) for at in range(100))
    this = member(1000, 0.0, is_this=True)
    batches = tuple(Batch(f"b{at}", f"bs{at}", {}, 0, MS, inside, (*riders, this)) for at in range(32))
    view = trace_view(msgspec.structs.replace(shown(), spans=own, batches=batches))
    insides = [batch.inside.rows if batch.inside else () for batch in view.batches]
    assert len(view.waterfall.rows) + sum(len(batch.members) for batch in view.batches) + sum(map(len, insides)) == (
        ROWS_OF_PAGE
    )
    assert len(insides[0]) == ROWS_INSIDE
    assert len(view.batches) == 32
    assert all(len(batch.members) + batch.hidden_count == 101 for batch in view.batches)
    cut = next(batch for batch in view.batches if 0 < len(batch.members) < 101)
    assert cut.members[0].member.is_this


def test_what_happened_inside_a_batch_is_a_waterfall_of_its_own() -> None:
    spans = (span("bs", name=SpanName.POD_BATCH), span("x", "bs"))
    inside = batch_view(Batch("b", "bs", {}, 0, 10 * MS, spans, ())).inside
    assert inside is not None
    assert [row.span_id for row in inside.rows] == ["bs", "x"]


def test_spans_of_one_parent_are_in_the_order_in_which_they_began() -> None:
    rows = waterfall([span("c", "a", 6), span("b", "a", 2), span("a"), span("b2", "b", 3)]).rows
    assert [(row.span_id, row.depth) for row in rows] == [("a", 0), ("b", 1), ("b2", 2), ("c", 1)]
    assert [row.started for row in rows][1] == f"+{duration(0.002)}"
    assert rows[1].bar == Bar("12.500%", "62.500%")


def test_stages_that_began_at_once_are_in_the_order_of_a_requests_life() -> None:
    names = (SpanName.POD_POSTPROCESS, SpanName.POD_INFERENCE, SpanName.POD_PREPROCESS, SpanName.POD_QUEUE)
    tied = [span(f"{at}", "a", 3, took_ms=3 - at, name=name) for at, name in enumerate(names)]
    assert [row.name for row in waterfall([span("a"), *tied]).rows[1:]] == list(reversed(names))


def test_the_headline_is_the_requests_also_inside_its_callers_trace() -> None:
    trace = shown()
    start_ms, took_ms = trace.start_ns // MS - 5, trace.duration_ns // MS + 80
    wide = [
        span("c", start_ms=start_ms, took_ms=took_ms, name="caller", attributes={Attribute.TENANT: "of the caller"})
    ]
    length_ns = wide[0].duration_ns
    alone = trace_view(trace)
    inside = trace_view(
        msgspec.structs.replace(trace, spans=(*wide, *trace.spans), start_ns=wide[0].start_ns, duration_ns=length_ns)
    )
    assert (inside.title, inside.waterfall.rows[0].name) == (alone.title, "caller")
    told = dict(inside.facts)
    assert told.pop("inside a trace of") == duration(length_ns / 1e9)
    assert told | {"spans": ""} == dict(alone.facts) | {"spans": ""}


def test_a_trace_of_no_request_is_as_long_as_all_of_its_spans() -> None:
    trace = Trace("t", "", 0, 50 * MS, (span("a"), span("b", "a", 40)), (), (), 0.0)
    facts = dict(trace_view(trace).facts)
    assert facts["duration"] == duration(0.05)
    assert "inside a trace of" not in facts


def test_what_is_odd_about_a_span_is_said() -> None:
    spans = [span("a", start_ms=5), span("b", "a"), span("c", "gone"), span("d", "a", 6, dropped=3)]
    badges = {row.span_id: row.badges for row in waterfall(spans).rows}
    assert badges == {
        "a": (),
        "b": ("its clock is not its parent's",),
        "c": ("parent is not stored",),
        "d": ("3 left out",),
    }


def test_a_callers_span_above_the_gateways_is_not_missed() -> None:
    (row,) = waterfall([span("a", "the caller's", name=SpanName.GATEWAY_REQUEST)]).rows
    assert row.badges == ()


def test_links_elsewhere_and_events_are_shown() -> None:
    event = SpanEvent(1_800_000_000_000_001_000, "exception", {"exception.message": "no"})
    (row,) = waterfall([span("a", links=(SpanLink("elsewhere", "x"),), events=(event,))]).rows
    assert row.links == (SpanLink("elsewhere", "x"),)
    assert row.events[0].at == "08:00:00.000001"
    assert row.events[0].facts == (("exception.message", "no"),)


def test_a_trace_that_never_ends_is_drawn_up_to_a_bound() -> None:
    deep = [span(f"{at:04}", f"{at - 1:04}" if at else "", at) for at in range(ROWS + 5)]
    fall = waterfall(deep)
    assert (len(fall.rows), fall.hidden_count) == (ROWS, 5)
    assert max(row.depth for row in fall.rows) == DEPTHS


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(-1, 13), st.integers(0, 50), st.integers(0, 50)), min_size=1))
def test_every_span_is_drawn_once_whatever_it_calls_its_parent(drawn: list[tuple[int, int, int, int]]) -> None:
    spans = {own: span(f"{own}", f"{parent}", start, took) for own, parent, start, took in drawn}
    fall = waterfall(list(spans.values()))
    assert sorted(row.span_id for row in fall.rows) == sorted(f"{own}" for own in spans)
    depth = {row.span_id: row.depth for row in fall.rows}
    place = {row.span_id: at for at, row in enumerate(fall.rows)}
    for own, one in spans.items():
        parent = depth.get(one.parent_id)
        if depth[f"{own}"]:
            assert parent == depth[f"{own}"] - 1
            assert place[one.parent_id] < place[f"{own}"]


def test_parts_lie_side_by_side_and_what_none_explains_at_the_end() -> None:
    rows = part_rows([TimePart("queue", 0, MS, 0.25), TimePart("inference", MS, 2 * MS, 0.5)], 0.75)
    assert [(row.name, row.stage, row.bar) for row in rows] == [
        ("queue", "queue", Bar("0.000%", "25.000%")),
        ("inference", "inference", Bar("25.000%", "50.000%")),
        ("unexplained", "unexplained", Bar("75.000%", "25.000%")),
    ]
    assert rows[0].duration == duration(0.001)


def test_parts_that_overlap_share_the_bar() -> None:
    rows = part_rows([TimePart("queue", 0, MS, 1.0), TimePart("inference", 0, MS, 1.0)], 1.0)
    assert [row.bar for row in rows] == [Bar("0.000%", "50.000%"), Bar("50.000%", "50.000%")]


def test_a_trace_without_parts_explains_nothing() -> None:
    assert part_rows([], 0.0) == ()
