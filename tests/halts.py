"""Runs tests on a machine that stands still now and then, as a virtual one does while its host is busy.

    python -m tests.halts -q -m system

runs pytest with these arguments, stops it together with all that it started for a second or two, and lets it go on,
again and again. What fails takes time that nobody had for time that passed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from tests.system.processes import family, state_of, stopped

BETWEEN_S = (8.0, 25.0)
HALT_S = (0.8, 2.2)
_STOPPED = ("T", "t", "Z")  # by a test, by a debugger, or gone: these stay so


def main(arguments: Sequence[str]) -> int:
    """Run pytest; return its exit status."""
    tests = subprocess.Popen([sys.executable, "-m", "pytest", *arguments])
    halts = 0
    while True:
        with suppress(subprocess.TimeoutExpired):
            status = tests.wait(random.uniform(*BETWEEN_S))
            print(f"{halts} halts of {HALT_S[0]:g} to {HALT_S[1]:g} s")
            return status
        with stopped([pid for pid in family(tests.pid) if state_of(pid) not in _STOPPED]):
            time.sleep(random.uniform(*HALT_S))
        halts += 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
