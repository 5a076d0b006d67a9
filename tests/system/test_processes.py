"""Processes are found by who started them, and stopped for a while."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.system.processes import destroy_session, family, is_gone, state_of, stopped


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process that has started another one, in a session of its own."""
    command = ["sh", "-c", "sleep 600 & echo ready; wait"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as shell:
        assert shell.stdout is not None
        shell.stdout.readline()
        yield shell.pid
        destroy_session(shell.pid)


def test_children_are_of_the_family(sleeper: int) -> None:
    shell, child = family(sleeper)
    assert (shell, list(family(child))) == (sleeper, [child])
    assert {shell, child} < set(family(os.getpid()))


def test_all_stand_still_for_a_while_and_go_on(sleeper: int) -> None:
    pids = list(family(sleeper))
    with stopped(pids):
        while [state_of(pid) for pid in pids] != ["T", "T"]:
            os.sched_yield()
    while "T" in [state_of(pid) for pid in pids]:
        os.sched_yield()


def test_one_that_ends_meanwhile_is_let_go() -> None:
    with subprocess.Popen(["sleep", "600"]) as ending, stopped([ending.pid]):
        ending.kill()
        ending.wait()
    assert is_gone(ending.pid)
