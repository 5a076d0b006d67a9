"""Asks NVIDIA's driver about its GPUs, call by call: what one of them does not tell is noted once and asked no more."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from telemetry.sidecar.machine.gpus import GpuProcess, GpuReading

GPUS = 16
"""GPUs of one machine that are asked about."""
PROCESSES = 128
XIDS = 64
# So many errors of one GPU are taken at one reading; the rest wait in the driver.
_XIDS_AT_ONCE = 16
OTHER = "other"

# What nvml.h calls its errors: this GPU, driver, binding or user does not have the call.
_NEVER = frozenset({2, 3, 4, 13, 25, 26})
_NOT_INITIALIZED = frozenset({1, 9, 18})
_LOST = frozenset({15, 16})
_TIMEOUT = 10

_CLOCKS = {"sm": 1, "memory": 2}
_ECC_KINDS = {"corrected": 0, "uncorrected": 1}
_ECC_AGGREGATE = 1
_RETIRED_KINDS = {"single_bit": 0, "double_bit": 1}
_REMAPPED_KINDS = ("corrected", "uncorrected", "pending", "failed")
_XID_CRITICAL = 0x8
_TEMPERATURE_OF_CHIP = 0
# What GPM tells from Hopper on, by its numbers.
_SM_ACTIVE, _TENSOR_ACTIVE, _DRAM_ACTIVE = 2, 5, 10
_GPM = (_SM_ACTIVE, _TENSOR_ACTIVE, _DRAM_ACTIVE)
_PLACES = ("dev/nvidiactl", "proc/driver/nvidia/version", "dev/dxg")


class DriverGone(Exception):
    """The driver cannot be asked any more, or not yet: it is to be opened anew."""


def has_driver(root: Path = Path("/")) -> bool:
    """Whether this machine shows a driver, which nothing is loaded to find out."""
    return any((root / place).exists() for place in _PLACES)


def load() -> Any:
    """Return NVIDIA's binding.

    Raises:
        ImportError: the package ``nvidia-ml-py`` is not installed.
    """
    return importlib.import_module("pynvml")


class Nvml:
    """The driver, opened.

    Args:
        library: NVIDIA's binding ``pynvml``.

    Raises:
        DriverGone: it cannot be opened.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        try:
            library.nvmlInit()
            count = min(GPUS, library.nvmlDeviceGetCount())
            handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        except library.NVMLError as error:
            raise DriverGone(str(error)) from error
        self._gpus = [_Gpu(library, index, handle) for index, handle in enumerate(handles)]

    def read(self) -> tuple[GpuReading, ...]:
        """Return how all GPUs are.

        Raises:
            DriverGone: the driver was unloaded or replaced.
        """
        return tuple(gpu.read() for gpu in self._gpus)

    def close(self) -> None:
        """Let go of the driver."""
        try:
            self._library.nvmlShutdown()
        except self._library.NVMLError:
            return


