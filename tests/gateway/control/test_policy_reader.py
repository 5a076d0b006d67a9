"""A child process reads the directory: what it says comes back whole, and whatever befalls the child is an error."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.control.policy_reader import PolicyReader, Reading
from policies.load import load_directory
from tests.demo_policies import DEMO, lay_out_digits


@contextmanager
def reader(program: str | None = None, limit_s: float = 20.0) -> Iterator[PolicyReader]:
    """A reader whose child runs a program of the test's, the true one where there is none."""
    made = PolicyReader(limit_s=limit_s) if program is None else PolicyReader((sys.executable, "-c", program), limit_s)
    try:
        yield made
    finally:
        made.close()


def read(directory: Path, program: str | None = None, limit_s: float = 20.0) -> Reading:
    with reader(program, limit_s) as child:
        return asyncio.run(child.read(directory))


def test_a_good_directory_comes_back_as_it_loads_here() -> None:
    assert read(DEMO) == Reading(load_directory(DEMO))


def test_a_bad_directory_comes_back_as_its_errors(tmp_path: Path) -> None:
    lay_out_digits(tmp_path / "policies")
    (tmp_path / "policies" / "slos.yaml").write_text("kind: slos/v1\n")
    reading = read(tmp_path / "policies")
    assert reading.snapshot is None
    assert "slos.yaml" in {error.file for error in reading.errors}


def test_a_directory_whose_tests_fail_is_refused_with_the_tests_place(tmp_path: Path) -> None:
    lay_out_digits(tmp_path / "policies")
    (tmp_path / "policies" / "tests").mkdir(exist_ok=True)
    (tmp_path / "policies" / "tests" / "wrong.yaml").write_text(
        "kind: tests/v1\ntests:\n"
        "  - name: demo may not call digits\n"
        "    request: {tenant: demo, model: digits}\n"
        "    expect: {status: 403}\n"
    )
    (error,) = read(tmp_path / "policies").errors
    assert (error.file, error.line) == ("tests/wrong.yaml", 3)
    assert "demo may not call digits" in error.problem


def test_a_child_that_waits_is_used_and_followed_by_another() -> None:
    async def story() -> None:
        with reader() as child:
            child.warm()
            first = child.waiting_pid
            assert (await child.read(DEMO)).errors == ()
            assert child.waiting_pid not in (first, None)
        assert child.waiting_pid is None

    asyncio.run(story())


def test_a_child_that_is_killed_while_it_waits_costs_nothing_but_time() -> None:
    async def story() -> Reading:
        with reader() as child:
            child.warm()
            assert child.waiting_pid is not None
            os.kill(child.waiting_pid, signal.SIGKILL)
            return await child.read(DEMO)

    assert asyncio.run(story()).errors == ()


HANG = "import sys, time; sys.stdin.read(); time.sleep(60)"
DIE = "import os, sys; sys.stdin.read(); os.kill(os.getpid(), 9)"
END = "import sys; sys.stdin.read(); sys.exit(3)"
BABBLE = "import sys; sys.stdin.read(); print('yes')"


@pytest.mark.parametrize(
    ("program", "limit_s", "problem"),
    [
        (HANG, 0.2, "the check took longer than 0.2 s"),
        (DIE, 20.0, "the check died of SIGKILL"),
        (END, 20.0, "the check exited with status 3"),
        (BABBLE, 20.0, "the check exited with status 0"),
    ],
)
def test_whatever_befalls_the_child_refuses_the_files(program: str, limit_s: float, problem: str) -> None:
    (error,) = read(DEMO, program, limit_s).errors
    assert error.problem == problem


def test_an_answer_without_end_is_cut_off_and_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.policy_reader._ANSWER_BYTES", 2 * 1024 * 1024)
    (error,) = read(DEMO, "import sys\nsys.stdin.read()\nwhile True: sys.stdout.write('x' * 65536)").errors
    assert error.problem == "what the files say is larger than 2 MiB"


def test_without_a_process_the_files_are_refused_and_that_is_said(tmp_path: Path) -> None:
    absent = PolicyReader((str(tmp_path / "no-such-program"),))
    absent.warm()
    (error,) = asyncio.run(absent.read(DEMO)).errors
    assert error.problem == "no process for the check can be had: No such file or directory"


def test_a_reading_that_is_no_longer_wanted_ends_its_child() -> None:
    async def story() -> None:
        with reader(HANG) as child:
            reading = asyncio.create_task(child.read(DEMO))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    began_s = time.monotonic()
    asyncio.run(story())
    assert time.monotonic() - began_s < 20.0


def test_a_check_that_wants_too_much_memory_is_refused_like_any_mistake() -> None:
    program = (
        "from gateway.control import policy_reader_program as child\n"
        "def hungry(_):\n"
        "    return [bytes(64 * 1024 * 1024) for _ in range(64)]\n"
        "child.load_directory = hungry\n"
        "child.main()\n"
    )
    (error,) = read(DEMO, program).errors
    assert error.problem == "the check needs more than 1 GiB of memory"
