"""Decides how processes, devices, GPUs, the machine and costs are shown, from what sidecars and the gateway told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from telemetry.hub.shown.answers import Objective, Pod
from telemetry.hub.shown.axis import Bar, bar
from telemetry.hub.shown.costs import CostView, IdleRow, cost_view, idle_rows
from telemetry.hub.shown.fleet_answers import Line, Machine, MachineSidecar
from telemetry.hub.shown.formats import count, duration, number, share, size
from telemetry.hub.shown.gpus import GpuRow, gpu_rows, no_gpus
from telemetry.hub.shown.series import Series, Spark, grown, spark
from telemetry.machine_conventions import (
    DEVICE_BUSY,
    DEVICE_BUSY_SECONDS,
    GROUP_MEMORY,
    GROUP_MEMORY_LIMIT,
    GROUP_OOM_KILLS,
    GROUP_THROTTLED,
    HOST_AVAILABLE,
    HOST_CPU,
    HOST_CPUS,
    HOST_LOAD,
    HOST_MEMORY,
    HOST_OOM_KILLS,
    HOST_PRESSURE,
    LOOP_LAG,
    PROCESS_CPU,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT,
    STATE_DISK,
    STATE_DISK_FREE,
)

_IDLE_MODES = frozenset({"idle", "iowait", "steal"})
_THROTTLED = 0.05
"""Held back for more of the time than this, a control group is told apart."""


class ProcessRow(Struct, frozen=True):
    """One process; what was not read is a dash."""

    sidecar: str
    process: str
    model: str
    version: str
    cpu: str
    memory: str
    memory_spark: Spark | None
    descriptors: str
    lag: str
    memory_bytes: float


class DeviceRow(Struct, frozen=True):
    """How busy one pod keeps its device.

    Attributes:
        busy, bar: share of the last minute.
        idle: seconds of the shown time in which it did nothing, with its share.
    """

    sidecar: str
    model: str
    version: str
    device: str
    busy: str
    bar: Bar
    spark: Spark | None
    busy_s: str
    idle: str
    restarts: str
    load: str
    state: str


class GroupRow(Struct, frozen=True):
    """A control group, as the sidecar in it sees it."""

    sidecar: str
    memory: str
    bar: Bar
    oom_kills: str
    throttled: str
    is_bad: bool


class HostView(Struct, frozen=True):
    """The machine, as names and values; ``cpu`` is its curve."""

    facts: tuple[tuple[str, str], ...]
    cpu: Spark | None


class MachineView(Struct, frozen=True):
    """The page; ``gpus_sentence`` says why there are none, and ``over`` is the time that curves show, if any."""

    host: HostView | None
    gpus: tuple[GpuRow, ...]
    gpus_sentence: str
    devices: tuple[DeviceRow, ...]
    processes: tuple[ProcessRow, ...]
    groups: tuple[GroupRow, ...]
    costs: CostView | None
    idle: tuple[IdleRow, ...]
    starts: tuple[tuple[str, str, str, str, str], ...]
    silent: tuple[MachineSidecar, ...]
    over: str


def machine_view(told: Machine, model: str = "", price: float | None = None) -> MachineView:
    """Return the page.

    Args:
        model: a part of the name of models that alone are shown; "" for all, and for what is of none.
        price: of an hour of a device; None where nobody said.
    """
    heard = [(one.name, Series(one.machine)) for one in told.sidecars if one.machine is not None]
    whole = next((past for _, past in heard if past.line(HOST_CPUS.name) is not None), None)
    pods = {pod.name: pod for pod in told.pods}
    gpus = tuple(row for _, past in heard for row in gpu_rows(past))
    return MachineView(
        host=_host(whole) if whole is not None and not model else None,
        gpus=gpus if not model else (),
        gpus_sentence="" if gpus or model else no_gpus(past for _, past in heard),
        devices=tuple(row for name, past in heard for row in _device_rows(name, past, pods) if _meant(row, model)),
        processes=tuple(_processes(heard, model)),
        groups=tuple(row for name, past in heard for row in _group_rows(name, past)) if not model else (),
        costs=cost_view(told.costs, model, price) if told.costs is not None else None,
        idle=idle_rows([past for _, past in heard], model, price),
        starts=tuple(_start(objective) for objective in told.objectives if model.lower() in objective.model.lower()),
        silent=tuple(one for one in told.sidecars if one.machine is None),
        over=_over([past for _, past in heard]),
    )


def _meant(row: DeviceRow | ProcessRow, model: str) -> bool:
    return model.lower() in row.model.lower() if model else True


def _over(pasts: Sequence[Series]) -> str:
    steps = max((past.steps for past in pasts), default=0)
    return duration(max((past.step_s for past in pasts), default=0.0) * steps) if steps > 0 else ""


def _processes(heard: Sequence[tuple[str, Series]], model: str) -> list[ProcessRow]:
    rows = [row for name, past in heard for row in _process_rows(name, past)]
    return sorted((row for row in rows if _meant(row, model)), key=lambda row: (-row.memory_bytes, row.sidecar))


def _process_rows(sidecar: str, past: Series) -> list[ProcessRow]:
    rows = []
    for line in past.lines(PROCESS_RESIDENT.name):
        if line.values[-1] is None:
            continue
        who = {name: line.labels.get(name, "") for name in ("process", "model", "version")}
        modes = [past.rate(each) for each in past.lines(PROCESS_CPU.name, **who)]
        used = [each for each in modes if each is not None]
        memory_bytes = line.values[-1]
        descriptors = past.latest(PROCESS_OPEN_FDS.name, **who)
        rows.append(
            ProcessRow(
                sidecar,
                who["process"],
                who["model"],
                who["version"],
                f"{number(sum(used))} CPU" if used else "–",
                size(memory_bytes),
                spark(line.values, f"memory of {who['process']}"),
                count(round(descriptors)) if descriptors is not None else "–",
                duration(past.latest(LOOP_LAG.name, **who)),
                memory_bytes,
            )
        )
    return rows


def _device_rows(sidecar: str, past: Series, pods: Mapping[str, Pod]) -> list[DeviceRow]:
    rows = []
    for line in past.lines(DEVICE_BUSY_SECONDS.name):
        who = {name: line.labels.get(name, "") for name in ("model", "version", "device")}
        ratios = past.line(DEVICE_BUSY.name, **who)
        ratio = ratios.values[-1] if ratios is not None else None
        busy_s, steps = grown(line.values)
        wall_s = steps * past.step_s
        pod = pods.get(sidecar)
        rows.append(
            DeviceRow(
                sidecar,
                who["model"],
                who["version"],
                who["device"],
                share(ratio),
                bar(0.0, ratio or 0.0, 1.0),
                spark(ratios.values, "busy, from 0 to 100 %", 1.0) if ratios is not None else None,
                duration(busy_s) if steps else "–",
                f"{duration(max(0.0, wall_s - busy_s))} of {duration(wall_s)}" if steps else "–",
                count(pod.restarts) if pod is not None else "–",
                duration(pod.load_s) if pod is not None else "–",
                pod.state if pod is not None else "–",
            )
        )
    return rows


def _group_rows(sidecar: str, past: Series) -> list[GroupRow]:
    used, limit = past.latest(GROUP_MEMORY.name), past.latest(GROUP_MEMORY_LIMIT.name)
    if used is None:
        return []
    kills, throttled = past.latest(GROUP_OOM_KILLS.name), past.rate(past.line(GROUP_THROTTLED.name))
    return [
        GroupRow(
            sidecar,
            f"{size(used)} of {size(limit)}" if limit is not None else f"{size(used)}, no limit",
            bar(0.0, used, limit) if limit else bar(0.0, 0.0, 1.0),
            "–" if kills is None else count(round(kills)),
            "–" if throttled is None else share(throttled),
            bool(kills) or bool(throttled and throttled > _THROTTLED),
        )
    ]


def _host(past: Series) -> HostView:
    cpus = past.latest(HOST_CPUS.name)
    idle = [past.rate(line) for line in past.lines(HOST_CPU.name) if line.labels.get("mode") in _IDLE_MODES]
    every = [past.rate(line) for line in past.lines(HOST_CPU.name)]
    known, quiet = sum(each or 0.0 for each in every), sum(each or 0.0 for each in idle)
    memory, available = past.latest(HOST_MEMORY.name), past.latest(HOST_AVAILABLE.name)
    used = None if memory is None or available is None else memory - available
    loads = [number(past.latest(HOST_LOAD.name, over=over)) for over in ("1m", "5m", "15m")]
    disk, free = past.latest(STATE_DISK.name), past.latest(STATE_DISK_FREE.name)
    kills = past.latest(HOST_OOM_KILLS.name)
    facts = [
        ("Processors", "–" if cpus is None else f"{number(cpus)}"),
        ("Busy", share((known - quiet) / known) if known else "–"),
        ("Load over 1, 5, 15 min", ", ".join(loads)),
        (
            "Memory used",
            f"{size(used)} of {size(memory)}",
        ),
        ("Killed for want of memory", "–" if kills is None else count(round(kills))),
        ("Disk of the state free", f"{size(free)} of {size(disk)}"),
        *((f"Waited for {resource}", _pressure(past, resource)) for resource in ("cpu", "memory", "io")),
    ]
    return HostView(tuple(facts), _host_spark(past))


def _pressure(past: Series, resource: str) -> str:
    """Return the share of the last minute in which some task waited for a resource."""
    waited = past.rate(past.line(HOST_PRESSURE.name, resource=resource, kind="some"))
    return share(None if waited is None else min(1.0, waited))


def _host_spark(past: Series) -> Spark | None:
    every = [line for line in past.lines(HOST_CPU.name) if len(line.values) == past.steps + 1]
    ratios = [
        _busy_in_step([(line.labels.get("mode", ""), *_step(line, place)) for line in every])
        for place in range(past.steps)
    ]
    return spark(ratios, "processors busy, from 0 to 100 %", 1.0)


def _step(line: Line, place: int) -> tuple[float | None, float | None]:
    return line.values[place], line.values[place + 1]


def _busy_in_step(steps: Sequence[tuple[str, float | None, float | None]]) -> float | None:
    """Return the share of a step in which processors worked, from what each mode was before and after it."""
    grew = {mode: after - before for mode, before, after in steps if before is not None and after is not None}
    whole = sum(grew.values())
    return 1 - sum(grew.get(mode, 0.0) for mode in _IDLE_MODES) / whole if whole > 0 else None


def _start(objective: Objective) -> tuple[str, str, str, str, str]:
    ratio = objective.good / (objective.good + objective.bad) if objective.good + objective.bad else None
    return (objective.name, objective.model, objective.good_when, share(ratio), count(objective.bad))
