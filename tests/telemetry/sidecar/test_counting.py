"""Every record is counted, in a bounded number of series, and kept ones stand for their values."""

from __future__ import annotations

from msgspec.structs import replace

from telemetry.conventions import (
    BATCH_ROWS,
    COPY_DEVICE_SECONDS,
    DEVICE_SECONDS,
    MODEL_LOAD_SECONDS,
    POD_ATTEMPTS,
    POD_COPIES,
    QUEUE_WAIT_SECONDS,
    STAGE_DURATION_SECONDS,
    Metric,
)
from telemetry.records import Record
from telemetry.sidecar.counting import OTHER, PODS, SHADOWS, TENANTS, Counting
from telemetry.sidecar.histogram import Exemplar, Histogram
from tests.telemetry.sidecar.recording import (
    POD,
    WALL_OFFSET_NS,
    batch_times,
    frame,
    gateway_request,
    pod_batch,
    pod_load,
    pod_request,
)

DIGITS = ("digits", "1")


def counted(*records: Record) -> Counting:
    counting = Counting()
    for record in records:
        counting.count(POD, record)
    return counting


def values(counting: Counting, metric: Metric) -> dict[tuple[str, ...], float]:
    """Return numbers, or how many values a histogram has."""
    found = [sample for sample in counting.samples() if sample.metric is metric]
    return {s.labels: _total(s.value) if isinstance(s.value, Histogram) else s.value for s in found}


def _total(histogram: Histogram) -> float:
    return float(max(count for _, count, _ in histogram.cumulative()))


def exemplars(counting: Counting, metric: Metric) -> list[Exemplar]:
    histograms = [s.value for s in counting.samples() if s.metric is metric and isinstance(s.value, Histogram)]
    return [shown for histogram in histograms for _, _, shown in histogram.cumulative() if shown]


def test_answers_are_counted_by_their_class_and_reason() -> None:
    counting = counted(pod_request(1), pod_request(2), pod_request(3, status=507))
    assert values(counting, POD_ATTEMPTS) == {(*DIGITS, "2xx", ""): 2.0, (*DIGITS, "5xx", "broken"): 1.0}


def test_a_tenant_s_device_time_is_what_its_rows_were_charged() -> None:
    times = batch_times(1, row_count=4)
    one, other = pod_request(1, batch=times), pod_request(2, batch=times, tenant="umbrella")
    counting = counted(
        replace(one, parts=(replace(one.parts[0], device_us=5000),)),
        replace(other, parts=(replace(other.parts[0], device_us=15_000),)),
    )
    assert values(counting, DEVICE_SECONDS) == {(*DIGITS, "acme"): 0.005, (*DIGITS, "umbrella"): 0.015}


def test_every_part_waited_whether_it_ran_or_not() -> None:
    counting = counted(pod_request(1, batch=batch_times(1)), pod_request(2, status=503))
    assert values(counting, QUEUE_WAIT_SECONDS) == {DIGITS: 2.0}


def test_a_batch_is_counted_once_and_one_that_was_lost_took_no_stages() -> None:
    times = batch_times(1)
    counting = counted(pod_batch(times, pod_request(1)), pod_batch(replace(times, ended_s=0.0)))
    assert values(counting, BATCH_ROWS) == {DIGITS: 2.0}
    stages = {(*DIGITS, stage): 1.0 for stage in ("preprocess", "inference", "postprocess")}
    assert values(counting, STAGE_DURATION_SECONDS) == stages


def test_a_load_has_its_parts_unless_it_failed() -> None:
    assert values(counted(pod_load(1)), MODEL_LOAD_SECONDS) == {(*DIGITS, "handler"): 1.0, (*DIGITS, "process"): 2.0}
    assert values(counted(pod_load(1, "no weights")), MODEL_LOAD_SECONDS) == {}


def test_the_gateway_s_requests_are_counted_by_the_gateway() -> None:
    assert list(counted(gateway_request(1)).samples()) == []


def test_labels_are_bounded_and_what_is_beyond_is_still_counted() -> None:
    counting = counted(*(pod_request(n, batch=batch_times(n), tenant=f"tenant {n}") for n in range(TENANTS + 5)))
    of_tenants = values(counting, DEVICE_SECONDS)
    assert len(of_tenants) == TENANTS + 1
    assert abs(of_tenants[*DIGITS, OTHER] - 5 * 0.01) < 1e-9
    for number in range(PODS + 5):
        counting.count(replace(POD, version=str(number)), pod_request(1))
    assert values(counting, POD_ATTEMPTS)[OTHER, OTHER, "2xx", ""] == 5.0  # version 1 had been there


def test_a_kept_record_stands_for_its_values_at_its_time() -> None:
    times = batch_times(1)
    request = pod_request(1, batch=times)
    counting = counted(request, pod_batch(times, request))
    assert exemplars(counting, QUEUE_WAIT_SECONDS) == []
    counting.show(frame(POD), request)
    counting.show(frame(POD), pod_batch(times, request))
    (waited,) = exemplars(counting, QUEUE_WAIT_SECONDS)
    assert (waited.trace_id, waited.at_s) == (request.trace_id, WALL_OFFSET_NS / 1e9 + request.ended_s)
    assert {shown.trace_id for shown in exemplars(counting, STAGE_DURATION_SECONDS)} == {times.trace_id}
    assert values(counting, QUEUE_WAIT_SECONDS) == {DIGITS: 1.0}


def test_copies_are_counted_apart_from_attempts_and_are_no_tenant_s() -> None:
    counting = counted(pod_request(1, batch=batch_times(1)), pod_request(2, batch=batch_times(2), shadow="dark"))
    assert values(counting, POD_ATTEMPTS) == {(*DIGITS, "2xx", ""): 1.0}
    assert values(counting, POD_COPIES) == {(*DIGITS, "dark", "2xx", ""): 1.0}
    assert values(counting, DEVICE_SECONDS) == {(*DIGITS, "acme"): 0.01}
    assert values(counting, COPY_DEVICE_SECONDS) == {(*DIGITS, "dark"): 0.01}


def test_names_of_shadows_are_bounded() -> None:
    counting = counted(*(pod_request(number, shadow=f"s{number}") for number in range(SHADOWS + 2)))
    copies = values(counting, POD_COPIES)
    assert len(copies) == SHADOWS + 1
    assert copies[*DIGITS, OTHER, "2xx", ""] == 2.0
