"""What is read of GPUs, from a binding whose answers were recorded."""

from __future__ import annotations

from typing import Any

import pytest

from telemetry.sidecar.machine.gpus import GpuProcess, GpuReading
from telemetry.sidecar.machine.nvml import XIDS, DriverGone, Nvml
from tests.fakes.nvml import (
    DRIVER_NOT_LOADED,
    FUNCTION_NOT_FOUND,
    GPU_IS_LOST,
    H100,
    NOT_SUPPORTED,
    UNKNOWN,
    FakeNvml,
    FakeNvmlError,
)


def read(fake: FakeNvml) -> GpuReading:
    (reading,) = Nvml(fake).read()
    return reading


def test_a_gpu_tells_all_that_it_has_in_seconds_bytes_and_their_like() -> None:
    driver = Nvml(FakeNvml(H100))
    driver.read()  # what GPM measures is between two readings
    (reading,) = driver.read()
    assert reading == GpuReading(
        index=0,
        uuid="GPU-5b1d7a3e-0000-1111-2222-333344445555",
        name="NVIDIA H100 80GB HBM3",
        utilization=1.0,
        sm_active=0.375,
        tensor_active=0.2,
        dram_active=0.55,
        memory_bytes=85_520_809_984,
        memory_used_bytes=21_096_300_544,
        power_w=698.512,
        power_limit_w=700.0,
        energy_j=1_234_567.89,
        temperature_c=71,
        clocks_hz={"sm": 1.98e9, "memory": 2.619e9},
        clock_events=0x24,
        ecc_errors={"corrected": 12, "uncorrected": 1},
        remapped_rows={"corrected": 1, "uncorrected": 2, "pending": 0, "failed": 0},
        processes=(GpuProcess(4242, 12_000_000_000), GpuProcess(77, 0)),
        unreadable=("nvmlDeviceGetRetiredPages",),
    )


def test_the_first_reading_has_nothing_that_is_measured_between_two() -> None:
    assert read(FakeNvml(H100)).sm_active is None


def test_what_is_not_supported_is_asked_once_and_named() -> None:
    fake = FakeNvml({})
    driver = Nvml(fake)
    driver.read()
    asked = fake.asked["nvmlDeviceGetPowerUsage"]
    (reading,) = driver.read()
    assert asked == fake.asked["nvmlDeviceGetPowerUsage"] == 1
    assert "nvmlDeviceGetPowerUsage" in reading.unreadable
    assert (reading.power_w, reading.clocks_hz, reading.processes, reading.failed) == (None, {}, None, 0)


def test_one_call_that_is_not_supported_takes_nothing_else_away() -> None:
    reading = read(FakeNvml({**H100, "nvmlDeviceGetUtilizationRates": FakeNvmlError(NOT_SUPPORTED)}))
    assert reading.utilization is None
    assert reading.temperature_c == 71


def test_a_gpu_before_hopper_is_not_asked_for_what_gpm_measures() -> None:
    fake = FakeNvml(H100, has_gpm=False)
    driver = Nvml(fake)
    for _ in range(3):
        (reading,) = driver.read()
    assert "nvmlGpmMetricsGet" in reading.unreadable
    assert fake.asked["nvmlGpmQueryDeviceSupport"] == 1
    assert reading.sm_active is None


def test_of_what_gpm_measures_a_part_may_be_missing() -> None:
    fake = FakeNvml(H100)
    del fake.active[5]
    driver = Nvml(fake)
    driver.read()
    (reading,) = driver.read()
    assert (reading.sm_active, reading.tensor_active) == (0.375, None)


@pytest.mark.parametrize("is_in_binding", [True, False])
def test_an_older_driver_calls_the_reasons_of_clocks_otherwise(is_in_binding: bool) -> None:
    new, old = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
    answers: dict[str, Any] = {**H100, new: FakeNvmlError(FUNCTION_NOT_FOUND), old: 0x1}
    fake = FakeNvml(answers)
    fake.missing = set() if is_in_binding else {new}
    driver = Nvml(fake)
    for _ in range(2):
        (reading,) = driver.read()
        assert reading.clock_events == 1
        assert new not in reading.unreadable
    assert fake.asked[new] <= 1


def test_a_failure_for_once_is_counted_and_tried_again() -> None:
    fake = FakeNvml({**H100, "nvmlDeviceGetTemperature": FakeNvmlError(UNKNOWN)})
    driver = Nvml(fake)
    assert [driver.read()[0].failed for _ in range(2)] == [1, 1]
    fake.answers[0]["nvmlDeviceGetTemperature"] = 40
    (reading,) = driver.read()
    assert (reading.failed, reading.temperature_c, reading.is_reached) == (0, 40, True)


def test_a_gpu_that_fell_off_the_bus_is_not_reached_and_its_neighbour_is() -> None:
    lost = dict.fromkeys(H100, FakeNvmlError(GPU_IS_LOST))
    gone, well = Nvml(FakeNvml(lost, H100)).read()
    assert (gone.is_reached, gone.temperature_c) == (False, None)
    assert (well.is_reached, well.temperature_c) == (True, 71)


def test_xids_are_counted_by_number_over_readings_and_bounded() -> None:
    fake = FakeNvml(H100)
    driver = Nvml(fake)
    fake.xids[0] += [79, 31, 31]
    assert driver.read()[0].xids == {"79": 1, "31": 2}
    fake.xids[0] += [31]
    assert driver.read()[0].xids == {"79": 1, "31": 3}
    fake.xids[0] += range(1000, 1000 + 10 * XIDS)
    while fake.xids[0]:
        (reading,) = driver.read()
    assert len(reading.xids) <= XIDS + 1
    assert reading.xids["other"] == 10 * XIDS + 2 - XIDS
    assert sum(reading.xids.values()) == 4 + 10 * XIDS


def test_a_driver_that_does_not_open_or_is_unloaded_says_so() -> None:
    closed = FakeNvml(H100)
    closed.opening_fails = DRIVER_NOT_LOADED
    with pytest.raises(DriverGone):
        Nvml(closed)
    fake = FakeNvml(H100)
    driver = Nvml(fake)
    fake.is_open = False
    with pytest.raises(DriverGone):
        driver.read()
    driver.close()


def test_the_binding_has_every_name_that_is_asked_for() -> None:
    """A misspelt call would look like a GPU that does not tell."""
    pynvml = pytest.importorskip("pynvml")
    fake = FakeNvml(H100)
    driver = Nvml(fake)
    for _ in range(2):
        driver.read()
    driver.close()
    asked = {*fake.asked, "nvmlDeviceGetCurrentClocksThrottleReasons", "NVML_GPM_METRICS_GET_VERSION"}
    assert not {name for name in asked if not hasattr(pynvml, name)}
    numbers = {"NVML_GPM_METRIC_SM_UTIL": 2, "NVML_GPM_METRIC_ANY_TENSOR_UTIL": 5, "NVML_GPM_METRIC_DRAM_BW_UTIL": 10}
    numbers |= {"nvmlEventTypeXidCriticalError": 8, "NVML_CLOCK_SM": 1, "NVML_CLOCK_MEM": 2, "NVML_AGGREGATE_ECC": 1}
    numbers |= {"NVML_MEMORY_ERROR_TYPE_UNCORRECTED": 1, "NVML_ERROR_TIMEOUT": 10, "NVML_ERROR_NOT_SUPPORTED": 3}
    numbers |= {"NVML_ERROR_GPU_IS_LOST": 15, "NVML_ERROR_RESET_REQUIRED": 16, "NVML_ERROR_UNINITIALIZED": 1}
    assert {name: getattr(pynvml, name) for name in numbers} == numbers
