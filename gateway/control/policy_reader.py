"""Reads and checks a policy directory in a child process, so that no set of files can stall or swell the supervisor.

One child waits with everything imported, reads once, and is followed by another: what a set of files did to a process
goes with it. A child that takes too long, wants too much memory or dies refuses the set like any other mistake.
"""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.worker_process import ending
from policies.errors import PolicyError
from policies.snapshot.generation import Snapshot

PROGRAM = (sys.executable, "-m", "gateway.control.policy_reader_program")
LIMIT_S = 30.0
# A snapshot of 50,000 files has a fraction of it.
_ANSWER_BYTES = 256 * 1024 * 1024
_READ_BYTES = 1024 * 1024
_ROOM = "Make room for one more process: it is tried again and again."
_SMALLER = "Undo the latest edit, or look for a file that is far larger than it should be."


class Reading(Struct, frozen=True):
    """What a directory says: a snapshot without a number, or what is wrong with it.

    Attributes:
        is_of_files: False says nothing of the files, and another reading may.
    """

    snapshot: Snapshot | None = None
    errors: tuple[PolicyError, ...] = ()
    is_of_files: bool = True


class PolicyReader:
    """The child that waits for the next reading."""

    def __init__(self, program: tuple[str, ...] = PROGRAM, limit_s: float = LIMIT_S) -> None:
        self._program = program
        self._limit_s = limit_s
        self._waiting: subprocess.Popen[bytes] | None = None

    @property
    def waiting_pid(self) -> int | None:
        """The process that waits for the next reading, None while there is none."""
        return self._waiting.pid if self._waiting is not None else None

    def warm(self) -> None:
        """Let a child import what it needs, so that the next reading starts at once."""
        if self._waiting is None:
            # Without one now, the next reading tries again and says why.
            with suppress(OSError):
                self._waiting = self._start()

    async def read(self, directory: Path) -> Reading:
        """Return what the directory says; whatever keeps the child from saying it is an error too."""
        if self._waiting is not None:
            child, self._waiting = self._waiting, None
            reading = await self._ask(child, directory)
            if isinstance(reading, Reading):
                return reading
        # A child that came to harm while it waited says nothing of these files: they get a fresh one.
        try:
            reading = await self._ask(self._start(), directory)
        except OSError as error:
            problem = f"no process for the check can be had: {error.strerror}"
            return Reading(errors=(PolicyError(".", 1, 1, problem, _ROOM),), is_of_files=False)
        return reading if isinstance(reading, Reading) else _failed(reading)

    def close(self) -> None:
        """End the child that waits."""
        if self._waiting is not None:
            with self._waiting as child:
                child.kill()
            self._waiting = None

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._program,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # Ctrl-C on a terminal is for the supervisor
        )

    async def _ask(self, child: subprocess.Popen[bytes], directory: Path) -> Reading | str:
        try:
            return await asyncio.to_thread(_ask, child, directory, self._limit_s)
        finally:
            # The thread may still wait for it, when we are cancelled.
            child.kill()
            self.warm()


def _ask(child: subprocess.Popen[bytes], directory: Path, limit_s: float) -> Reading | str:
    """Return the child's answer, or why it has none that says anything of the files."""
    with child:
        try:
            answer = _answer(child, os.fsencode(directory), time.monotonic() + limit_s)
        except TimeoutError:
            return _failed(f"the check took longer than {limit_s:g} s")
        except BrokenPipeError:
            answer = b""
        finally:
            child.kill()
    if len(answer) > _ANSWER_BYTES:
        return _failed(f"what the files say is larger than {_ANSWER_BYTES >> 20} MiB")
    try:
        return msgspec.msgpack.decode(answer, type=Reading)
    except msgspec.MsgspecError:
        return f"the check {ending(child.returncode)}"


def _answer(child: subprocess.Popen[bytes], question: bytes, until_s: float) -> bytes:
    """Ask, and read to the end of the answer or to the first byte too many.

    Raises:
        TimeoutError: it did not end in time.
        BrokenPipeError: the child is gone.
    """
    assert child.stdin is not None  # noqa: S101 - both are pipes
    assert child.stdout is not None  # noqa: S101
    child.stdin.write(question)
    child.stdin.close()
    readable = select.poll()
    readable.register(child.stdout, select.POLLIN)
    answer = bytearray()
    while len(answer) <= _ANSWER_BYTES:
        if not readable.poll(max(0.0, until_s - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(child.stdout.fileno(), _READ_BYTES)
        if not piece:
            break
        answer += piece
    return bytes(answer)


def _failed(problem: str) -> Reading:
    return Reading(errors=(PolicyError(".", 1, 1, problem, _SMALLER),))
