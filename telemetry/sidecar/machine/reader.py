"""Reads once what one sidecar tells of: its processes, their control group and, where it is to, the whole machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from telemetry.sidecar.account import PodAccount
from telemetry.sidecar.machine import host, processes
from telemetry.sidecar.machine.processes import INFERENCE, PROCESSES, SERVER, SIDECAR, Running, Who
from telemetry.sidecar.machine.reading import MachineFiles
from telemetry.sidecar.machine.texts import Stat
from telemetry.sidecar.samples import Sample

THOROUGH_EVERY_S = 60.0


class Reading(Struct, frozen=True):
    """What was read.

    Attributes:
        stats, titles: all processes and the titles of ours, where the whole machine is told of.
        left_out: processes beyond the bound.
    """

    samples: tuple[Sample, ...] = ()
    stats: Mapping[int, Stat] = {}
    titles: Mapping[int, str] = {}
    left_out: int = 0


class Reader:
    """One sidecar's way to read; used by one thread at a time.

    Args:
        whole: a directory on the disk that is told of, where the whole machine is; None elsewhere.
        has_pod: it tells of a pod's processes; else of the mesh's, but for pods and their sidecars.
        own: number of the sidecar's process.
    """

    def __init__(self, files: MachineFiles, whole: Path | None, has_pod: bool, own: int | None = None) -> None:
        self._files = files
        self._whole = whole
        self._has_pod = has_pod
        self._own = os.getpid() if own is None else own
        self._thorough_s = float("-inf")
        self._proportional: dict[tuple[int, int], int] = {}

    def read(self, account: PodAccount | None, now_s: float) -> Reading:
        """Return what is true now.

        Args:
            account: what the pod said last; its processes are looked up by it.
        """
        stats: Mapping[int, Stat] = {}
        titles: Mapping[int, str] = {}
        if self._whole or not self._has_pod:
            stats, titles = self._files.stats()
        told = self._of_pod(account) if self._has_pod else processes.family(stats, titles, self._own)
        shown = [sample for running in self._running(told, now_s) for sample in processes.samples(running)]
        limited = next((pid for pid, who in told.items() if who.process in (INFERENCE, SERVER)), self._own)
        shown += host.samples_of_group(self._files.limits(limited))
        if self._whole:
            shown += host.samples_of_host(self._files.host(self._whole))
        return Reading(tuple(shown), stats, titles, max(0, len(told) - PROCESSES))

    def _of_pod(self, account: PodAccount | None) -> Mapping[int, Who]:
        """Return the pod's processes and this one.

        The pod knows its numbers as its own container has them; here they may be anybody's, so the title decides.
        """
        told: dict[int, Who] = {}
        name = (account.model, account.version) if account else ("", "")
        for pid, process in ((account.inference_pid, INFERENCE), (account.pid, SERVER)) if account else ():
            with suppress(OSError):
                found = processes.of_title(self._files.title(pid)) if pid else None
                if found is not None and found.process == process and found.model == name[0]:
                    told[pid] = Who(process, *name)
        return {**told, self._own: Who(SIDECAR, *name)}

    def _running(self, told: Mapping[int, Who], now_s: float) -> Iterator[Running]:
        """Yield what processes are doing; one that ends meanwhile is left out."""
        with suppress(OSError, ValueError):
            boot_s = self._files.boot_time_s()
            is_thorough = now_s >= self._thorough_s + THOROUGH_EVERY_S
            if is_thorough:
                self._thorough_s = now_s
            before, self._proportional = self._proportional, {}
            for pid, who in list(told.items())[:PROCESSES]:
                with suppress(OSError, ValueError):
                    yield self._one(pid, who, boot_s, before, is_thorough)

    def _one(
        self, pid: int, who: Who, boot_s: float, before: Mapping[tuple[int, int], int], is_thorough: bool
    ) -> Running:
        stat = self._files.stat(pid)
        key = (pid, stat.started_ticks)
        known = None if is_thorough else before.get(key)
        proportional = self._files.proportional_bytes(pid) if known is None else known
        if proportional is not None:
            self._proportional[key] = proportional
        return self._files.running(stat, who, boot_s, proportional)
