"""Processes, found through ``/proc`` by session and title or by who started them, halted, and ended suddenly."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.readable import readable_within

_GONE_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Killed:
    """Processes that were killed; moments are monotonic.

    Attributes:
        at_s: before the first signal.
        gone_s: when the last of them had ended, its sockets closed.
    """

    at_s: float
    gone_s: float


def of_session(session: int) -> dict[int, str]:
    """Return the title of every process of the session that still runs, by process id."""
    return {pid: title for pid, title in _titles(session) if title}


def _titles(session: int) -> Iterator[tuple[int, str]]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):  # it ended between the listing and the reading
            # The name, in parentheses, may hold anything; state, parent, group and session follow the last one.
            state, _, _, its_session = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:4]
            if int(its_session) == session and state != b"Z":
                yield int(entry.name), _title(entry)


def _title(entry: Path) -> str:
    command = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ").decode(errors="replace")
    return command or "(no title)"


def kill_now(pids: Collection[int]) -> Killed:
    """Kill -9 these processes at once, and wait until they are gone."""
    descriptors = [os.pidfd_open(pid) for pid in pids]
    try:
        at_s = time.monotonic()
        for descriptor in descriptors:
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        for descriptor in descriptors:
            assert readable_within(descriptor, _GONE_WITHIN_S), "a killed process does not end"
        return Killed(at_s, time.monotonic())
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


@contextmanager
def stopped(pids: Collection[int]) -> Iterator[None]:
    """Stop these processes, as SIGSTOP does, and let them go on afterwards; one may end meanwhile."""
    try:
        tell(pids, signal.SIGSTOP)
        yield
    finally:
        tell(pids, signal.SIGCONT)


def tell(pids: Collection[int], what: signal.Signals) -> None:
    """Send a signal to each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, what)


def family(pid: int) -> Iterator[int]:
    """Yield a process, and after it all that it started and that is not orphaned."""
    yield pid
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in listing.read_text().split():
                yield from family(int(child))


def state_of(pid: int) -> str:
    """Return the letter of a process's state: "T" when it is stopped, "Z" when it is gone or a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def is_gone(pid: int) -> bool:
    """Return whether no such process runs, a zombie counting as gone."""
    return state_of(pid) == "Z"


def destroy_session(session: int) -> None:
    """Kill whatever a failed test left."""
    tell(of_session(session), signal.SIGKILL)
