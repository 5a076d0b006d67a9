"""Tells a failure of ours from one of a machine that stood still.

A test of running processes bears a slow machine. On one that stands still for a second, as a virtual one does while its
host is busy, probes are missed, alerts come late and callers are refused, all of it rightly. Such a test is run again,
twice at most, but only where the halt was measured while it ran; the summary names it, with how long it was.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable

HALT_S = 0.5
"""What tests on real time bear: less than this is theirs to get along with."""
RUNS_AGAIN = 2

# A process of its own: a thread would take whoever holds the interpreter's lock for a halt of the machine.
_WATCH = f"""
import os, time
parent = os.getppid()
was_s = time.monotonic()
while os.getppid() == parent:
    time.sleep(0.05)
    now_s = time.monotonic()
    if now_s - was_s > {HALT_S}:
        print(was_s, now_s, flush=True)
    was_s = now_s
"""


def longest_s(lines: Iterable[str], since_s: float) -> float:
    """Return the longest halt that ended after a moment (0 for none), from the watch's lines."""
    halts = [tuple(map(float, line.split())) for line in lines]
    return max((end_s - begin_s for begin_s, end_s in halts if end_s > since_s), default=0.0)


class HaltWatch:
    """Notes from now on when this machine stood still."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-I", "-S", "-c", _WATCH], stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._heard = b""
        self._since_s = 0.0

    @property
    def pid(self) -> int:
        """The process that watches."""
        return self._process.pid

    def begin(self) -> None:
        """Halts before now count no more."""
        self._since_s = time.monotonic()
        self._read()
        self._heard = b""

    def longest_s(self) -> float:
        """Return the longest halt since the beginning; 0 for none."""
        self._read()
        return longest_s(self._heard.decode().splitlines(), self._since_s)

    def end(self) -> None:
        """Watch no more."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self._heard += self._process.stdout.read() or b""
