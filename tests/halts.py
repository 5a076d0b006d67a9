"""Runs tests on a machine that stands still now and then, as a virtual one does while its host is busy.

    python -m tests.halts -q -m system

runs pytest with these arguments, stops it together with all that it started for a second or two, and lets it go on,
again and again. What fails takes time that nobody had for time that passed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

BETWEEN_S = (8.0, 25.0)
HALT_S = (0.8, 2.2)
_STOPPED = ("T", "t", "Z")  # by a test, by a debugger, or for good: these stay so


def main(arguments: Sequence[str]) -> int:
    """Run pytest; return its exit status."""
    tests = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])
    halts = 0
    while True:
        with suppress(subprocess.TimeoutExpired):
            status = tests.wait(random.uniform(*BETWEEN_S))
            print(f"{halts} halts of {HALT_S[0]:g} to {HALT_S[1]:g} s")
            return status
        halt([process for process in family(tests.pid) if state(process) not in _STOPPED], random.uniform(*HALT_S))
        halts += 1


def halt(processes: Sequence[int], for_s: float) -> None:
    """Stop these processes for a while."""
    try:
        tell(processes, signal.SIGSTOP)
        time.sleep(for_s)
    finally:
        tell(processes, signal.SIGCONT)


def tell(processes: Sequence[int], what: signal.Signals) -> None:
    """Send a signal to each that is still there."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, what)


def family(process: int) -> Iterator[int]:
    """Yield a process, and after it all that it started and that is not orphaned."""
    yield process
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):
            for child in task.read_text().split():
                yield from family(int(child))


def state(process: int) -> str:
    """Return the letter of a process's state; "Z" when it is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
    except OSError:
        return "Z"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
