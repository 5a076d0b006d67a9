"""Reads processes, machine and control groups from ``/proc`` and ``/sys``; what is not there is left out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from telemetry.control_groups import V2, Group, groups_of
from telemetry.sidecar.machine import texts
from telemetry.sidecar.machine.host import RESOURCES, Disk, Host, Limits
from telemetry.sidecar.machine.processes import OURS, Running, Who
from telemetry.sidecar.machine.texts import Pressure, Stat

SCANNED = 10_000
"""Processes of the machine that are looked at; beyond, those with the highest numbers are not."""

_SHORT_BYTES = 4096
# A file that holds no number, or is gone with its process.
_UNREAD = (OSError, ValueError)
Value = TypeVar("Value")


class MachineFiles:
    """The kernel's files.

    Args:
        root: where ``/proc`` and ``/sys`` are.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root
        self._proc = root / "proc"
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._page_bytes = os.sysconf("SC_PAGE_SIZE")

    def stats(self) -> tuple[Mapping[int, Stat], Mapping[int, str]]:
        """Return all processes, and the titles of those that may be ours."""
        stats: dict[int, Stat] = {}
        titles: dict[int, str] = {}
        for pid in sorted(int(name) for name in os.listdir(self._proc) if name.isdecimal())[:SCANNED]:
            with suppress(*_UNREAD):
                stats[pid] = self.stat(pid)
                if stats[pid].name.startswith(OURS):
                    titles[pid] = self.title(pid)
        return stats, titles

    def stat(self, pid: int) -> Stat:
        """Return one process.

        Raises:
            OSError, ValueError: it is gone.
        """
        return texts.stat(_short(f"{self._proc}/{pid}/stat"))

    def title(self, pid: int) -> str:
        """Return a process's title.

        Raises:
            OSError: it is gone.
        """
        return texts.title((self._proc / str(pid) / "cmdline").read_bytes())

    def proportional_bytes(self, pid: int) -> int | None:
        """Return a process's share of the memory that it has; the kernel walks through all of it, so ask seldom."""
        return (self._parsed(f"proc/{pid}/smaps_rollup", texts.sizes) or {}).get("Pss")

    def running(self, stat: Stat, who: Who, boot_s: float, proportional_bytes: int | None) -> Running:
        """Return what one process is doing.

        Args:
            boot_s: when the machine started, seconds since 1970.
        """
        place = f"proc/{stat.pid}"
        status = self._parsed(f"{place}/status", texts.sizes) or {}
        return Running(
            who=who,
            pid=stat.pid,
            resident_bytes=stat.resident_pages * self._page_bytes,
            user_s=stat.user_ticks * self._tick_s,
            system_s=stat.system_ticks * self._tick_s,
            threads=stat.threads,
            started_s=boot_s + stat.started_ticks * self._tick_s,
            proportional_bytes=proportional_bytes,
            open_fds=self._open_fds(stat.pid),
            max_fds=self._parsed(f"{place}/limits", texts.most_descriptors),
            voluntary=status.get("voluntary_ctxt_switches"),
            involuntary=status.get("nonvoluntary_ctxt_switches"),
        )

    def boot_time_s(self) -> float:
        """Return when the machine started, seconds since 1970.

        Raises:
            OSError, ValueError: the kernel does not tell.
        """
        return texts.boot_time_s(self._text("proc/stat"))

    def host(self, state: Path) -> Host:
        """Return how the machine does, and the disk that has ``state``."""
        memory = self._parsed("proc/meminfo", texts.sizes) or {}
        ticks = self._parsed("proc/stat", texts.cpu_ticks) or {}
        swap = (memory.get("SwapTotal"), memory.get("SwapFree"))
        return Host(
            cpus=os.cpu_count() or 1,
            cpu_s={mode: count * self._tick_s for mode, count in ticks.items()},
            loads=self._parsed("proc/loadavg", texts.loads),
            memory_bytes=memory.get("MemTotal"),
            available_bytes=memory.get("MemAvailable"),
            swap_used_bytes=None if swap[0] is None or swap[1] is None else swap[0] - swap[1],
            oom_kills=(self._parsed("proc/vmstat", texts.counts) or {}).get("oom_kill"),
            pressure=self._pressures(lambda resource: self._root / "proc/pressure" / resource),
            disk=_disk(state),
        )

    def limits(self, pid: int) -> Limits:
        """Return the control group of a process; of those above it the one that is nearest its limit counts."""
        memory = list(groups_of(self._root, "memory", str(pid)))
        used_bytes, limit_bytes = _fullest(_memory(group) for group in memory)
        cpu = list(groups_of(self._root, "cpu", str(pid)))
        own = next((group.path for group in memory if group.version == V2), None)
        return Limits(
            memory_bytes=used_bytes,
            memory_limit_bytes=limit_bytes,
            oom_kills=_first(_oom_kills(group) for group in memory),
            throttled_s=_first(_throttled_s(group) for group in cpu),
            cpus=min(_all(_cpus(group) for group in cpu), default=None),
            pressure=self._pressures(lambda resource: own / f"{resource}.pressure") if own else {},
        )

    def _text(self, path: str) -> str:
        return (self._root / path).read_text(errors="replace")

    def _parsed(self, path: str, parse: Callable[[str], Value]) -> Value | None:
        return _parsed(self._root / path, parse)

    def _open_fds(self, pid: int) -> int | None:
        """Return how many descriptors are open; since Linux 6.2 it is the directory's size, and nothing is listed."""
        directory = self._proc / str(pid) / "fd"
        with suppress(OSError):
            return os.stat(directory).st_size or len(os.listdir(directory))
        return None

    def _pressures(self, place: Callable[[str], Path]) -> Mapping[str, Pressure]:
        read = {resource: _parsed(place(resource), texts.pressure) for resource in RESOURCES}
        return {resource: pressed for resource, pressed in read.items() if pressed is not None}


