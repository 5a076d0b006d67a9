"""Records become spans: the whole trace of a request, its batch, and what went wrong."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from telemetry.materialise import spans_of
from telemetry.records import (
    Attempt,
    BatchTimes,
    Frame,
    GatewayCopy,
    GatewayRequest,
    Member,
    Part,
    PodBatch,
    PodLoad,
    PodRequest,
    Record,
    Source,
    Stage,
    part_id,
)
from telemetry.span import Kind, Link, Span, Status

OFFSET_NS = 1_700_000_000_000_000_000
TRACE, ROOT, ATTEMPT, POD = "a" * 32, "b" * 16, "c" * 16, "d" * 12 + "0000"
BATCH = BatchTimes(
    batch_id=9,
    trace_id="e" * 32,
    span_id="f" * 16,
    sent_s=10.020,
    began_s=10.021,
    preprocess_s=0.001,
    inference_s=0.010,
    postprocess_s=0.002,
    ended_s=10.034,
    answered_s=10.035,
    row_count=4,
    request_count=2,
    runs=1,
    device_s=0.008,
)
REQUEST = GatewayRequest(
    trace_id=TRACE,
    span_id=ROOT,
    parent_id="",
    sampled=True,
    started_s=10.0,
    ended_s=10.040,
    method="POST",
    api="predict",
    status=200,
    reason="",
    request_id="r1",
    generation=3,
    tenant="demo",
    model="digits",
    version="1",
    arm="stable",
    outcome="good",
    attempts=(Attempt(ATTEMPT, "digits/1/0", 10.001, 10.039, status=200),),
)
POD_REQUEST = PodRequest(
    trace_id=TRACE,
    span_id=POD,
    parent_id=ATTEMPT,
    sampled=True,
    started_s=10.002,
    ended_s=10.037,
    endpoint="predict",
    status=200,
    reason="",
    request_id="r1",
    tenant="demo",
    row_count=1,
    cold=False,
    parts=(Part(0, 1, 10.003, BATCH, device_us=2000),),
)


def spans(record: Record) -> list[Span]:
    source = Source("penstock-pod", "digits/1", 7, "digits", "1", "0.1.0")
    return spans_of(Frame(1, source, OFFSET_NS, {}, ()), record)


def at(moment_s: float) -> int:
    return OFFSET_NS + round(moment_s * 1e9)


def test_a_request_is_a_server_span_with_a_client_span_per_attempt() -> None:
    root, attempt = spans(REQUEST)
    assert (root.name, root.kind, root.parent_id, root.status) == ("gateway.request", Kind.SERVER, "", Status.UNSET)
    assert (root.start_ns, root.end_ns) == (at(10.0), at(10.040))
    assert root.attributes == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "penstock.api": "predict",
        "penstock.request_id": "r1",
        "penstock.generation": 3,
        "penstock.tenant": "demo",
        "penstock.model": "digits",
        "penstock.version": "1",
        "penstock.arm": "stable",
        "penstock.outcome": "good",
    }
    assert (attempt.name, attempt.kind, attempt.parent_id) == ("gateway.forward", Kind.CLIENT, ROOT)
    assert attempt.attributes == {
        "penstock.attempt": 1,
        "penstock.pod": "digits/1/0",
        "http.response.status_code": 200,
    }


def test_a_grpc_call_has_the_names_that_opentelemetry_gives_to_calls() -> None:
    root = spans(replace(REQUEST, method="inference.GRPCInferenceService/ModelInfer"))[0]
    assert {name: told for name, told in root.attributes.items() if name.startswith(("rpc.", "http.request."))} == {
        "http.request.method": "POST",
        "rpc.system": "grpc",
        "rpc.service": "inference.GRPCInferenceService",
        "rpc.method": "ModelInfer",
    }


def test_a_second_attempt_says_that_it_is_one_and_the_first_why_it_failed() -> None:
    lost = Attempt("1" * 16, "digits/1/1", 10.001, 10.002, "no_pod_ready")
    _, first, second = spans(replace(REQUEST, attempts=(lost, *REQUEST.attempts)))
    assert (first.status, first.attributes["error.type"]) == (Status.ERROR, "no_pod_ready")
    assert second.attributes["http.request.resend_count"] == 1


@pytest.mark.parametrize(
    ("reason", "status", "error"),
    [("", 503, "503"), ("", 422, "422"), ("pod_lost", 0, "pod_lost"), ("client_gone", 0, ""), ("", 200, "")],
)
def test_an_attempt_is_an_error_if_the_pod_refused_or_was_lost(reason: str, status: int, error: str) -> None:
    attempt = Attempt(ATTEMPT, "digits/1/0", 10.001, 10.002, reason, status)
    span = spans(replace(REQUEST, attempts=(attempt,)))[1]
    assert (span.status is Status.ERROR, span.attributes.get("error.type", "")) == (bool(error), error)


def test_a_request_in_the_pod_has_its_wait_and_the_stages_of_its_batch() -> None:
    root, queue, preprocess, inference, postprocess = spans(POD_REQUEST)
    assert [span.name for span in (root, queue, preprocess, inference, postprocess)] == [
        "pod.request",
        "pod.queue",
        "pod.preprocess",
        "pod.inference",
        "pod.postprocess",
    ]
    assert root.parent_id == ATTEMPT
    assert {span.parent_id for span in (queue, preprocess, inference, postprocess)} == {POD}
    assert (queue.start_ns, queue.end_ns) == (at(10.003), at(10.020))
    assert (preprocess.start_ns, preprocess.end_ns) == (at(10.021), at(10.022))
    assert (inference.start_ns, inference.end_ns) == (at(10.022), at(10.032))
    assert (postprocess.start_ns, postprocess.end_ns) == (at(10.032), at(10.034))
    assert inference.attributes["penstock.device_s"] == 0.002
    assert inference.links == (Link(BATCH.trace_id, BATCH.span_id, {"penstock.batch.id": 9}),)


def test_a_batch_is_a_trace_of_its_own_linked_both_ways_with_its_members() -> None:
    member = Member(TRACE, POD, 0, "r1", 1, 0.017, 2500)
    (batch,) = spans(PodBatch(BATCH, (member,), "cpu", 3))
    inference = spans(POD_REQUEST)[3]
    assert (batch.name, batch.trace_id, batch.span_id, batch.parent_id) == (
        "pod.batch",
        BATCH.trace_id,
        BATCH.span_id,
        "",
    )
    assert (batch.start_ns, batch.end_ns) == (at(10.020), at(10.035))
    (link,) = batch.links
    assert (link.trace_id, link.span_id) == (inference.trace_id, inference.span_id)
    assert link.attributes == {
        "penstock.request_id": "r1",
        "penstock.rows": 1,
        "penstock.queue.wait_s": 0.017,
        "penstock.device_s": 0.0025,
    }
    assert (inference.links[0].trace_id, inference.links[0].span_id) == (batch.trace_id, batch.span_id)
    assert batch.attributes["penstock.queue.depth"] == 3


def test_a_request_that_never_ran_has_waited_until_its_end() -> None:
    refused = replace(
        POD_REQUEST, status=504, reason="deadline_exceeded", parts=(Part(0, 1, 10.003, None),), ended_s=10.5
    )
    root, queue = spans(refused)
    assert (root.status, root.message, root.attributes["error.type"]) == (
        Status.ERROR,
        "deadline_exceeded",
        "deadline_exceeded",
    )
    assert (queue.start_ns, queue.end_ns) == (at(10.003), at(10.5))


def test_a_batch_that_was_lost_is_linked_with_what_is_known_of_its_run() -> None:
    lost = replace(BATCH, began_s=0.0, ended_s=0.0, preprocess_s=0.0, inference_s=0.0, postprocess_s=0.0)
    request = replace(POD_REQUEST, status=502, reason="inference_lost", parts=(Part(0, 1, 10.003, lost),))
    _, queue, inference = spans(request)
    assert (queue.name, inference.name, inference.message) == ("pod.queue", "pod.inference", "inference_lost")
    assert (inference.start_ns, inference.end_ns) == (at(10.020), at(10.035))
    assert inference.links[0].span_id == lost.span_id
    (batch,) = spans(PodBatch(lost, (), "cpu", 0, "inference_lost"))
    assert (batch.status, batch.message) == (Status.ERROR, "inference_lost")


def test_the_stage_that_failed_is_the_last_one_that_ran() -> None:
    broke = replace(BATCH, postprocess_s=0.0, ended_s=10.032)
    failed = replace(POD_REQUEST, status=500, reason="handler_failed", parts=(Part(0, 1, 10.003, broke),))
    names = {span.name: span.message for span in spans(failed)}
    assert names == {
        "pod.request": "handler_failed",
        "pod.queue": "",
        "pod.preprocess": "",
        "pod.inference": "handler_failed",
    }


def test_among_rows_that_were_run_again_nobody_knows_the_stage() -> None:
    again = replace(
        POD_REQUEST, status=500, reason="handler_failed", parts=(Part(0, 1, 10.003, replace(BATCH, runs=3)),)
    )
    assert [span.name for span in spans(again)[1:] if span.message] == ["pod.inference"]


def test_a_handler_that_is_one_function_has_inference_alone() -> None:
    whole = replace(BATCH, preprocess_s=0.0, inference_s=0.013, postprocess_s=0.0)
    part = spans(replace(POD_REQUEST, parts=(Part(0, 1, 10.003, whole),)))
    assert [span.name for span in part] == ["pod.request", "pod.queue", "pod.inference"]


def test_a_refusal_of_the_callers_own_making_is_no_error_of_the_server() -> None:
    root = spans(replace(REQUEST, status=429, reason="rate_limited", version="", attempts=()))[0]
    assert (root.status, root.attributes["penstock.reason"]) == (Status.UNSET, "rate_limited")
    assert "error.type" not in root.attributes
    assert "penstock.arm" not in root.attributes


def test_a_caller_that_is_not_believed_is_linked() -> None:
    root = spans(replace(REQUEST, caller_trace=f"00-{'1' * 32}-{'2' * 16}-01"))[0]
    assert root.links == (Link("1" * 32, "2" * 16),)


def test_parts_have_ids_of_their_own() -> None:
    ids = {part_id(POD, part, stage) for part in range(300) for stage in Stage}
    assert len(ids) == 300 * len(Stage)
    assert all(len(span_id) == 16 and span_id[:12] == POD[:12] for span_id in ids)


def test_a_failed_load_says_why() -> None:
    (span,) = spans(PodLoad(TRACE, POD, 1.0, 3.0, "The handler failed.", "", 0.0))
    assert (span.name, span.status, span.message) == ("pod.load", Status.ERROR, "The handler failed.")


COPY = GatewayCopy(TRACE, ATTEMPT, ROOT, True, 10.05, 10.06, "r1", 3, "demo", "digits", "2", "dark", "p", 200, False)


def test_a_copy_is_below_the_request_that_was_copied_and_no_part_of_its_answer() -> None:
    (span,) = spans(COPY)
    assert (span.name, span.parent_id, span.kind, span.status) == ("gateway.shadow", ROOT, Kind.CLIENT, Status.UNSET)
    said = {key.removeprefix("penstock."): value for key, value in span.attributes.items()}
    assert (said["arm"], said["shadow"], said["version"], said["pod"]) == ("shadow", "dark", "2", "p")
    assert "shadow.repeat" not in said


def test_a_copy_that_fails_or_repeats_says_so() -> None:
    (failed,) = spans(replace(COPY, status=500))
    assert (failed.status, failed.attributes["error.type"]) == (Status.ERROR, "500")
    (lost,) = spans(replace(COPY, status=0, is_repeat=True))
    assert (lost.status, lost.attributes["error.type"]) == (Status.ERROR, "no_answer")
    assert lost.attributes["penstock.shadow.repeat"] is True
    assert "http.response.status_code" not in lost.attributes


def test_a_pod_s_request_says_which_shadow_it_is_a_copy_for() -> None:
    said = spans(replace(POD_REQUEST, shadow="dark"))[0].attributes
    assert (said["penstock.arm"], said["penstock.shadow"]) == ("shadow", "dark")
    assert "penstock.arm" not in spans(POD_REQUEST)[0].attributes
