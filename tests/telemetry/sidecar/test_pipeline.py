"""The way of records and spans through the sidecar: what is kept, why, together with what, and what is left out."""

from __future__ import annotations

from msgspec.structs import replace

from policies.snapshot.slos import BurnAlert, Objective
from telemetry.conventions import (
    POD_ATTEMPTS,
    POD_SLO_BURN_RATE,
    SIDECAR_RECORDS,
    SIDECAR_REDACTED,
    SIDECAR_UNDECIDED,
    Attribute,
    SpanName,
)
from telemetry.otlp.decode import decode_protobuf
from telemetry.otlp.encode import encode_spans
from telemetry.records import GatewayRequest
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.export_queue import ExportQueue
from telemetry.sidecar.foreign import by_trace
from telemetry.sidecar.judgement import Kept
from telemetry.sidecar.kept import JOINED, Keep, KeepList, Keeps
from telemetry.sidecar.pipeline import Pipeline
from telemetry.sidecar.redaction import Redactor
from telemetry.sidecar.undecided import CAPACITY, HOLD_S, RECORDS_BYTES, SPANS_BYTES
from telemetry.span import Attributes, Kind, Span
from tests.telemetry.sidecar.recording import (
    GATEWAY,
    OUT_OF_SHARE,
    POD,
    WALL_OFFSET_NS,
    batch_times,
    gateway_copy,
    gateway_request,
    packet,
    pod_batch,
    pod_load,
    pod_request,
    span,
    trace,
)

WALL_S = WALL_OFFSET_NS / 1e9 + 51.0


class Under:
    """A pipeline under test, and what it exported."""

    def __init__(self, *, is_gateway: bool = False, exports: bool = True, is_heard: bool | None = None) -> None:
        self.drops = Drops()
        self.queue = ExportQueue(encode_spans, self.drops)
        self.is_heard = is_heard
        keep_list = KeepList(first=1) if is_gateway else None
        hearing = None if is_heard is None else lambda: bool(self.is_heard)
        self.redactor = Redactor()
        self.pipeline = Pipeline(self.redactor, self.queue if exports else None, self.drops, keep_list, hearing)

    def take(self, *packets: bytes, now_s: float = 0.0) -> None:
        for one in packets:
            self.pipeline.take_packet(one, now_s, WALL_S)

    def take_spans(self, *spans: Span, now_s: float = 0.0) -> None:
        self.pipeline.take_spans(by_trace(spans), now_s)

    def exported(self) -> list[Span]:
        """Return what was exported since the last time, as a receiver reads it."""
        spans: list[Span] = []
        while parcel := self.queue.next(0.0, is_ending=True):
            spans += decode_protobuf(parcel.body).spans
            self.queue.done()
        return spans

    def roots(self) -> dict[str, object]:
        """Return why each trace was kept, as its first span says."""
        return {s.trace_id: s.attributes[Attribute.KEPT] for s in self.exported() if Attribute.KEPT in s.attributes}

    def fates(self) -> dict[tuple[str, ...], object]:
        return {s.labels: s.value for s in self.pipeline.samples(WALL_S) if s.metric is SIDECAR_RECORDS}

    def lost(self) -> dict[tuple[str, ...], object]:
        return {sample.labels: sample.value for sample in self.drops.samples()}

    def undecided(self) -> object:
        return next(s.value for s in self.pipeline.samples(WALL_S) if s.metric is SIDECAR_UNDECIDED)


def handler_span(
    trace_id: str, parent_id: str = span(1), number: int = 9, attributes: Attributes | None = None
) -> Span:
    return Span(trace_id, f"{number:016x}", parent_id, "tokenise", Kind.INTERNAL, 1, 2, attributes=attributes or {})


def test_a_request_of_the_share_becomes_spans_that_say_why_they_are_kept() -> None:
    gateway = Under(is_gateway=True)
    gateway.take(packet(GATEWAY, gateway_request(1, sampled=True)))
    request, forward = gateway.exported()
    assert (request.name, forward.name) == (SpanName.GATEWAY_REQUEST, SpanName.GATEWAY_FORWARD)
    assert request.attributes[Attribute.KEPT] == "share"
    assert Attribute.KEPT not in forward.attributes
    assert gateway.fates() == {("gateway_requests", "share"): 1.0}


def test_the_gateway_s_sidecar_decides_at_once_and_lists_what_pods_cannot_know() -> None:
    gateway = Under(is_gateway=True)
    told = (gateway_request(1, sampled=True), gateway_request(2), gateway_request(3, status=503))
    gateway.take(packet(GATEWAY, *told))
    assert gateway.roots() == {trace(1): "share", trace(3): "error"}
    assert gateway.undecided() == 1.0
    gateway.pipeline.give_up(HOLD_S)
    assert gateway.fates()["gateway_requests", "left_out"] == 1.0
    assert gateway.lost() == {}
    assert gateway.pipeline.keeps_after(0, 0.0) == Keeps(2, (Keep(trace(3), Kept.ERROR),))


