"""What is shown of GPUs."""

from __future__ import annotations

from telemetry.machine_conventions import (
    GPU_CLOCK_EVENT,
    GPU_DRIVER_UP,
    GPU_MEMORY,
    GPU_PROCESS_MEMORY,
    GPU_UNREADABLE,
    GPU_UP,
    GPU_UTILIZATION,
    GPU_XIDS,
)
from telemetry.sidecar.machine.gpus import CLOCK_REASONS, GpuProcess, GpuReading, GpuView, samples
from telemetry.sidecar.machine.processes import INFERENCE, Who
from telemetry.sidecar.samples import Sample

DIGITS = Who(INFERENCE, "digits", "1")


def nobody(_pid: int) -> None:
    return None


def processes(*shown: GpuProcess, alone: Who | None = None) -> dict[tuple[str, ...], object]:
    owners = {10: (10, DIGITS), 11: (10, DIGITS)}
    view = GpuView(True, (GpuReading(0, processes=shown),))
    told = samples(view, owners.get, alone)
    return {sample.labels: sample.value for sample in told if sample.metric == GPU_PROCESS_MEMORY}


def test_a_machine_without_a_driver_has_no_series() -> None:
    assert list(samples(GpuView(), nobody)) == []


def test_a_driver_that_does_not_answer_has_one() -> None:
    assert list(samples(GpuView(False), nobody)) == [Sample(GPU_DRIVER_UP, (), 0.0)]


def test_what_a_gpu_does_not_tell_has_no_series() -> None:
    told = list(samples(GpuView(True, (GpuReading(3, "GPU-1", "A100", memory_bytes=80.0),)), nobody))
    assert told == [
        Sample(GPU_DRIVER_UP, (), 1.0),
        Sample(GPU_UP, ("3", "GPU-1", "A100"), 1.0),
        Sample(GPU_MEMORY, ("3",), 80.0),
    ]


def test_each_reason_of_the_clocks_has_a_series_of_its_own() -> None:
    told = samples(GpuView(True, (GpuReading(0, clock_events=0x4 | 0x40),)), nobody)
    events = {sample.labels[1]: sample.value for sample in told if sample.metric == GPU_CLOCK_EVENT}
    assert set(events) == set(CLOCK_REASONS.values())
    assert {reason for reason, value in events.items() if value} == {"software_power_cap", "hardware_thermal"}


def test_a_lost_gpu_errors_and_what_it_does_not_tell_are_shown() -> None:
    gpu = GpuReading(0, is_reached=False, utilization=0.5, xids={"79": 2}, unreadable=("nvmlX",))
    told = {(sample.metric, sample.labels): sample.value for sample in samples(GpuView(True, (gpu,)), nobody)}
    assert told[GPU_UP, ("0", "", "")] == 0.0
    assert told[GPU_UTILIZATION, ("0",)] == 0.5
    assert told[GPU_XIDS, ("0", "79")] == 2.0
    assert told[GPU_UNREADABLE, ("0", "nvmlX")] == 1.0


def test_memory_is_put_down_to_inference_processes_with_what_they_started_and_the_rest_to_nobody() -> None:
    shown = processes(GpuProcess(10, 5), GpuProcess(11, 2), GpuProcess(98, 30), GpuProcess(99, 40))
    assert shown == {("0", "digits", "1", "10"): 7.0, ("0", "", "", ""): 70.0}


def test_a_gpu_s_only_process_that_nobody_knows_is_put_down_to_the_pod_that_has_one() -> None:
    assert processes(GpuProcess(98, 30), alone=DIGITS) == {("0", "digits", "1", "98"): 30.0}
    assert processes(GpuProcess(98, 30), GpuProcess(99, 1), alone=DIGITS) == {("0", "", "", ""): 31.0}
