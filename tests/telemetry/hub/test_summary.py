"""One line of the list of traces, from the spans that have a say in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.hub.summary import (
    HEADS_KEPT,
    STAGES_SHOWN,
    Outline,
    Stage,
    Summary,
    head_of,
    merged,
    outline_of,
    summarise,
)
from telemetry.span import Span, Status
from tests.telemetry.hub.traces import (
    BATCH_TRACE,
    MS,
    REQUEST,
    START_NS,
    TRACE,
    batch_spans,
    gateway_spans,
    plain_span,
    pod_spans,
    request_spans,
)


def summary_of(spans: list[Span]) -> Summary:
    return summarise(spans[0].trace_id, outline_of([head_of(span) for span in spans], 0))


def test_a_request_is_summed_up_by_its_gateways_span_and_its_stages() -> None:
    assert summary_of(request_spans()) == Summary(
        trace_id=TRACE,
        request_id="request-1",
        name="gateway.request",
        model="digits",
        version="1",
        tenant="acme",
        arm="stable",
        status="ok",
        http_status=200,
        reason="",
        outcome="good",
        start_ns=START_NS,
        duration_ns=100 * MS,
        span_count=7,
        batch_rows=4,
        kept="",
        stages=(
            Stage("gateway.forward", START_NS + 10 * MS, 80 * MS),
            Stage("pod.queue", START_NS + 14 * MS, 6 * MS),
            Stage("pod.preprocess", START_NS + 30 * MS, 10 * MS),
            Stage("pod.inference", START_NS + 40 * MS, 20 * MS),
            Stage("pod.postprocess", START_NS + 60 * MS, 5 * MS),
        ),
    )


def test_a_refused_request_says_why_and_is_an_error_when_it_was_not_the_callers_fault() -> None:
    ours = summary_of(gateway_spans(replace(REQUEST, status=503, reason="overloaded")))
    theirs = summary_of(gateway_spans(replace(REQUEST, status=429, reason="rate_limited")))
    assert (ours.status, ours.http_status, ours.reason) == ("error", 503, "overloaded")
    assert (theirs.status, theirs.http_status, theirs.reason) == ("ok", 429, "rate_limited")


def test_before_the_gateways_spans_come_the_pods_sum_it_up() -> None:
    early = summary_of(pod_spans())
    assert (early.name, early.request_id, early.model, early.tenant) == ("pod.request", "request-1", "digits", "acme")


def test_a_batch_is_named_as_one() -> None:
    batch = summary_of(batch_spans())
    assert (batch.trace_id, batch.name, batch.batch_rows, batch.request_id) == (BATCH_TRACE, "pod.batch", 4, "")


def test_a_trace_of_others_is_called_by_its_first_span_and_any_error_makes_it_one() -> None:
    failed = replace(plain_span(TRACE, "2" * 16, "1" * 16), status=Status.ERROR)
    summary = summary_of([plain_span(TRACE, "1" * 16, name="job"), failed])
    assert (summary.name, summary.status, summary.http_status) == ("job", "error", None)


def test_the_model_of_a_span_that_does_not_name_one_is_its_processes() -> None:
    span = replace(plain_span(TRACE, "1" * 16), resource={Attribute.MODEL: "digits"})
    assert summary_of([span]).model == "digits"


def test_a_value_of_another_kind_than_ours_is_not_taken_for_ours() -> None:
    odd = {Attribute.MODEL: 7, Attribute.HTTP_STATUS: True, Attribute.BATCH_ROWS: "4"}
    summary = summary_of([replace(plain_span(TRACE, "1" * 16), attributes=odd)])
    assert (summary.model, summary.http_status, summary.batch_rows) == ("", None, None)


def test_the_stages_of_a_request_in_very_many_parts_are_cut_off() -> None:
    queue = next(span for span in pod_spans() if span.name == "pod.queue")
    many = [replace(queue, span_id=f"{at:016x}") for at in range(STAGES_SHOWN + 5)]
    assert len(summary_of(many).stages) == STAGES_SHOWN


def outline(spans: list[Span]) -> Outline:
    return outline_of([head_of(span) for span in spans], len(spans))


@given(st.permutations([*request_spans(), *batch_spans(), plain_span(TRACE, "9" * 16, "8" * 16)]), st.data())
def test_an_outline_does_not_depend_on_how_spans_came(spans: list[Span], data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(spans) - 2))
    later = data.draw(st.integers(cut + 1, len(spans) - 1))
    parts = [outline(spans[:cut]), outline(spans[cut:later]), outline(spans[later:])]
    assert merged(merged(parts[2], parts[0]), parts[1]) == outline(spans)


def test_very_many_spans_leave_an_outline_short_and_the_root_in_it() -> None:
    queue = next(span for span in pod_spans() if span.name == "pod.queue")
    whole = outline(gateway_spans())
    for post in range(10):
        whole = merged(
            whole, outline([replace(queue, span_id=f"{post:08x}{at:08x}", start_ns=at) for at in range(100)])
        )
    assert len(whole.heads) == HEADS_KEPT
    summary = summarise(TRACE, whole)
    assert (summary.name, summary.request_id, summary.span_count) == ("gateway.request", "request-1", 1002)


def test_a_span_without_a_say_speaks_only_where_no_other_does() -> None:
    inner = plain_span(TRACE, "9" * 16, "8" * 16, name="inner")
    assert summary_of([inner, replace(inner, span_id="7" * 16, start_ns=1, name="first")]).name == "first"
    assert len(outline([inner, *gateway_spans()]).heads) == len(gateway_spans())


def test_only_gateway_and_pod_say_whose_request_a_trace_is() -> None:
    claimed = {Attribute.REQUEST_ID: "of somebody else"}
    spans = [replace(plain_span(TRACE, "9" * 16), attributes=claimed, start_ns=1), *gateway_spans()]
    assert summary_of(spans).request_id == "request-1"
    assert summary_of(spans[:1]).request_id == ""


def test_what_a_head_says_is_short() -> None:
    told = {Attribute.MODEL: "m" * 4096}
    assert len(summary_of([replace(plain_span(TRACE, "9" * 16), attributes=told)]).model) == 256
