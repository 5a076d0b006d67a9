"""The processes of one mesh, found by session and title through ``/proc``, and their sudden end."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
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


def is_gone(pid: int) -> bool:
    """Return whether no such process runs, a zombie counting as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z"
    except OSError:
        return True


def destroy_session(session: int) -> None:
    """Kill whatever a failed test left."""
    for pid in of_session(session):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