def test_a_pod_s_sidecar_has_no_list() -> None:
    assert Under().pipeline.keeps_after(0, 0.0) is None


def test_a_pod_s_request_waits_for_the_gateway_s_word() -> None:
    pod = Under()
    pod.take(packet(POD, pod_request(1), pod_request(2)))
    assert pod.roots() == {}
    pod.pipeline.take_keeps(Keeps(1, (Keep(trace(1), Kept.SLOW), Keep(trace(7), Kept.ERROR))), now_s=1.0)
    assert pod.roots() == {trace(1): "slow"}
    pod.take(packet(POD, pod_request(7)), now_s=2.0)
    assert pod.roots() == {trace(7): "error"}
    assert pod.undecided() == 1.0


def test_a_batch_is_kept_with_the_first_of_its_members_and_brings_no_other_along() -> None:
    times = batch_times(1)
    one, other = pod_request(1, batch=times), pod_request(2, batch=times)
    for order in ((one, other, pod_batch(times, one, other)), (pod_batch(times, one, other), other, one)):
        pod = Under()
        pod.take(packet(POD, *order))
        pod.pipeline.take_keeps(Keeps(1, (Keep(trace(1), Kept.ERROR),)), now_s=1.0)
        assert pod.roots() == {trace(1): "error", times.trace_id: "linked"}
        pod.take(packet(POD, replace(other, sampled=True)), now_s=2.0)
        assert pod.roots() == {trace(2): "share"}  # the batch is not kept twice


def test_a_batch_whose_member_was_kept_before_is_kept_at_once() -> None:
    times = batch_times(1)
    one = pod_request(1, sampled=True, batch=times)
    pod = Under()
    pod.take(packet(POD, one), packet(POD, pod_batch(times, one)))
    assert pod.roots() == {trace(1): "share", times.trace_id: "linked"}


def test_a_handler_s_spans_go_the_way_of_their_request_or_of_its_batch() -> None:
    times = batch_times(1)
    one = pod_request(1, batch=times)
    pod = Under()
    pod.take_spans(handler_span(trace(1)), handler_span(times.trace_id), handler_span(trace(2)))
    pod.take(packet(POD, one, pod_batch(times, one)))
    assert pod.exported() == []
    pod.pipeline.take_keeps(Keeps(1, (Keep(trace(1), Kept.ERROR),)), now_s=1.0)
    kept = pod.exported()
    assert {s.trace_id for s in kept if s.name == "tokenise"} == {trace(1), times.trace_id}
    pod.take_spans(handler_span(trace(1), number=10), now_s=2.0)
    assert [s.span_id for s in pod.exported()] == [f"{10:016x}"]
    assert pod.undecided() == 1.0


def test_a_trace_that_a_handler_begins_is_kept_within_a_share_of_its_own() -> None:
    pod = Under()
    pod.take_spans(handler_span(trace(1, OUT_OF_SHARE), parent_id=""))
    assert len(pod.exported()) == 1
    for number in range(100):
        pod.take_spans(handler_span(trace(number, OUT_OF_SHARE), parent_id=""))
    assert len(pod.exported()) < 100
    assert pod.undecided() == 101.0 - float(str(pod.fates()["spans", "share"]))


def test_what_nobody_speaks_for_is_left_out_where_the_gateway_is_heard_and_lost_where_it_is_not() -> None:
    pod = Under(is_heard=True)
    pod.take(packet(POD, pod_request(1)))
    pod.pipeline.give_up(HOLD_S - 0.1)
    assert pod.undecided() == 1.0
    pod.pipeline.give_up(HOLD_S)
    assert pod.fates() == {("pod_requests", "left_out"): 1.0}
    assert pod.lost() == {}
    pod.is_heard = False
    pod.take(packet(POD, pod_request(2)))
    pod.pipeline.give_up(2 * HOLD_S)
    assert pod.lost() == {("pod_requests", "undecided"): 1.0}
    assert pod.exported() == []


def test_a_pod_leaves_faults_to_a_gateway_that_is_heard_so_that_both_keep_their_half_or_neither() -> None:
    pod = Under(is_heard=True)
    direct = replace(pod_request(4, status=500), parent_id="")
    pod.take(packet(POD, pod_request(1, status=500), pod_request(2, status=500), pod_request(3, sampled=True), direct))
    assert pod.roots() == {trace(3): "share", trace(4): "error"}
    pod.pipeline.take_keeps(Keeps(1, (Keep(trace(1), Kept.BAD),)), now_s=1.0)
    assert pod.roots() == {trace(1): "bad"}
    pod.pipeline.give_up(HOLD_S)
    assert pod.roots() == {}
    assert pod.fates()["pod_requests", "left_out"] == 1.0


