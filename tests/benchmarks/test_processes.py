"""Starting, measuring and ending programs."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from tests.benchmarks.processes import NotStarted, await_answer, cpu_s, family, largest_rss_bytes, running
from tests.ports import free_port


def test_a_program_runs_on_its_core_and_is_gone_afterwards(tmp_path: Path) -> None:
    core = min(os.sched_getaffinity(0))
    with running([sys.executable, "-c", "input()"], cores={core}, log=tmp_path / "log") as program:
        assert os.sched_getaffinity(program.pid) == {core}
    assert not Path(f"/proc/{program.pid}").exists()
    assert len(os.sched_getaffinity(0)) >= 1


def test_a_program_that_ends_says_why_it_did_not_start(tmp_path: Path) -> None:
    said = "import sys; sys.exit('no such policy')"
    with (
        pytest.raises(NotStarted, match="no such policy"),
        running([sys.executable, "-c", said], cores=os.sched_getaffinity(0), log=tmp_path / "log") as program,
    ):
        await_answer(f"127.0.0.1:{free_port()}", "/", program)


def test_the_cpu_time_of_a_family_grows_with_what_its_children_do(tmp_path: Path) -> None:
    spin = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'while True: pass'])"
    with running([sys.executable, "-c", spin], cores=os.sched_getaffinity(0), log=tmp_path / "log") as program:
        until_s = time.monotonic() + 20
        while (used_s := cpu_s(family(program.pid)[1:])) < 0.05:
            assert time.monotonic() < until_s, "the child used no CPU"
    assert used_s >= 0.05


def test_the_memory_of_a_process_is_told_by_its_title() -> None:
    ours = os.getpid()
    # Whatever it is at this moment: tests before this one may have given the process another.
    title = Path("/proc/self/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    assert largest_rss_bytes([ours]) > 2**20
    assert largest_rss_bytes([ours], title[:8]) > 2**20
    assert largest_rss_bytes([ours], "no such title") == 0
