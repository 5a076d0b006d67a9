"""Has processes, machine and GPUs read every few seconds, by threads, and tells what was read last."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

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
    MACHINE_AGE,
    PROCESS_CPU,
    PROCESS_OPEN_FDS,
    PROCESS_RESIDENT,
    STATE_DISK,
    STATE_DISK_FREE,
)
from telemetry.sidecar.account import PodAccount
from telemetry.sidecar.drops import Drops
from telemetry.sidecar.machine import processes
from telemetry.sidecar.machine.busy import DeviceBusy
from telemetry.sidecar.machine.gpu_watch import GpuWatch
from telemetry.sidecar.machine.gpus import samples as samples_of_gpus
from telemetry.sidecar.machine.history import POINTS, History, Told
from telemetry.sidecar.machine.processes import SIDECAR, Who
from telemetry.sidecar.machine.reader import Reader, Reading
from telemetry.sidecar.machine.reading import MachineFiles
from telemetry.sidecar.samples import Sample

EVERY_S = 5.0
STALE_S = 30.0
BEAT_S = 0.5

# What is worth drawing over an hour; of GPUs it is all.
_DRAWN = frozenset(
    {
        *(PROCESS_RESIDENT, PROCESS_CPU, PROCESS_OPEN_FDS, LOOP_LAG, DEVICE_BUSY, DEVICE_BUSY_SECONDS),
        *(GROUP_MEMORY, GROUP_MEMORY_LIMIT, GROUP_OOM_KILLS, GROUP_THROTTLED),
        *(HOST_CPUS, HOST_CPU, HOST_LOAD, HOST_MEMORY, HOST_AVAILABLE, HOST_OOM_KILLS, HOST_PRESSURE),
        *(STATE_DISK, STATE_DISK_FREE),
    }
)
_GPU = "penstock_gpu_"


class MachineWatch:
    """What one sidecar knows of the machine that it runs on.

    Args:
        whole: a directory on the disk that is told of, in the sidecar that tells of the whole machine; None in others.
        has_pod: it is a pod's sidecar, which tells of that pod's processes; the gateway's tells of the mesh's others.
        gpus: those of the machine; they are told of where it is told of as a whole.
    """

    def __init__(self, whole: Path | None, has_pod: bool, drops: Drops, gpus: GpuWatch | None = None) -> None:
        self._drops = drops
        self._reader = Reader(MachineFiles(), whole, has_pod)
        self._gpus = (gpus or GpuWatch()) if whole else None
        self._account: PodAccount | None = None
        self._busy = DeviceBusy()
        self._history = History()
        self._reading = Reading()
        self._read_s = time.monotonic()
        self._worst_lag_s = 0.0
        self._shown_lag_s = 0.0
        self._gpu_failures = 0

    def heed(self, account: PodAccount | None, now_s: float) -> None:
        """Take what the pod said of itself; None when it is silent."""
        self._busy.heed(account, now_s)
        self._account = account or self._account

    async def watch_for_ever(self) -> None:
        """Read every ``EVERY_S``; a file that hangs holds up a thread and later readings, and nothing else."""
        if self._gpus:
            self._gpus.start()
        while True:
            begun_s = time.monotonic()
            await self.read(begun_s)
            await asyncio.sleep(max(0.0, begun_s + EVERY_S - time.monotonic()))

    async def read(self, now_s: float) -> None:
        """Read once."""
        reading = await asyncio.to_thread(self._reader.read, self._account, now_s)
        self._take(reading, time.monotonic(), time.time())

    async def beat_for_ever(self) -> None:
        """Measure by how much this process's own loop is late."""
        while True:
            begun_s = time.monotonic()
            await asyncio.sleep(BEAT_S)
            self.beat(time.monotonic() - begun_s - BEAT_S)

    def beat(self, late_s: float) -> None:
        """Take by how much the loop was late just now."""
        self._worst_lag_s = max(self._worst_lag_s, late_s)

    def samples(self, now_s: float) -> Iterator[Sample]:
        """Yield what is known; what was read too long ago is left out."""
        age_s = now_s - self._read_s
        yield Sample(MACHINE_AGE, (), age_s)
        if age_s <= STALE_S:
            yield from self._reading.samples
        name = (self._account.model, self._account.version) if self._account else ("", "")
        yield Sample(LOOP_LAG, (SIDECAR, *name), max(self._shown_lag_s, self._worst_lag_s))
        yield from self._busy.samples()
        if self._gpus:
            yield from samples_of_gpus(self._gpus.view(now_s), self._owner, self._alone())

    def told(self, last: int = POINTS) -> Told:
        """Return the last hour, or so many of its newest values."""
        return self._history.told(last)

    def _take(self, reading: Reading, now_s: float, wall_s: float) -> None:
        self._reading, self._read_s = reading, now_s
        self._shown_lag_s, self._worst_lag_s = self._worst_lag_s, 0.0
        if reading.left_out:
            self._drops.add("processes", "too_many", reading.left_out)
        if self._gpus:
            self._count_failures(self._gpus.failures)
        shown = self.samples(now_s)
        drawn = (each for each in shown if each.metric in _DRAWN or each.metric.name.startswith(_GPU))
        self._history.take(drawn, now_s, wall_s)

    def _count_failures(self, failures: int) -> None:
        if failures > self._gpu_failures:
            self._drops.add("gpu_readings", "failed", failures - self._gpu_failures)
        self._gpu_failures = failures

    def _owner(self, pid: int) -> tuple[int, Who] | None:
        return processes.owner(self._reading.stats, self._reading.titles, pid)

    def _alone(self) -> Who | None:
        """Return the pod of this sidecar, if it runs on a GPU."""
        account = self._account
        if account is None or not account.device.startswith("cuda"):
            return None
        return Who(processes.INFERENCE, account.model, account.version)