def test_a_pod_decides_by_itself_while_the_gateway_is_silent_and_for_what_it_waited_in_vain() -> None:
    times = batch_times(2)
    fault = pod_request(2, status=500, batch=times)
    for held_first in (True, False):
        pod = Under(is_heard=held_first)
        pod.take(packet(POD, pod_batch(times, fault), fault, pod_request(3)))
        pod.is_heard = False
        pod.pipeline.give_up(HOLD_S)
        assert pod.roots() == {trace(2): "error", times.trace_id: "linked"}
        assert pod.lost() == {("pod_requests", "undecided"): 1.0}


def test_where_there_is_no_gateway_to_ask_a_pod_decides_by_itself() -> None:
    pod = Under()
    pod.take(packet(POD, pod_request(1, status=500), pod_request(2)))
    assert pod.roots() == {trace(1): "error"}
    pod.pipeline.give_up(HOLD_S)
    assert pod.fates()["pod_requests", "left_out"] == 1.0


def test_at_the_end_everything_is_decided_on_and_counted() -> None:
    for is_heard in (True, False):
        pod = Under(is_heard=True)
        pod.take(packet(POD, pod_request(1), pod_request(2, status=500)))
        pod.take_spans(handler_span(trace(1)), handler_span(trace(9)))
        pod.is_heard = is_heard
        pod.pipeline.give_up(0.1, is_ending=True)
        assert pod.undecided() == 0.0
        counted = {("pod_requests", "left_out"): 2.0, ("spans", "left_out"): 2.0}
        lost = {("pod_requests", "undecided"): 1.0, ("spans", "undecided"): 2.0}
        assert pod.fates() == (counted if is_heard else {("pod_requests", "error"): 1.0})
        assert pod.lost() == ({} if is_heard else lost)


def with_trace(request: GatewayRequest, trace_id: str) -> GatewayRequest:
    return replace(request, trace_id=trace_id)


def test_requests_of_one_trace_are_kept_together_and_pods_are_told() -> None:
    gateway = Under(is_gateway=True)
    fault, before, after = gateway_request(1, status=500), gateway_request(2), gateway_request(3)
    gateway.take(packet(GATEWAY, with_trace(before, trace(1))), now_s=0.0)
    gateway.take(packet(GATEWAY, fault), now_s=HOLD_S / 2)
    gateway.take(packet(GATEWAY, with_trace(after, trace(1))), now_s=HOLD_S)
    assert gateway.fates() == {("gateway_requests", "error"): 3.0}
    assert gateway.pipeline.keeps_after(0, HOLD_S) == Keeps(2, (Keep(trace(1), Kept.ERROR),))


def test_a_request_that_is_kept_with_a_trace_of_the_share_is_told_to_pods_which_go_by_its_flag() -> None:
    gateway = Under(is_gateway=True)
    gateway.take(packet(GATEWAY, gateway_request(1, sampled=True)))
    assert gateway.pipeline.keeps_after(0, 0.0) == Keeps(1, ())
    gateway.take(packet(GATEWAY, with_trace(gateway_request(2), trace(1))))
    assert gateway.fates() == {("gateway_requests", "share"): 2.0}
    assert gateway.pipeline.keeps_after(0, 0.0) == Keeps(2, (Keep(trace(1), Kept.SHARE),))


def test_a_caller_that_puts_all_it_sends_into_one_trace_has_no_more_than_a_number_of_it_kept() -> None:
    gateway, pod = Under(is_gateway=True), Under(is_heard=True)
    gateway.take(packet(GATEWAY, gateway_request(1, status=500)))
    pod.pipeline.take_keeps(Keeps(1, (Keep(trace(1), Kept.ERROR),)), now_s=0.0)
    for number in range(2 * JOINED):
        gateway.take(packet(GATEWAY, with_trace(gateway_request(number), trace(1))))
        pod.take(packet(POD, replace(pod_request(number), trace_id=trace(1))))
    assert gateway.fates() == {("gateway_requests", "error"): 1.0 + JOINED, ("gateway_requests", "left_out"): JOINED}
    assert pod.fates() == {("pod_requests", "error"): JOINED, ("pod_requests", "left_out"): JOINED}


