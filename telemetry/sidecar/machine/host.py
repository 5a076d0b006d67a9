"""Decides what is shown of the machine and of the control group that processes run in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from telemetry.conventions import Metric
from telemetry.machine_conventions import (
    GROUP_CPUS,
    GROUP_MEMORY,
    GROUP_MEMORY_LIMIT,
    GROUP_OOM_KILLS,
    GROUP_PRESSURE,
    GROUP_THROTTLED,
    HOST_AVAILABLE,
    HOST_CPU,
    HOST_CPUS,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_OOM_KILLS,
    HOST_PRESSURE,
    HOST_SWAP,
    STATE_DISK,
    STATE_DISK_FILES_FREE,
    STATE_DISK_FREE,
)
from telemetry.sidecar.machine.texts import Pressure
from telemetry.sidecar.samples import Sample

RESOURCES = ("cpu", "memory", "io")
LOADS_OVER = ("1m", "5m", "15m")


class Limits(Struct, frozen=True):
    """One control group; None is for what it does not tell or does not bound.

    Attributes:
        memory_bytes, memory_limit_bytes: of the group, or of one above it that is nearer its limit.
        throttled_s: held back for its share of the processors.
        pressure: by resource.
    """

    memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    oom_kills: int | None = None
    throttled_s: float | None = None
    cpus: float | None = None
    pressure: Mapping[str, Pressure] = {}


class Disk(Struct, frozen=True):
    """One file system, for whoever is not root.

    Attributes:
        files_free: None where the file system does not bound them.
    """

    size_bytes: int
    free_bytes: int
    files_free: int | None


class Host(Struct, frozen=True):
    """The machine; what could not be read is None or missing.

    Attributes:
        cpu_s: of all processors together, by mode.
        disk: of the state directory.
    """

    cpus: int
    cpu_s: Mapping[str, float] = {}
    loads: tuple[float, float, float] | None = None
    memory_bytes: int | None = None
    available_bytes: int | None = None
    swap_used_bytes: int | None = None
    oom_kills: int | None = None
    pressure: Mapping[str, Pressure] = {}
    disk: Disk | None = None


def samples_of_group(group: Limits) -> Iterator[Sample]:
    """Yield what a control group tells."""
    yield from _known(
        (GROUP_MEMORY, group.memory_bytes),
        (GROUP_MEMORY_LIMIT, group.memory_limit_bytes),
        (GROUP_OOM_KILLS, group.oom_kills),
        (GROUP_THROTTLED, group.throttled_s),
        (GROUP_CPUS, group.cpus),
    )
    yield from _pressed(GROUP_PRESSURE, group.pressure)


def samples_of_host(host: Host) -> Iterator[Sample]:
    """Yield what the machine tells."""
    yield Sample(HOST_CPUS, (), float(host.cpus))
    for mode, spent_s in host.cpu_s.items():
        yield Sample(HOST_CPU, (mode,), spent_s)
    for over, load in zip(LOADS_OVER, host.loads or (), strict=False):
        yield Sample(HOST_LOAD, (over,), load)
    yield from _known(
        (HOST_MEMORY, host.memory_bytes),
        (HOST_AVAILABLE, host.available_bytes),
        (HOST_SWAP, host.swap_used_bytes),
        (HOST_OOM_KILLS, host.oom_kills),
    )
    yield from _pressed(HOST_PRESSURE, host.pressure)
    if host.disk is not None:
        yield from _known(
            (STATE_DISK, host.disk.size_bytes),
            (STATE_DISK_FREE, host.disk.free_bytes),
            (STATE_DISK_FILES_FREE, host.disk.files_free),
        )


def _known(*values: tuple[Metric, float | None]) -> Iterator[Sample]:
    for metric, value in values:
        if value is not None:
            yield Sample(metric, (), float(value))


def _pressed(metric: Metric, pressure: Mapping[str, Pressure]) -> Iterator[Sample]:
    for resource, pressed in pressure.items():
        yield Sample(metric, (resource, "some"), pressed.some_s)
        if pressed.full_s is not None:
            yield Sample(metric, (resource, "full"), pressed.full_s)
