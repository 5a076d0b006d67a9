"""Decides how GPUs are shown, from what their driver told a sidecar; what it does not tell is a dash."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from telemetry.hub.shown.axis import Bar, bar
from telemetry.hub.shown.fleet_answers import Line
from telemetry.hub.shown.formats import count, number, share, size, window
from telemetry.hub.shown.series import Series, Spark, grown, spark
from telemetry.machine_conventions import (
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

_HOUR_S = 3600.0

CLOCK_WORDS = {
    "gpu_idle": "nothing runs on it",
    "application_clocks": "clocks that somebody set",
    "software_power_cap": "it is at its power limit",
    "hardware_slowdown": "the hardware slows it: heat or power",
    "sync_boost": "it waits for the slowest of a group",
    "software_thermal": "it is hot: the driver slows it",
    "hardware_thermal": "it is too hot: the hardware slows it",
    "hardware_power_brake": "the power supply asks it to slow down",
    "display_clocks": "clocks of the display",
}
_HARMLESS_CLOCKS = frozenset({"gpu_idle", "application_clocks", "display_clocks"})


class GpuRow(Struct, frozen=True):
    """One GPU; what its driver does not tell is a dash."""

    index: str
    name: str
    uuid: str
    is_up: bool
    utilization: str
    sm_active: str
    sm_bar: Bar
    tensor_active: str
    dram_active: str
    memory: str
    memory_bar: Bar
    power: str
    energy: str
    temperature: str
    slowed: tuple[str, ...]
    is_slowed: bool
    errors: tuple[str, ...]
    processes: tuple[tuple[str, str], ...]
    unreadable: str
    spark: Spark | None


def no_gpus(pasts: Iterable[Series]) -> str:
    drivers = [past.latest(GPU_DRIVER_UP.name) for past in pasts]
    known = [each for each in drivers if each is not None]
    if not known:
        return "No GPU: NVIDIA’s driver is not on this machine. Models run on its processors."
    if not any(known):
        return "NVIDIA’s driver is here and does not answer: nothing is known of GPUs until it does."
    return "NVIDIA’s driver answers, and has no GPU."


def gpu_rows(past: Series) -> list[GpuRow]:
    return [_gpu_row(past, line) for line in past.lines(GPU_UP.name) if line.values and line.values[-1] is not None]


def _gpu_row(past: Series, line: Line) -> GpuRow:
    index = line.labels.get("gpu", "")

    def now(metric: str, **labels: str) -> float | None:
        return past.latest(metric, gpu=index, **labels)

    sm, used, whole = now(GPU_SM_ACTIVE.name), now(GPU_MEMORY_USED.name), now(GPU_MEMORY.name)
    reasons = [each.labels.get("reason", "") for each in past.lines(GPU_CLOCK_EVENT.name, gpu=index) if each.values[-1]]
    energy = past.line(GPU_ENERGY.name, gpu=index)
    drawn_j, steps = grown(energy.values) if energy is not None else (0.0, 0)
    watts, limit = now(GPU_POWER.name), now(GPU_POWER_LIMIT.name)
    celsius = now(GPU_TEMPERATURE.name)
    activity = past.line(GPU_SM_ACTIVE.name, gpu=index) or past.line(GPU_UTILIZATION.name, gpu=index)
    return GpuRow(
        index,
        line.labels.get("name", ""),
        line.labels.get("uuid", ""),
        bool(line.values[-1]),
        share(now(GPU_UTILIZATION.name)),
        share(sm),
        bar(0.0, sm or 0.0, 1.0),
        share(now(GPU_TENSOR_ACTIVE.name)),
        share(now(GPU_DRAM_ACTIVE.name)),
        f"{size(used)} of {size(whole)}",
        bar(0.0, used or 0.0, whole or 1.0),
        "–" if watts is None else f"{number(watts)} W" + (f" of {number(limit)} W" if limit is not None else ""),
        f"{number(drawn_j / _HOUR_S)} Wh in {window(steps * past.step_s)}" if steps else "–",
        "–" if celsius is None else f"{celsius:.0f} °C",
        tuple(CLOCK_WORDS.get(reason, reason.replace("_", " ")) for reason in reasons),
        any(reason not in _HARMLESS_CLOCKS for reason in reasons),
        tuple(_gpu_errors(past, index)),
        tuple(_gpu_processes(past, index)),
        ", ".join(each.labels.get("call", "") for each in past.lines(GPU_UNREADABLE.name, gpu=index)),
        spark(activity.values, "activity, from 0 to 100 %", 1.0) if activity is not None else None,
    )


def _gpu_errors(past: Series, index: str) -> list[str]:
    told = (
        (words, label, line)
        for metric, words, label in (
            (GPU_ECC_ERRORS.name, "{} errors of its memory (ECC): {}", "kind"),
            (GPU_REMAPPED_ROWS.name, "rows of memory remapped, {}: {}", "kind"),
            (GPU_RETIRED_PAGES.name, "pages of memory retired, {}: {}", "kind"),
            (GPU_XIDS.name, "Xid {}: {}", "xid"),
        )
        for line in past.lines(metric, gpu=index)
    )
    return [
        words.format(line.labels.get(label, "").replace("_", " "), count(round(line.values[-1])))
        for words, label, line in told
        if line.values[-1]
    ]


def _gpu_processes(past: Series, index: str) -> list[tuple[str, str]]:
    rows = []
    for line in past.lines(GPU_PROCESS_MEMORY.name, gpu=index):
        if line.values[-1] is not None:
            name = f"{line.labels.get('model', '')}/{line.labels.get('version', '')}"
            rows.append((name if line.labels.get("model") else "all others", size(line.values[-1])))
    return rows
