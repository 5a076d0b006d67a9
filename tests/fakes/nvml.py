"""A stand-in for NVIDIA's binding ``pynvml``: it answers each call as the test recorded it, or fails, or hangs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

NOT_INITIALIZED, NOT_SUPPORTED, TIMEOUT, DRIVER_NOT_LOADED, FUNCTION_NOT_FOUND = 1, 3, 10, 9, 13
GPU_IS_LOST, UNKNOWN = 15, 999

# One H100 at work, as its driver told of it.
H100 = {
    "nvmlDeviceGetUUID": "GPU-5b1d7a3e-0000-1111-2222-333344445555",
    "nvmlDeviceGetName": "NVIDIA H100 80GB HBM3",
    "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=100, memory=31),
    "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=85_520_809_984, free=64_424_509_440, used=21_096_300_544),
    "nvmlDeviceGetClockInfo": lambda clock: {1: 1980, 2: 2619}[clock],
    "nvmlDeviceGetCurrentClocksEventReasons": 0x4 | 0x20,
    "nvmlDeviceGetPowerUsage": 698_512,
    "nvmlDeviceGetEnforcedPowerLimit": 700_000,
    "nvmlDeviceGetTotalEnergyConsumption": 1_234_567_890,
    "nvmlDeviceGetTemperature": 71,
    "nvmlDeviceGetTotalEccErrors": lambda kind, counter: {(0, 1): 12, (1, 1): 1}[kind, counter],
    "nvmlDeviceGetRemappedRows": (1, 2, 0, 0),
    "nvmlDeviceGetComputeRunningProcesses_v3": [
        SimpleNamespace(pid=4242, usedGpuMemory=12_000_000_000),
        SimpleNamespace(pid=77, usedGpuMemory=None),
    ],
}
"""Answers by call; what is missing is not supported, as retired pages are not since Ampere."""


class FakeNvmlError(Exception):
    """An error as the binding raises it."""

    def __init__(self, value: int) -> None:
        super().__init__(f"NVML error {value}")
        self.value = value


class FakeNvml:
    """The binding.

    Args:
        answers: of each GPU, by call: a value, a function of the call's arguments, or an error to raise.
        has_gpm: the GPUs measure their multiprocessors.

    Attributes:
        asked: how often each call was made.
        xids: errors of each GPU that nobody has taken yet.
        active: percentages that GPM tells next, by its numbers.
        missing: calls that the binding does not have.
        hanging: while it is set, every call of a GPU waits for ``released``.
    """

    NVMLError = FakeNvmlError
    NVML_GPM_METRICS_GET_VERSION = 1

    def __init__(self, *answers: dict[str, Any], has_gpm: bool = True) -> None:
        self.answers = [dict(of_gpu) for of_gpu in answers]
        self.asked: Counter[str] = Counter()
        self.xids: list[list[int]] = [[] for _ in answers]
        self.active = {2: 37.5, 5: 20.0, 10: 55.0}
        self.missing: set[str] = set()
        self.opening_fails = 0
        self.is_open = False
        self.has_gpm = has_gpm
        self.hanging = threading.Event()
        self.waiting = threading.Event()
        self.released = threading.Event()

    def __getattr__(self, call: str) -> Callable[..., Any]:
        if call in self.__dict__.get("missing", ()) or not call.startswith(("nvml", "c_nvml")):
            raise AttributeError(call)
        own = getattr(type(self), f"on_{call}", None)
        return lambda *arguments: self._answer(call, own, arguments)

    def _answer(self, call: str, own: Callable[..., Any] | None, arguments: tuple[Any, ...]) -> Any:
        self.asked[call] += 1
        if own is not None:
            return own(self, *arguments)
        gpu, *others = arguments
        if self.hanging.is_set():
            self.waiting.set()
            self.released.wait()
        if not self.is_open:
            raise FakeNvmlError(NOT_INITIALIZED)
        answer = self.answers[gpu].get(call, FakeNvmlError(NOT_SUPPORTED))
        if isinstance(answer, Exception):
            raise answer
        return answer(*others) if callable(answer) else answer

    def on_nvmlInit(self) -> None:  # noqa: N802 - their names, here and below
        if self.opening_fails:
            raise FakeNvmlError(self.opening_fails)
        self.is_open = True

    def on_nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def on_nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.answers)

    def on_nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def on_nvmlGpmQueryDeviceSupport(self, _gpu: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(isSupportedDevice=int(self.has_gpm))

    def on_nvmlGpmSampleAlloc(self) -> list[int]:  # noqa: N802
        return []

    def on_nvmlGpmSampleGet(self, _gpu: int, sample: list[int]) -> None:  # noqa: N802
        sample.append(self.asked["nvmlGpmSampleGet"])

    def on_c_nvmlGpmMetricsGet_t(self) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(metrics=[SimpleNamespace(metricId=0, value=0.0, nvmlReturn=0) for _ in range(8)])

    def on_nvmlGpmMetricsGet(self, wanted: SimpleNamespace) -> None:  # noqa: N802
        assert wanted.sample1[-1] < wanted.sample2[-1], "the older sample comes first"
        for metric in wanted.metrics[: wanted.numMetrics]:
            metric.nvmlReturn = 0 if metric.metricId in self.active else NOT_SUPPORTED
            metric.value = self.active.get(metric.metricId, 0.0)

    def on_nvmlEventSetCreate(self) -> list[int]:  # noqa: N802
        return []

    def on_nvmlDeviceRegisterEvents(self, gpu: int, _types: int, events: list[int]) -> None:  # noqa: N802
        events.append(gpu)

    def on_nvmlEventSetFree(self, _events: list[int]) -> None:  # noqa: N802
        """Nothing is held."""

    def on_nvmlEventSetWait_v2(self, events: list[int], within_ms: int) -> SimpleNamespace:  # noqa: N802
        assert within_ms == 0
        waiting = self.xids[events[0]]
        if not waiting:
            raise FakeNvmlError(TIMEOUT)
        return SimpleNamespace(eventData=waiting.pop(0))
