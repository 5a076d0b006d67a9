"""One line of the list of traces, from the spans that have a say in it."""

from __future__ import annotations

from msgspec.structs import replace

from telemetry.conventions import Attribute
from telemetry.hub.summary import STAGES_SHOWN, Extent, Stage, Summary, is_head, summarise
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
    extent = Extent(
        len(spans),
        min(span.start_ns for span in spans),
        max(span.end_ns for span in spans),
        any(span.status is Status.ERROR for span in spans),
    )
    return summarise(spans[0].trace_id, extent, [span for span in spans if is_head(span)] or spans[:1])


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
