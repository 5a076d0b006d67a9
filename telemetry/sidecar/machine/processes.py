"""Decides which processes are told of, by their titles and parents, and what is shown of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from telemetry.machine_conventions import (
    PROCESS_CPU,
    PROCESS_MAX_FDS,
    PROCESS_OPEN_FDS,
    PROCESS_PROPORTIONAL,
    PROCESS_RESIDENT,
    PROCESS_START,
    PROCESS_SWITCHES,
    PROCESS_THREADS,
)
from telemetry.sidecar.machine.texts import Stat
from telemetry.sidecar.samples import Sample

PROCESSES = 64
"""Processes that one sidecar tells of: a mesh has its workers and six others."""
OURS = "penstock"
SERVER = "pod server"
INFERENCE = "pod inference"
SIDECAR = "sidecar"

_PODS = ("pod ", "sidecar ")
# Deeper than this no process of a mesh is below another.
_DEPTH = 16


class Who(Struct, frozen=True):
    """Whose process it is.

    Attributes:
        process: what it does, as ``gateway worker 0``, ``pod inference``.
        model, version: of a pod; "" for the gateway.
    """

    process: str
    model: str = ""
    version: str = ""


class Running(Struct, frozen=True):
    """One process as it is now.

    Attributes:
        proportional_bytes: None where it was not read; likewise what else may be None.
        started_s: seconds since 1970.
    """

    who: Who
    pid: int
    resident_bytes: int
    user_s: float
    system_s: float
    threads: int
    started_s: float
    proportional_bytes: int | None = None
    open_fds: int | None = None
    max_fds: int | None = None
    voluntary: int | None = None
    involuntary: int | None = None


def of_title(title: str) -> Who | None:
    """Return whose process has this title; None when it is none of ours."""
    first, _, rest = title.partition(" ")
    if first != OURS or not rest:
        return None
    if rest.startswith("pod ") and rest.endswith((" server", " inference")):
        name, _, role = rest.removeprefix("pod ").rpartition(" ")
        model, _, version = name.partition("/")
        return Who(f"pod {role}", model, version.partition("/")[0])
    if rest.startswith(SIDECAR):
        model, _, version = rest.removeprefix(SIDECAR).strip().partition("/")
        return Who(SIDECAR, model, version) if version else Who(SIDECAR)
    return Who(rest)


def family(stats: Mapping[int, Stat], titles: Mapping[int, str], own: int) -> Mapping[int, Who]:
    """Return the processes of the mesh whose gateway's sidecar is ``own``, itself among them.

    They are those below the same ancestor of ours. Where there is none because a container begins with this sidecar,
    they are those of all that share the container's processes. Pods and their sidecars are told of by the latter.
    """
    top = _top(stats, titles, own)
    tops = {top}
    if top == own and own in stats and not stats[own].parent:
        tops = {pid for pid in titles if pid in stats and not stats[pid].parent}
    told: dict[int, Who] = {}
    for pid in sorted(titles):
        who = of_title(titles[pid])
        is_others = titles[pid].removeprefix(f"{OURS} ").startswith(_PODS)
        if who is None or pid not in stats or (is_others and pid != own):
            continue
        if _top(stats, titles, pid) in tops:
            told[pid] = who
    return told


def owner(stats: Mapping[int, Stat], titles: Mapping[int, str], pid: int) -> tuple[int, Who] | None:
    """Return the inference process that this one is, or is below: a handler may start others; None for strangers."""
    for ancestor in _ancestors(stats, pid):
        who = of_title(titles.get(ancestor, ""))
        if who is not None:
            return (ancestor, who) if who.process == INFERENCE else None
    return None


def _top(stats: Mapping[int, Stat], titles: Mapping[int, str], pid: int) -> int:
    """Return the highest of the ancestors that are ours without a gap."""
    top = pid
    for ancestor in _ancestors(stats, pid):
        if ancestor not in titles:
            break
        top = ancestor
    return top


def _ancestors(stats: Mapping[int, Stat], pid: int) -> Iterator[int]:
    """Yield a process and those above it."""
    for _ in range(_DEPTH):
        if pid not in stats:
            return
        yield pid
        pid = stats[pid].parent


def samples(running: Running) -> Iterator[Sample]:
    """Yield what is known of one process."""
    who = (running.who.process, running.who.model, running.who.version, str(running.pid))
    yield Sample(PROCESS_RESIDENT, who, float(running.resident_bytes))
    yield Sample(PROCESS_CPU, (*who, "user"), running.user_s)
    yield Sample(PROCESS_CPU, (*who, "system"), running.system_s)
    yield Sample(PROCESS_THREADS, who, float(running.threads))
    yield Sample(PROCESS_START, who, running.started_s)
    for metric, value in (
        (PROCESS_PROPORTIONAL, running.proportional_bytes),
        (PROCESS_OPEN_FDS, running.open_fds),
        (PROCESS_MAX_FDS, running.max_fds),
    ):
        if value is not None:
            yield Sample(metric, who, float(value))
    if running.voluntary is not None and running.involuntary is not None:
        yield Sample(PROCESS_SWITCHES, (*who, "voluntary"), float(running.voluntary))
        yield Sample(PROCESS_SWITCHES, (*who, "involuntary"), float(running.involuntary))
