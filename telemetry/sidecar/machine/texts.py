"""Reads what the kernel writes in ``/proc`` and of control groups: text in, numbers out.

A text of another form than expected raises ValueError, as numbers do that are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

KIB = 1024
CPU_MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


class Stat(Struct, frozen=True):
    """One process, as ``/proc/PID/stat`` has it.

    Attributes:
        name: at most 15 bytes of its title.
        user_ticks, system_ticks: on a processor.
        started_ticks: since the machine's start; with ``pid``, no other process has the same.
        resident_pages: in RAM.
    """

    pid: int
    name: str
    parent: int
    user_ticks: int
    system_ticks: int
    threads: int
    started_ticks: int
    resident_pages: int


class Pressure(Struct, frozen=True):
    """How long tasks waited for one resource, in seconds.

    Attributes:
        full_s: all tasks that wanted to run waited; None where the kernel does not tell.
    """

    some_s: float
    full_s: float | None


def stat(text: str) -> Stat:
    """Return what ``/proc/PID/stat`` says; a name may hold blanks and brackets, so the last bracket ends it."""
    head, _, tail = text.rpartition(")")
    pid, _, name = head.partition(" (")
    fields = tail.split()
    if len(fields) < 22:
        raise ValueError("a process without its numbers")
    parent, user, system, threads, started, pages = (int(fields[place]) for place in (1, 11, 12, 17, 19, 21))
    return Stat(int(pid), name, parent, user, system, threads, started, pages)


def title(command_line: bytes) -> str:
    """Return a process's title: the first argument, without the blanks with which a title fills its place."""
    return command_line.partition(b"\0")[0].decode(errors="replace").strip()


def sizes(text: str) -> Mapping[str, int]:
    """Return what ``NAME: NUMBER kB`` says, in bytes, and other numbers as they are: status, meminfo, smaps."""
    return dict(_sizes(text))


def _sizes(text: str) -> Iterator[tuple[str, int]]:
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        value, _, unit = rest.strip().partition(" ")
        if value.isascii() and value.isdecimal() and unit in ("", "kB"):
            yield name, int(value) * (KIB if unit else 1)


def counts(text: str) -> Mapping[str, int]:
    """Return what lines of a name and a number say: vmstat, memory.events, cpu.stat, memory.oom_control."""
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def most_descriptors(text: str) -> int | None:
    """Return how many descriptors ``/proc/PID/limits`` allows; None without a limit."""
    for line in text.splitlines():
        if line.startswith("Max open files"):
            soft = line.removeprefix("Max open files").split()[0]
            return None if soft == "unlimited" else int(soft)
    raise ValueError("no line of open files")


def pressure(text: str) -> Pressure:
    """Return what a file of pressure says: ``some avg10=0.00 … total=MICROSECONDS``, and ``full`` likewise."""
    totals_s = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        totals_s[kind] = int(rest.rpartition("total=")[2]) / 1e6
    if "some" not in totals_s:
        raise ValueError("no line of some")
    return Pressure(totals_s["some"], totals_s.get("full"))


def loads(text: str) -> tuple[float, float, float]:
    """Return the averages of ``/proc/loadavg``: over 1, 5 and 15 minutes."""
    one, five, fifteen = (float(value) for value in text.split()[:3])
    return one, five, fifteen


def cpu_ticks(text: str) -> Mapping[str, int]:
    """Return what all processors together did, from the first line of ``/proc/stat``; guests are in user and nice."""
    first, *values = text.partition("\n")[0].split()
    if first != "cpu":
        raise ValueError("no line of all processors")
    return dict(zip(CPU_MODES, map(int, values), strict=False))


def boot_time_s(text: str) -> float:
    """Return when the machine started, as seconds since 1970, from ``/proc/stat``."""
    for line in text.splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    raise ValueError("no line of the start")


def limit(text: str) -> int | None:
    """Return a limit of a control group; None for ``max``, and for version 1's largest number of whole pages."""
    value = text.strip()
    if value == "max":
        return None
    return None if int(value) >= _UNBOUNDED else int(value)


_UNBOUNDED = 2**62


def cpus(text: str) -> float | None:
    """Return how many processors ``QUOTA PERIOD``, both in microseconds, allows; None without a limit."""
    quota, period = text.split()
    return None if quota in ("max", "-1") else int(quota) / int(period)