def _short(path: str) -> str:
    """Return a text of some hundred bytes; it is read of every process, and a file object costs three times as much."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, _SHORT_BYTES).decode(errors="replace")
    finally:
        os.close(descriptor)


def _parsed(path: Path, parse: Callable[[str], Value]) -> Value | None:
    with suppress(*_UNREAD):
        return parse(path.read_text(errors="replace"))
    return None


def _all(values: Iterator[Value | None]) -> Iterator[Value]:
    return (value for value in values if value is not None)


def _first(values: Iterator[Value | None]) -> Value | None:
    return next(_all(values), None)


def _memory(group: Group) -> tuple[int | None, int | None]:
    """Return what a group uses, without files' pages that the kernel would give back at once, and its limit."""
    is_v2 = group.version == V2
    used_bytes = _parsed(group.path / ("memory.current" if is_v2 else "memory.usage_in_bytes"), int)
    limit_bytes = _parsed(group.path / ("memory.max" if is_v2 else "memory.limit_in_bytes"), texts.limit)
    told = _parsed(group.path / "memory.stat", texts.counts) or {}
    spare_bytes = told.get("inactive_file" if is_v2 else "total_inactive_file", 0)
    return None if used_bytes is None else max(0, used_bytes - spare_bytes), limit_bytes


def _fullest(groups: Iterator[tuple[int | None, int | None]]) -> tuple[int | None, int | None]:
    """Return use and limit of the group that is nearest its limit; the innermost's use where none has one."""
    known = [(used_bytes, limit_bytes) for used_bytes, limit_bytes in groups if used_bytes is not None]
    bounded = [(used_bytes / limit_bytes, used_bytes, limit_bytes) for used_bytes, limit_bytes in known if limit_bytes]
    if bounded:
        return max(bounded)[1:]
    return known[0] if known else (None, None)


def _oom_kills(group: Group) -> int | None:
    name = "memory.events" if group.version == V2 else "memory.oom_control"
    return (_parsed(group.path / name, texts.counts) or {}).get("oom_kill")


def _throttled_s(group: Group) -> float | None:
    told = _parsed(group.path / "cpu.stat", texts.counts) or {}
    if group.version == V2:
        return told["throttled_usec"] / 1e6 if "throttled_usec" in told else None
    return told["throttled_time"] / 1e9 if "throttled_time" in told else None


def _cpus(group: Group) -> float | None:
    if group.version == V2:
        return _parsed(group.path / "cpu.max", texts.cpus)
    quota = _parsed(group.path / "cpu.cfs_quota_us", str.strip)
    period = _parsed(group.path / "cpu.cfs_period_us", str.strip)
    with suppress(ValueError):
        return texts.cpus(f"{quota} {period}")
    return None


def _disk(path: Path) -> Disk | None:
    with suppress(OSError):
        found = os.statvfs(path)
        return Disk(
            size_bytes=found.f_blocks * found.f_frsize,
            free_bytes=found.f_bavail * found.f_frsize,
            files_free=found.f_favail if found.f_files else None,
        )
    return None
