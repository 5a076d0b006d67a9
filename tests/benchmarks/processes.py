"""Programs that a benchmark starts: on which core, how much CPU they used, and that they end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from tests.benchmarks.report import ROOT

_ENDS_WITHIN_S = 10.0
_LOG_TAIL_BYTES = 2_000


class NotStarted(Exception):
    """A program ended, or did not answer in time; the message holds the end of what it said."""


class Program:
    """A child process in a process group of its own, its output in a file."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self._popen = popen
        self._log = log
        self.pid = popen.pid

    def said(self) -> str:
        """Return the end of its output."""
        return self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

    def must_run(self) -> None:
        """Raises: NotStarted when the program has ended."""
        code = self._popen.poll()
        if code is not None:
            raise NotStarted(f"{self._popen.args!r} ended with {code}: {self.said()}")

    def end(self) -> None:
        """Ask it to stop, then make it, and whatever it left in its group."""
        self._popen.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_ENDS_WITHIN_S)
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()


@contextmanager
def running(
    arguments: Sequence[str], *, cores: Collection[int], log: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Program]:
    """Start a program on these cores, and end it."""
    with log.open("wb") as output, pinned(cores):
        popen = subprocess.Popen(
            arguments,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            process_group=0,
        )
    program = Program(popen, log)
    try:
        yield program
    finally:
        program.end()


@contextmanager
def pinned(cores: Collection[int]) -> Iterator[None]:
    """Run this thread on these cores for a while; children started meanwhile inherit them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def await_answer(address: str, path: str, program: Program, within_s: float = 120.0) -> None:
    """Wait until GET answers 200.

    Raises:
        NotStarted: the program ended, or did not answer so in time.
    """
    until_s = time.monotonic() + within_s
    while True:
        program.must_run()
        said = probe(address, path)
        if said == "200":
            return
        if time.monotonic() > until_s:
            raise NotStarted(f"GET {path} at {address}: {said} after {within_s:g} s: {program.said()}")
        time.sleep(0.05)


def probe(address: str, path: str) -> str:
    """Return the status of one GET in digits, or what was wrong."""
    path_of_socket = address.removeprefix("unix:") if address.startswith("unix:") else None
    if path_of_socket and not Path(path_of_socket).exists():
        return "no socket yet"  # httpx leaves one of its own open where it cannot connect
    host = "localhost" if path_of_socket else address.removeprefix("http://")
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=path_of_socket), timeout=2.0) as client:
            return str(client.get(f"http://{host}{path}").status_code)
    except httpx.HTTPError as error:
        return f"{type(error).__name__}: {error}"


def find_program(name: str) -> str | None:
    """Return where a program is, None when it is not installed."""
    # Debian keeps some in /usr/sbin, which is not on every user's PATH.
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")


def family(pid: int) -> list[int]:
    """Return the process and all that descend from it, which is what a contender costs."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            children.setdefault(_parent(stat.read_text()), []).append(int(stat.parent.name))
    found = [pid]
    for member in found:
        found.extend(children.get(member, ()))
    return found


def _parent(stat: str) -> int:
    """Read the parent from /proc/PID/stat, whose second field may hold spaces and brackets."""
    return int(stat.rpartition(")")[2].split()[1])


def cpu_s(pids: Sequence[int]) -> float:
    """Return the CPU seconds that these processes' threads have used.

    /proc/PID/stat counts in clock ticks of 10 ms, of which a slice has a hundred; schedstat counts to the nanosecond.
    """
    nanoseconds = 0
    for pid in pids:
        for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            with suppress(FileNotFoundError, ProcessLookupError):
                nanoseconds += int(schedstat.read_text().split()[0])
    return nanoseconds / 1e9


def largest_rss_bytes(pids: Sequence[int], title: str = "") -> int:
    """Return the resident memory of the largest of these processes whose title holds this text; 0 without one."""
    sizes = [0]
    for pid in pids:
        place = Path(f"/proc/{pid}")
        with suppress(FileNotFoundError, ProcessLookupError):
            if title in (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                sizes.append(_resident_bytes((place / "status").read_text()))
    return max(sizes)


def _resident_bytes(status: str) -> int:
    """Read VmRSS from /proc/PID/status, which a process that is ending has no more."""
    lines = (line.split() for line in status.splitlines() if line.startswith("VmRSS:"))
    return next((int(kibibytes) * 1024 for _, kibibytes, _ in lines), 0)
