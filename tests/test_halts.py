"""A halt reaches what was started, and leaves nothing stopped."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.halts import family, halt, state, tell


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that has started another one."""
    with subprocess.Popen(["sh", "-c", "sleep 600 & echo ready; wait"], stdout=subprocess.PIPE) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        yield shell.pid
        tell(list(family(shell.pid)), signal.SIGKILL)


def test_children_are_of_the_family(sleeper: int) -> None:
    shell, child = family(sleeper)
    assert (shell, len(list(family(child)))) == (sleeper, 1)
    assert sleeper in list(family(os.getpid()))


def test_all_stand_still_for_a_while_and_go_on(sleeper: int, monkeypatch: pytest.MonkeyPatch) -> None:
    processes = list(family(sleeper))
    waits: list[float] = []

    def until_all_stand_still(for_s: float) -> None:
        while [state(process) for process in processes] != ["T", "T"]:
            os.sched_yield()
        waits.append(for_s)

    monkeypatch.setattr("tests.halts.time.sleep", until_all_stand_still)
    halt(processes, 1.0)
    assert waits == [1.0]
    while "T" in [state(process) for process in processes]:
        os.sched_yield()


def test_one_that_is_gone_is_told_nothing() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert state(gone.pid) == "Z"
    tell([gone.pid], signal.SIGCONT)
