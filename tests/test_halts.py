"""A halt is what a process that only sleeps has slept too long."""

from __future__ import annotations

import os
import signal
import time

from tests.halts import HALT_S, HaltWatch, longest_s


def test_only_what_ended_after_the_beginning_counts() -> None:
    lines = ["1.0 3.5", "10.0 10.6", "20.0 20.75"]
    assert longest_s(lines, 4.0) == 0.75
    assert longest_s(lines, 3.0) == 2.5
    assert longest_s([], 0.0) == longest_s(lines, 30.0) == 0.0


def test_a_watch_that_was_stopped_saw_a_halt() -> None:
    watch = HaltWatch()
    try:
        watch.begin()
        while watch.longest_s() < HALT_S:  # until it has begun, it cannot be halted
            os.kill(watch.pid, signal.SIGSTOP)
            time.sleep(1.5 * HALT_S)
            os.kill(watch.pid, signal.SIGCONT)
            time.sleep(0.1)
    finally:
        watch.end()
