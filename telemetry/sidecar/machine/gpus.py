"""Decides what is shown of the GPUs, from what their driver told; what it does not tell is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from msgspec import Struct

from telemetry.conventions import Metric
from telemetry.machine_conventions import (
    GPU_CLOCK,
    GPU_CLOCK_EVENT,
    GPU_DRAM_ACTIVE,
    GPU_DRIVER_UP,
    GPU_ECC_ERRORS,
    GPU_ENERGY,
    GPU_MEMORY,
    GPU_MEMORY_USED,
    GPU_POWER,
    GPU_POWER_LIMIT,
    GPU_PROCESS_MEMORY,
    GPU_REMAPPED_ROWS,
    GPU_RETIRED_PAGES,
    GPU_SM_ACTIVE,
    GPU_TEMPERATURE,
    GPU_TENSOR_ACTIVE,
    GPU_UNREADABLE,
    GPU_UP,
    GPU_UTILIZATION,
    GPU_XIDS,
)
from telemetry.sidecar.machine.processes import Who
from telemetry.sidecar.samples import Sample

# Bits of nvmlDeviceGetCurrentClocksEventReasons, formerly "throttle reasons".
CLOCK_REASONS = {
    0x1: "gpu_idle",
    0x2: "application_clocks",
    0x4: "software_power_cap",
    0x8: "hardware_slowdown",
    0x10: "sync_boost",
    0x20: "software_thermal",
    0x40: "hardware_thermal",
    0x80: "hardware_power_brake",
    0x100: "display_clocks",
}


class GpuProcess(Struct, frozen=True):
    """One process on a GPU.

    Attributes:
        pid: as the driver sees it, which is outside of containers.
    """

    pid: int
    memory_bytes: int


class GpuReading(Struct, frozen=True):
    """One GPU as its driver told of it; None and what is missing was not told.

    Attributes:
        is_reached: False when the driver has lost the GPU, or it has to be reset.
        clocks_hz: by ``sm`` and ``memory``.
        clock_events: bits, as in ``CLOCK_REASONS``.
        ecc_errors, remapped_rows, retired_pages: by kind.
        processes: those that compute; None where the driver does not list them.
        xids: how often each error was told of since the sidecar started.
        failed: how many calls failed at this reading, and will be tried at the next.
        unreadable: names of the calls that this GPU does not answer.
    """

    index: int
    uuid: str = ""
    name: str = ""
    is_reached: bool = True
    utilization: float | None = None
    sm_active: float | None = None
    tensor_active: float | None = None
    dram_active: float | None = None
    memory_bytes: float | None = None
    memory_used_bytes: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    clocks_hz: Mapping[str, float] = {}
    clock_events: int | None = None
    ecc_errors: Mapping[str, int] = {}
    remapped_rows: Mapping[str, int] = {}
    retired_pages: Mapping[str, int] = {}
    processes: tuple[GpuProcess, ...] | None = None
    xids: Mapping[str, int] = {}
    failed: int = 0
    unreadable: tuple[str, ...] = ()


class GpuView(Struct, frozen=True):
    """What is known of all GPUs.

    Attributes:
        is_answering: whether the driver answers in time; None on a machine without one.
        gpus: empty while it does not answer.
    """

    is_answering: bool | None = None
    gpus: tuple[GpuReading, ...] = ()


Owner = Callable[[int], tuple[int, Who] | None]
"""Returns the inference process that a process is or belongs to; None for strangers."""


def samples(view: GpuView, owner: Owner, alone: Who | None = None) -> Iterator[Sample]:
    """Yield what is known of the GPUs.

    Args:
        alone: the pod to which a GPU's only process is put down where nobody owns it, since a container does not know
            the numbers that processes have outside of it; None where there is no such pod.
    """
    if view.is_answering is not None:
        yield Sample(GPU_DRIVER_UP, (), float(view.is_answering))
    for gpu in view.gpus:
        yield from _of_gpu(gpu)
        yield from _of_processes(str(gpu.index), gpu.processes, owner, alone)


def _of_gpu(gpu: GpuReading) -> Iterator[Sample]:
    index = str(gpu.index)
    yield Sample(GPU_UP, (index, gpu.uuid, gpu.name), float(gpu.is_reached))
    numbers: Sequence[tuple[Metric, float | None]] = (
        (GPU_UTILIZATION, gpu.utilization),
        (GPU_SM_ACTIVE, gpu.sm_active),
        (GPU_TENSOR_ACTIVE, gpu.tensor_active),
        (GPU_DRAM_ACTIVE, gpu.dram_active),
        (GPU_MEMORY, gpu.memory_bytes),
        (GPU_MEMORY_USED, gpu.memory_used_bytes),
        (GPU_POWER, gpu.power_w),
        (GPU_POWER_LIMIT, gpu.power_limit_w),
        (GPU_ENERGY, gpu.energy_j),
        (GPU_TEMPERATURE, gpu.temperature_c),
    )
    for metric, value in numbers:
        if value is not None:
            yield Sample(metric, (index,), float(value))
    if gpu.clock_events is not None:
        for bit, reason in CLOCK_REASONS.items():
            yield Sample(GPU_CLOCK_EVENT, (index, reason), float(bool(gpu.clock_events & bit)))
    by_kind: Sequence[tuple[Metric, Mapping[str, float]]] = (
        (GPU_CLOCK, gpu.clocks_hz),
        (GPU_ECC_ERRORS, gpu.ecc_errors),
        (GPU_REMAPPED_ROWS, gpu.remapped_rows),
        (GPU_RETIRED_PAGES, gpu.retired_pages),
        (GPU_XIDS, gpu.xids),
        (GPU_UNREADABLE, dict.fromkeys(gpu.unreadable, 1)),
    )
    for metric, values in by_kind:
        for kind, value in values.items():
            yield Sample(metric, (index, kind), float(value))


def _of_processes(
    index: str, processes: tuple[GpuProcess, ...] | None, owner: Owner, alone: Who | None
) -> Iterator[Sample]:
    """Yield the memory of our inference processes, and of all others together."""
    if processes is None:
        return
    owned: dict[tuple[str, str, str], int] = {}
    for process in processes:
        found = owner(process.pid)
        if found is None and alone is not None and len(processes) == 1:
            found = (process.pid, alone)
        name = ("", "", "") if found is None else (found[1].model, found[1].version, str(found[0]))
        owned[name] = owned.get(name, 0) + process.memory_bytes
    for name, memory_bytes in owned.items():
        yield Sample(GPU_PROCESS_MEMORY, (index, *name), float(memory_bytes))
