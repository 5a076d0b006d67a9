from __future__ import annotations

import pytest

from model_pod.engine.device import CudaDevice, DeviceNotThere, choose_device, gpu_id

TWO = (CudaDevice(0, 10), CudaDevice(1, 30))


@pytest.mark.parametrize(
    ("wanted", "device_type", "devices", "chosen"),
    [
        ("auto", None, (), "cpu"),
        ("auto", None, TWO, "cuda:1"),
        ("auto", "gpu", TWO, "cuda:1"),
        ("auto", "cpu", TWO, "cpu"),
        ("auto", None, (CudaDevice(0, 5), CudaDevice(1, 5)), "cuda:0"),
        ("cpu", "gpu", TWO, "cpu"),
        ("cuda", None, TWO, "cuda:1"),
        ("cuda:0", "cpu", TWO, "cuda:0"),
    ],
)
def test_the_chosen_device(wanted: str, device_type: str | None, devices: tuple[CudaDevice, ...], chosen: str) -> None:
    assert choose_device(wanted, device_type, devices) == chosen


@pytest.mark.parametrize(("wanted", "devices"), [("cuda:0", ()), ("cuda:2", TWO), ("gpu", TWO), ("cuda:x", TWO)])
def test_a_device_that_is_not_there_is_an_error(wanted: str, devices: tuple[CudaDevice, ...]) -> None:
    with pytest.raises(DeviceNotThere):
        choose_device(wanted, None, devices)


def test_handlers_know_the_cpu_by_no_number() -> None:
    assert (gpu_id("cpu"), gpu_id("cuda:3")) == (None, 3)
