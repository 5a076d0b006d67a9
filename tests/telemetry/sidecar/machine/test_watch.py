"""What is shown of what was read, and when it is not any more."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from telemetry.machine_conventions import HOST_CPUS, LOOP_LAG, MACHINE_AGE
from telemetry.sidecar.account import PodAccount, State
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.machine.gpu_watch import GpuWatch
from telemetry.sidecar.machine.watch import STALE_S, MachineWatch
from telemetry.sidecar.samples import Sample
from tests.fakes.nvml import H100, UNKNOWN, FakeNvml, FakeNvmlError

ACCOUNT = PodAccount("digits", "1", State.READY, 0, 0, 0, 0.5, device="cuda:0", loop_lag_s=0.5)


def by_name(watch: MachineWatch, now_s: float | None = None) -> dict[str, list[Sample]]:
    shown: dict[str, list[Sample]] = {}
    for sample in watch.samples(time.monotonic() if now_s is None else now_s):
        shown.setdefault(sample.metric.name, []).append(sample)
    return shown


def watching(tmp_path: Path, drops: Drops) -> MachineWatch:
    """Return one on a machine without a driver."""
    return MachineWatch(tmp_path, True, drops, GpuWatch(has_driver=lambda: False))


def test_what_was_read_is_shown_until_it_is_old(tmp_path: Path) -> None:
    watch = watching(tmp_path, Drops())
    assert HOST_CPUS.name not in by_name(watch)
    asyncio.run(watch.read(0.0))
    assert HOST_CPUS.name in by_name(watch)
    late_s = time.monotonic() + STALE_S
    shown = by_name(watch, late_s)
    assert HOST_CPUS.name not in shown
    (age,) = shown[MACHINE_AGE.name]
    assert isinstance(age.value, float)
    assert age.value >= STALE_S


def test_the_last_hour_begins_with_the_first_reading(tmp_path: Path) -> None:
    watch = watching(tmp_path, Drops())
    asyncio.run(watch.read(0.0))
    names = {line.metric for line in watch.told().series}
    assert {"penstock_host_load", "penstock_state_disk_free_bytes", "penstock_process_cpu_seconds_total"} <= names
    assert "penstock_process_start_time_seconds" not in names


def test_gpus_are_told_of_and_their_failures_counted(tmp_path: Path) -> None:
    drops = Drops()
    fake = FakeNvml({**H100, "nvmlDeviceGetTemperature": FakeNvmlError(UNKNOWN)})
    gpus = GpuWatch(has_driver=lambda: True, library=lambda: fake)
    watch = MachineWatch(tmp_path, True, drops, gpus)
    watch.heed(ACCOUNT, 0.0)
    for now_s in (0.0, 5.0):
        gpus.ask(now_s)
        asyncio.run(watch.read(now_s))
    assert [sample.labels for sample in by_name(watch)["penstock_gpu_memory_bytes"]] == [("0",)]
    assert [(sample.labels, sample.value) for sample in drops.samples()] == [(("gpu_readings", "failed"), 2.0)]
    assert "penstock_gpu_power_watts" in {line.metric for line in watch.told().series}


def test_a_sidecar_that_does_not_tell_of_the_machine_asks_no_driver() -> None:
    asked = GpuWatch(has_driver=lambda: True, library=lambda: FakeNvml(H100))
    asked.ask(0.0)
    shown = by_name(MachineWatch(None, True, Drops(), asked))
    assert not {name for name in shown if name.startswith("penstock_gpu_")}


def test_the_worst_lateness_of_a_loop_is_told_until_the_reading_after_the_next(tmp_path: Path) -> None:
    watch = watching(tmp_path, Drops())
    watch.heed(ACCOUNT, 0.0)

    def lag_s() -> dict[tuple[str, ...], object]:
        return {sample.labels: sample.value for sample in by_name(watch)[LOOP_LAG.name]}

    sidecar, server = ("sidecar", "digits", "1"), ("pod server", "digits", "1")
    assert lag_s() == {sidecar: 0.0, server: 0.5}
    watch.beat(0.25)
    watch.beat(0.125)
    assert lag_s()[sidecar] == 0.25
    asyncio.run(watch.read(0.0))
    assert lag_s()[sidecar] == 0.25
    asyncio.run(watch.read(5.0))
    assert lag_s()[sidecar] == 0.0
