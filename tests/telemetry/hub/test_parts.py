"""Where a request's time went: every moment of a whole trace is in a part, and what is not told is not made up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from telemetry.conventions import SpanName
from telemetry.hub.parts import Breakdown, TimePart, break_down, root_of
from telemetry.records import Attempt, Part
from telemetry.span import Span
from tests.telemetry.hub.traces import (
    ATTEMPT,
    BATCH,
    MS,
    POD_REQUEST,
    REQUEST,
    START_NS,
    gateway_spans,
    pod_spans,
    request_spans,
)


def broken_down(spans: list[Span], request_id: str = "") -> Breakdown:
    root = root_of(spans, request_id)
    assert root is not None
    return break_down(root, spans)


def lengths_ms(breakdown: Breakdown) -> dict[str, float]:
    return {part.name: part.duration_ns / MS for part in breakdown.parts}


def test_the_parts_of_a_whole_trace_cover_all_of_it_and_each_says_when_it_began() -> None:
    assert broken_down(request_spans()) == Breakdown(
        (
            TimePart("gateway", START_NS, 20 * MS, 0.20),
            TimePart("transport", START_NS + 10 * MS, 22 * MS, 0.22),
            TimePart("decode", START_NS + 12 * MS, 2 * MS, 0.02),
            TimePart("queue", START_NS + 14 * MS, 6 * MS, 0.06),
            TimePart("preprocess", START_NS + 30 * MS, 10 * MS, 0.10),
            TimePart("inference", START_NS + 40 * MS, 20 * MS, 0.20),
            TimePart("postprocess", START_NS + 60 * MS, 5 * MS, 0.05),
            TimePart("answer", START_NS + 65 * MS, 15 * MS, 0.15),
        ),
        1.0,
    )


def test_without_the_pods_spans_only_the_gateways_own_time_is_explained() -> None:
    breakdown = broken_down(gateway_spans())
    assert lengths_ms(breakdown) == {"gateway": 20}
    assert breakdown.covered_ratio == 0.2


def test_a_request_that_asked_the_pod_directly_is_explained_from_the_pods_spans() -> None:
    breakdown = broken_down(pod_spans())
    assert lengths_ms(breakdown)["transport"] == 10
    assert breakdown.covered_ratio == 1.0


def test_an_attempt_that_was_lost_is_a_part_of_its_own_and_the_next_one_is_explained_as_usual() -> None:
    lost = Attempt("9" * 16, "digits/1/1", 0.002, 0.008, "pod_unreachable")
    spans = [*gateway_spans(replace(REQUEST, attempts=(lost, *REQUEST.attempts))), *pod_spans()]
    breakdown = broken_down(spans)
    assert lengths_ms(breakdown)["lost attempt"] == 6
    assert lengths_ms(breakdown)["gateway"] == 14
    assert breakdown.covered_ratio == 1.0


def test_a_request_that_the_pod_refused_before_its_queue_was_only_decoded() -> None:
    refused = replace(POD_REQUEST, status=400, reason="bad_input", parts=())
    assert lengths_ms(broken_down([*gateway_spans(), *pod_spans(refused)])) == {
        "gateway": 20,
        "transport": 12,
        "decode": 68,
    }


def test_a_clock_that_is_ahead_moves_nothing_out_of_the_attempt() -> None:
    late = replace(POD_REQUEST, started_s=0.052, ended_s=0.120, parts=())
    breakdown = broken_down([*gateway_spans(), *pod_spans(late)])
    assert lengths_ms(breakdown) == {"gateway": 20, "transport": 42, "decode": 38}
    assert breakdown.covered_ratio == 1.0


def test_two_parts_of_a_request_in_one_batch_are_counted_once() -> None:
    split = replace(POD_REQUEST, parts=(Part(0, 1, 0.014, BATCH), Part(1, 1, 0.016, BATCH)))
    breakdown = broken_down([*gateway_spans(), *pod_spans(split)])
    assert lengths_ms(breakdown)["inference"] == 20
    assert lengths_ms(breakdown)["queue"] == 6


def test_in_a_trace_of_two_requests_the_one_that_is_meant_is_explained() -> None:
    second = replace(REQUEST, span_id="5" * 16, request_id="second", started_s=0.2, ended_s=0.25, attempts=())
    spans = [*request_spans(), *gateway_spans(second)]
    assert lengths_ms(broken_down(spans, "second")) == {"gateway": 50}
    assert lengths_ms(broken_down(spans)) == lengths_ms(broken_down(request_spans()))


def test_a_request_without_duration_leaves_nothing_unexplained() -> None:
    assert broken_down(gateway_spans(replace(REQUEST, ended_s=0.0, attempts=()))) == Breakdown((), 1.0)


def test_a_trace_of_no_request_has_no_root() -> None:
    assert root_of([span for span in pod_spans() if span.name == SpanName.POD_QUEUE]) is None


moments = st.integers(0, 200)


@given(st.lists(st.tuples(moments, moments)))
def test_no_share_and_no_coverage_exceeds_the_whole_whatever_spans_claim(times: list[tuple[int, int]]) -> None:
    names = [SpanName.POD_QUEUE, SpanName.POD_PREPROCESS, SpanName.POD_INFERENCE, SpanName.POD_REQUEST]
    claimed = [
        replace(
            gateway_spans()[0],
            span_id=f"{at + 100:016x}",
            parent_id=ATTEMPT if at % 2 else POD_REQUEST.span_id,
            name=names[at % len(names)],
            start_ns=START_NS + first * MS,
            end_ns=START_NS + last * MS,
        )
        for at, (first, last) in enumerate(times)
    ]
    breakdown = broken_down([*request_spans(), *claimed])
    assert 0 <= breakdown.covered_ratio <= 1
    assert all(0 < part.share <= 1 and part.duration_ns > 0 for part in breakdown.parts)
