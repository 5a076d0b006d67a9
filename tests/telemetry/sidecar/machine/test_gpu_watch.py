"""The thread that asks the driver: one that is missing, that comes later, that fails, and that hangs."""

from __future__ import annotations

import threading

import pytest

from telemetry.sidecar.machine.gpu_watch import AGAIN_AFTER_S, ANSWER_WITHIN_S, GpuWatch
from telemetry.sidecar.machine.gpus import GpuView
from tests.fakes.nvml import DRIVER_NOT_LOADED, H100, UNKNOWN, FakeNvml, FakeNvmlError

HEARD_WITHIN_S = 30.0


def watching(fake: FakeNvml) -> GpuWatch:
    return GpuWatch(has_driver=lambda: True, library=lambda: fake)


def test_a_machine_without_a_driver_is_told_nothing_of_and_loads_nothing() -> None:
    def load() -> FakeNvml:
        raise AssertionError("the binding was loaded")

    watch = GpuWatch(has_driver=lambda: False, library=load)
    watch.ask(0.0)
    assert watch.view(0.0) == GpuView(None, ())


def test_a_driver_that_comes_later_is_found() -> None:
    there = False
    watch = GpuWatch(has_driver=lambda: there, library=lambda: FakeNvml(H100))
    watch.ask(0.0)
    there = True
    watch.ask(5.0)
    assert [gpu.temperature_c for gpu in watch.view(5.0).gpus] == [71]


def test_one_that_cannot_be_opened_is_told_of_once_and_tried_again_later(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeNvml(H100)
    fake.opening_fails = DRIVER_NOT_LOADED
    watch = watching(fake)
    for now_s in (0.0, 5.0, AGAIN_AFTER_S, AGAIN_AFTER_S + 5.0):
        watch.ask(now_s)
        assert watch.view(now_s) == GpuView(False, ())
    assert fake.asked["nvmlInit"] == 2
    assert capsys.readouterr().err.count("the GPU driver cannot be asked") == 1
    fake.opening_fails = 0
    watch.ask(2 * AGAIN_AFTER_S)
    assert watch.view(2 * AGAIN_AFTER_S).is_answering


def test_one_that_is_replaced_under_way_is_opened_anew() -> None:
    fake = FakeNvml(H100)
    watch = watching(fake)
    watch.ask(0.0)
    fake.is_open = False
    watch.ask(5.0)
    assert watch.view(5.0) == GpuView(False, ())
    watch.ask(5.0 + AGAIN_AFTER_S)
    assert len(watch.view(5.0 + AGAIN_AFTER_S).gpus) == 1


def test_without_the_binding_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def load() -> FakeNvml:
        raise ImportError("no module named pynvml")

    watch = GpuWatch(has_driver=lambda: True, library=load)
    watch.ask(0.0)
    assert watch.view(0.0) == GpuView(False, ())
    assert "no module named pynvml" in capsys.readouterr().err


def test_a_binding_that_answers_nonsense_has_no_old_numbers_told_and_is_opened_anew() -> None:
    fake = FakeNvml(H100)
    watch = watching(fake)
    watch.ask(0.0)
    assert watch.view(0.0).is_answering
    fake.answers[0]["nvmlDeviceGetPowerUsage"] = "much"
    watch.ask(5.0)
    assert watch.view(5.0) == GpuView(False, ())
    fake.answers[0]["nvmlDeviceGetPowerUsage"] = 1000
    watch.ask(5.0 + AGAIN_AFTER_S)
    assert [gpu.power_w for gpu in watch.view(5.0 + AGAIN_AFTER_S).gpus] == [1.0]


def test_calls_that_fail_are_counted() -> None:
    watch = watching(FakeNvml({**H100, "nvmlDeviceGetTemperature": FakeNvmlError(UNKNOWN)}))
    watch.ask(0.0)
    watch.ask(5.0)
    assert watch.failures == 2


def test_while_it_hangs_old_numbers_go_and_they_come_back_with_its_answer(capsys: pytest.CaptureFixture[str]) -> None:
    fake = FakeNvml(H100)
    watch = watching(fake)
    watch.ask(0.0)
    fake.hanging.set()
    asking = threading.Thread(target=watch.ask, args=(5.0,), daemon=True)
    asking.start()
    assert fake.waiting.wait(HEARD_WITHIN_S)
    assert watch.view(5.0 + ANSWER_WITHIN_S).is_answering, "it may still answer in time"
    late_s = 5.0 + ANSWER_WITHIN_S + 0.1
    assert watch.view(late_s) == watch.view(late_s + 1.0) == GpuView(False, ())
    assert capsys.readouterr().err.count("has not answered") == 1
    fake.hanging.clear()
    fake.released.set()
    asking.join(HEARD_WITHIN_S)
    assert len(watch.view(late_s).gpus) == 1