def test_a_handler_s_spans_wait_for_a_long_request() -> None:
    pod = Under(is_heard=True)
    pod.take_spans(handler_span(trace(1)), handler_span(trace(2)))
    for second in range(100):
        pod.pipeline.give_up(float(second))
    pod.take(packet(POD, pod_request(1, sampled=True), pod_request(2)), now_s=100.0)
    assert {s.trace_id for s in pod.exported() if s.name == "tokenise"} == {trace(1)}
    pod.pipeline.give_up(100.0 + HOLD_S)
    assert pod.undecided() == 0.0
    assert pod.fates()["spans", "left_out"] == 1.0


def test_what_others_send_is_bounded_by_its_bytes() -> None:
    pod = Under(is_heard=True)
    large: Attributes = {f"k{number}": "x" * 1000 for number in range(60)}
    for number in range(2 * SPANS_BYTES // 60_000):
        pod.take_spans(handler_span(trace(number), attributes=large))
    held = float(str(pod.undecided()))
    assert 0 < held * 60_000 <= SPANS_BYTES
    assert float(str(pod.lost()["spans", "no_room"])) + held == 2 * SPANS_BYTES // 60_000


def test_large_records_are_bounded_by_their_bytes() -> None:
    pod = Under(is_heard=True)
    large = replace(pod_request(1), reason="x" * 100_000)
    for number in range(2 * RECORDS_BYTES // 100_000):
        pod.take(packet(POD, replace(large, trace_id=trace(number))))
    assert float(str(pod.undecided())) * 100_000 <= RECORDS_BYTES
    assert ("pod_requests", "no_room") in pod.lost()


def test_a_gateway_that_cannot_hold_more_has_left_out_and_not_lost() -> None:
    gateway = Under(is_gateway=True)
    for start in range(0, CAPACITY + 64, 64):
        gateway.take(packet(GATEWAY, *(gateway_request(number) for number in range(start, start + 64))))
    assert gateway.lost() == {}
    assert float(str(gateway.undecided())) <= CAPACITY
    assert float(str(gateway.fates()["gateway_requests", "left_out"])) >= 64.0


def test_beyond_what_can_be_held_the_oldest_is_lost_and_counted() -> None:
    pod = Under()
    for start in range(0, CAPACITY + 64, 64):
        pod.take(packet(POD, *(pod_request(number) for number in range(start, start + 64))))
    assert pod.lost() == {("pod_requests", "no_room"): 64.0}
    assert pod.undecided() == float(CAPACITY)


def test_everything_is_counted_whatever_is_kept_and_also_where_nothing_is_exported() -> None:
    for pod in (Under(), Under(exports=False)):
        pod.take(packet(POD, pod_request(1), pod_request(2, sampled=True), pod_load(3)), b"not a frame")
        attempts = [s.value for s in pod.pipeline.samples(WALL_S) if s.metric is POD_ATTEMPTS]
        assert attempts == [2.0]
        assert pod.lost() == {("packets", "bad"): 1.0}


def test_what_a_recorder_lost_is_shown() -> None:
    gateway = Under(is_gateway=True)
    gateway.take(packet(GATEWAY, dropped={"ring_full": 4}))
    assert gateway.lost() == {("records", "ring_full"): 4.0}


def test_what_was_taken_out_of_others_spans_is_shown() -> None:
    pod = Under()
    pod.redactor.foreign([handler_span(trace(1), attributes={"secret": "4111"})])
    assert next(s.value for s in pod.pipeline.samples(WALL_S) if s.metric is SIDECAR_REDACTED) == 1.0


def test_a_copy_is_kept_with_the_request_that_was_copied_or_not_at_all() -> None:
    under = Under(is_gateway=True)
    under.take(packet(GATEWAY, gateway_request(1, status=500), gateway_request(2)))
    under.take(packet(GATEWAY, gateway_copy(1), gateway_copy(2, status=500), gateway_copy(3, sampled=True)))
    kept = {(span.trace_id, span.name) for span in under.exported()}
    assert kept == {
        (trace(1), SpanName.GATEWAY_REQUEST),
        (trace(1), SpanName.GATEWAY_FORWARD),
        (trace(1), SpanName.GATEWAY_SHADOW),
        (trace(3), SpanName.GATEWAY_SHADOW),
    }


def test_copies_burn_no_budget() -> None:
    under = Under()
    objective = Objective("fine", "us", 86400.0, 0.99, 500, alerts=(BurnAlert("page", "page", 14.4, 3600.0, 300.0),))
    under.pipeline.heed({"digits": (objective,)})
    under.take(packet(POD, pod_request(1), pod_request(2, status=500, shadow="dark")))
    rates = [sample.value for sample in under.pipeline.samples(WALL_S) if sample.metric is POD_SLO_BURN_RATE]
    assert rates == [0.0, 0.0]
