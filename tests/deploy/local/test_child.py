"""One child process: its lines and its end."""

from __future__ import annotations

import asyncio
import signal
import sys

import pytest

from deploy.local.child import Child, describe_exit


async def run_to_end(program: str) -> tuple[list[str], int]:
    """Run a Python program; return its lines and its exit status, which must come after them."""
    lines: list[str] = []
    ended: asyncio.Future[tuple[list[str], int]] = asyncio.get_running_loop().create_future()
    Child(
        [sys.executable, "-c", program],
        on_line=lines.append,
        on_exit=lambda status: ended.set_result((list(lines), status)),
    )
    return await ended


def test_output_of_both_kinds_comes_line_by_line_and_before_the_news_of_the_end() -> None:
    program = "import sys; print('out', flush=True); print('half', end='', file=sys.stderr); sys.exit(3)"
    assert asyncio.run(run_to_end(program))[1] == 3
    assert asyncio.run(run_to_end("print('one'); print('two')")) == (["one", "two"], 0)


def test_a_flood_of_output_is_taken_whole() -> None:
    lines, status = asyncio.run(run_to_end("print('x' * 99 + '\\n' * 2001, end='')"))
    assert (len("".join(lines)), status) == (99, 0)


def test_a_child_is_in_our_session_but_not_in_our_process_group() -> None:
    program = "import os; print(os.getsid(0) == os.getsid(os.getppid()), os.getpgid(0) == os.getpid())"
    assert asyncio.run(run_to_end(program)) == (["True True"], 0)


def test_a_killed_child_says_so_by_its_status() -> None:
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    assert asyncio.run(run_to_end(program)) == ([], -signal.SIGKILL)


def test_a_program_that_is_not_there_leaves_nothing_open() -> None:
    async def start() -> None:
        Child(["/nowhere/to/be/found"], on_line=print, on_exit=print)

    with pytest.raises(FileNotFoundError):
        asyncio.run(start())


def test_ends_are_described_for_people() -> None:
    assert describe_exit(-9) == "died of SIGKILL"
    assert describe_exit(2) == "ended with status 2"
    assert describe_exit(-64) == "died of SIGRTMAX"
    assert describe_exit(-40) == "died of signal 40"
