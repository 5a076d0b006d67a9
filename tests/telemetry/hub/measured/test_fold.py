"""What counters of gateway and sidecars mean to each version, from expositions as our own processes write them."""

from __future__ import annotations

import math

from telemetry.hub.measured.cells import Cell, Part, Shown
from telemetry.hub.measured.fold import (
    GATEWAY_WAIT,
    OF_A_SIDECAR,
    OF_THE_SUPERVISOR,
    OTHER,
    POD_QUEUE,
    POD_RESTARTS,
    attempts,
    few,
    of_a_pod,
    of_the_supervisor,
)
from telemetry.hub.measured.growth import growth

SUPERVISOR = """\
penstock_requests_total{model="m",version="1",tenant="a",code_class="2xx",reason=""} 5.0
penstock_requests_total{model="m",version="1",tenant="a",code_class="5xx",reason="pod_failed"} 2.0
penstock_requests_total{model="m",version="1",tenant="b",code_class="5xx",reason="pod_failed"} 1.0
penstock_request_duration_seconds_bucket{model="m",version="1",code_class="2xx",le="0.1"} 4.0
penstock_request_duration_seconds_bucket{model="m",version="1",code_class="2xx",le="+Inf"} 5.0 # {trace_id="t"} 0.4 9.0
penstock_request_duration_seconds_count{model="m",version="1",code_class="2xx"} 5.0
penstock_request_duration_seconds_sum{model="m",version="1",code_class="2xx"} 0.6
penstock_request_duration_seconds_bucket{model="m",version="1",code_class="5xx",le="+Inf"} 3.0
penstock_request_wait_seconds_bucket{model="m",tier="gold",le="+Inf"} 2.0
penstock_request_wait_seconds_sum{model="m",tier="gold"} 0.5
penstock_request_wait_seconds_bucket{model="m",tier="silver",le="+Inf"} 1.0
penstock_request_wait_seconds_sum{model="m",tier="silver"} 0.25
penstock_charged_device_seconds_total{model="m",version="1",tenant="a"} 1.5
penstock_charged_device_seconds_total{model="m",version="1",tenant="b"} 0.5
penstock_retries_total{outcome="other_pod"} 3.0
penstock_retries_total{outcome="no_budget"} 1.0
penstock_generation 4.0
"""
SIDECAR = """\
penstock_queue_wait_seconds_bucket{model="m",version="1",le="+Inf"} 4.0
penstock_queue_wait_seconds_sum{model="m",version="1"} 0.2
penstock_stage_duration_seconds_bucket{model="m",version="1",stage="inference",le="+Inf"} 2.0
penstock_stage_duration_seconds_sum{model="m",version="1",stage="inference"} 0.08
penstock_batch_rows_bucket{model="m",version="1",le="2.0"} 2.0
penstock_batch_rows_bucket{model="m",version="1",le="+Inf"} 2.0
penstock_pod_attempts_total{model="m",version="1",code_class="2xx",reason=""} 4.0
penstock_pod_attempts_total{model="m",version="1",code_class="5xx",reason="handler_failed"} 1.0
penstock_device_busy_seconds_total{model="m",version="1",device="cpu"} 0.09
penstock_inference_restarts_total{model="m",version="1"} 1.0
"""


def test_what_the_gateway_counts_is_told_by_version() -> None:
    happened = of_the_supervisor(growth(None, OF_THE_SUPERVISOR.read(SUPERVISOR, 10.0, "a")))
    found = happened.cells["m", "1"]
    assert found == Cell(
        by_class={"2xx": 5, "5xx": 3},
        reasons={"pod_failed": 3},
        took=((0.0, 0.1, 4), (0.1, math.inf, 1)),
        took_s=0.6,
        device_s=2.0,
        exemplars=(Shown(9.0, 0.4, "t", "2xx"),),
    )
    assert happened.cells["m", ""] == Cell(parts={GATEWAY_WAIT: Part(0.75, 3)})
    assert happened.mesh == {"retries": 4}


def test_what_a_pod_did_is_told_with_how_long_it_was_there() -> None:
    now = OF_A_SIDECAR.read(SIDECAR, 10.0, "a")
    grown = growth(None, now)
    happened = of_a_pod(grown, now, 10.0)
    assert happened.cells == {
        ("m", "1"): Cell(
            parts={POD_QUEUE: Part(0.2, 4), "inference": Part(0.08, 2)},
            batches=((0.0, 2.0, 2),),
            busy_s=0.09,
            pod_s=10.0,
        )
    }
    assert happened.mesh == {POD_RESTARTS: 1}
    assert attempts(grown) == {"2xx": 4, "5xx": 1}


def test_a_pod_without_work_was_there_all_the_same() -> None:
    now = OF_A_SIDECAR.read(SIDECAR, 10.0, "a")
    assert of_a_pod(growth(now, now), now, 10.0).cells == {("m", "1"): Cell(pod_s=10.0)}


def test_of_too_many_versions_the_busiest_stay() -> None:
    cells = {("m", str(at)): Cell(by_class={"2xx": at}) for at in range(1, 6)}
    assert few(cells, 2) == {
        ("m", "5"): Cell(by_class={"2xx": 5}),
        ("m", "4"): Cell(by_class={"2xx": 4}),
        OTHER: Cell(by_class={"2xx": 6}),
    }