class _Gpu:
    """One GPU, and what it was found not to tell."""

    def __init__(self, library: Any, index: int, handle: Any) -> None:
        self._library = library
        self._index = index
        self._handle = handle
        self._unreadable: set[str] = set()
        self._is_reached = True
        self._failed = 0
        self._xids: Counter[str] = Counter()
        self._events: Any = None
        self._samples: list[Any] = []
        self._clock_call = "nvmlDeviceGetCurrentClocksEventReasons"
        self._uuid = str(self._ask("nvmlDeviceGetUUID") or "")
        self._name = str(self._ask("nvmlDeviceGetName") or "")

    def read(self) -> GpuReading:
        self._is_reached, self._failed = True, 0
        ask = self._ask
        used = ask("nvmlDeviceGetUtilizationRates")
        memory = ask("nvmlDeviceGetMemoryInfo")
        active = self._try("nvmlGpmMetricsGet", self._active) or {}
        self._try("nvmlEventSetWait_v2", self._take_events)
        clocks = {name: ask("nvmlDeviceGetClockInfo", clock) for name, clock in _CLOCKS.items()}
        return GpuReading(
            index=self._index,
            uuid=self._uuid,
            name=self._name,
            utilization=used.gpu / 100 if used else None,
            sm_active=active.get(_SM_ACTIVE),
            tensor_active=active.get(_TENSOR_ACTIVE),
            dram_active=active.get(_DRAM_ACTIVE),
            memory_bytes=memory.total if memory else None,
            memory_used_bytes=memory.used if memory else None,
            power_w=_thousandth(ask("nvmlDeviceGetPowerUsage")),
            power_limit_w=_thousandth(ask("nvmlDeviceGetEnforcedPowerLimit")),
            energy_j=_thousandth(ask("nvmlDeviceGetTotalEnergyConsumption")),
            temperature_c=ask("nvmlDeviceGetTemperature", _TEMPERATURE_OF_CHIP),
            clocks_hz={name: mhz * 1e6 for name, mhz in clocks.items() if mhz is not None},
            clock_events=self._clock_events(),
            ecc_errors=self._by_kind("nvmlDeviceGetTotalEccErrors", _ECC_KINDS, _ECC_AGGREGATE),
            remapped_rows=dict(zip(_REMAPPED_KINDS, ask("nvmlDeviceGetRemappedRows") or (), strict=False)),
            retired_pages=self._by_kind("nvmlDeviceGetRetiredPages", _RETIRED_KINDS, count=len),
            processes=self._processes(),
            xids=dict(self._xids),
            is_reached=self._is_reached,
            failed=self._failed,
            unreadable=tuple(sorted(self._unreadable)),
        )

    def _ask(self, call: str, *arguments: Any) -> Any:
        """Return what a call of the binding says of this GPU; None where it says nothing."""
        return self._try(call, lambda: getattr(self._library, call)(self._handle, *arguments))

    def _try(self, call: str, ask: Callable[[], Any]) -> Any:
        """Return what ``ask`` returns; None where it fails, and for ever where it can never succeed.

        Raises:
            DriverGone: nothing can be asked any more.
        """
        if call in self._unreadable:
            return None
        try:
            return ask()
        except AttributeError:  # a binding of before the call
            self._unreadable.add(call)
        except self._library.NVMLError as error:
            number = getattr(error, "value", None)
            if number in _NOT_INITIALIZED:
                raise DriverGone(str(error)) from error
            if number in _NEVER:
                self._unreadable.add(call)
            else:
                self._failed += 1
                self._is_reached = self._is_reached and number not in _LOST
        return None

    def _by_kind(
        self, call: str, kinds: dict[str, int], *arguments: Any, count: Callable[[Any], int] = int
    ) -> dict[str, int]:
        told = {kind: self._ask(call, number, *arguments) for kind, number in kinds.items()}
        return {kind: count(value) for kind, value in told.items() if value is not None}

    def _clock_events(self) -> int | None:
        """Return why the clocks are not higher, as bits; drivers before 535 have another name for it."""
        new, old = "nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"
        told = self._ask(self._clock_call)
        if told is None and self._clock_call == new and new in self._unreadable:
            self._unreadable.discard(new)
            self._clock_call = old
            told = self._ask(old)
        return None if told is None else int(told)

    def _processes(self) -> tuple[GpuProcess, ...] | None:
        found = self._ask("nvmlDeviceGetComputeRunningProcesses_v3")
        if found is None:
            return None
        # On some systems the driver lists processes and does not know their memory.
        return tuple(GpuProcess(process.pid, process.usedGpuMemory or 0) for process in found[:PROCESSES])

    def _active(self) -> dict[int, float]:
        """Return what GPM measured between the last reading and this one; nothing at the first."""
        library = self._library
        if not self._samples:
            if not library.nvmlGpmQueryDeviceSupport(self._handle).isSupportedDevice:
                self._unreadable.add("nvmlGpmMetricsGet")
                return {}
            self._samples = [library.nvmlGpmSampleAlloc(), library.nvmlGpmSampleAlloc()]
            library.nvmlGpmSampleGet(self._handle, self._samples[1])
            return {}
        self._samples.reverse()
        library.nvmlGpmSampleGet(self._handle, self._samples[1])
        wanted = library.c_nvmlGpmMetricsGet_t()
        wanted.version = library.NVML_GPM_METRICS_GET_VERSION
        wanted.numMetrics = len(_GPM)
        wanted.sample1, wanted.sample2 = self._samples
        for place, metric in enumerate(_GPM):
            wanted.metrics[place].metricId = metric
        library.nvmlGpmMetricsGet(wanted)
        told = (wanted.metrics[place] for place in range(len(_GPM)))
        return {metric.metricId: metric.value / 100 for metric in told if not metric.nvmlReturn}

    def _take_events(self) -> None:
        """Count the errors that the driver told of since the last reading, without waiting for any."""
        library = self._library
        if self._events is None:
            events = library.nvmlEventSetCreate()
            try:
                library.nvmlDeviceRegisterEvents(self._handle, _XID_CRITICAL, events)
            except library.NVMLError:
                library.nvmlEventSetFree(events)
                raise
            self._events = events
        for _ in range(_XIDS_AT_ONCE):
            try:
                event = library.nvmlEventSetWait_v2(self._events, 0)
            except library.NVMLError as error:
                if getattr(error, "value", None) == _TIMEOUT:
                    return
                raise
            xid = str(event.eventData)
            self._xids[xid if xid in self._xids or len(self._xids) < XIDS else OTHER] += 1


def _thousandth(value: float | None) -> float | None:
    return None if value is None else value / 1000
