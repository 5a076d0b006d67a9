"""One child process: its start, its lines, its end; knows nothing of what it is for."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from deploy.local.lines import LineSplitter

READ_BYTES = 65536


class Child:
    """A process in a process group of its own, whose output is taken line by line and never waits for us.

    The group keeps a Ctrl-C of the terminal away from it: the mesh decides who stops when. It stays in the session.

    Args:
        argv: program and arguments; never a shell's.
        pass_fds: descriptors that the child inherits under the same numbers.
        on_line: called with each line of its output.
        on_exit: called once, with the exit status as ``subprocess`` has it (negative: the signal that ended it).
        takes_group: processes left in its group when it ends are of no use, and are killed with it.
        extra_environ: variables beside our own.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        pass_fds: Sequence[int] = (),
        on_line: Callable[[str], None],
        on_exit: Callable[[int], None],
        takes_group: bool = False,
        extra_environ: Mapping[str, str] | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_line = on_line
        self._on_exit = on_exit
        self._takes_group = takes_group
        self._lines = LineSplitter()
        self._output_fd = -1
        self._exit_fd = -1
        self._process = self._start(argv, pass_fds, {**os.environ, **(extra_environ or {})})

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it ended and ``on_exit`` was called."""
        return self._exit_fd < 0

    def _start(
        self, argv: Sequence[str], pass_fds: Sequence[int], environ: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        self._output_fd, child_end = os.pipe()
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=child_end,
                stderr=child_end,
                pass_fds=pass_fds,
                env=environ,
                process_group=0,
            )
        except BaseException:
            os.close(self._output_fd)
            raise
        finally:
            os.close(child_end)
        try:
            self._exit_fd = os.pidfd_open(process.pid)
        except OSError:  # no descriptor is left: nobody would notice its end
            process.kill()
            process.wait()
            os.close(self._output_fd)
            raise
        os.set_blocking(self._output_fd, False)
        self._loop.add_reader(self._output_fd, self._read_output)
        self._loop.add_reader(self._exit_fd, self._reap)
        return process

    def stop(self) -> None:
        """Ask the process to finish."""
        if not self.has_ended:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and everything in its group."""
        if not self.has_ended:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _read_output(self) -> None:
        try:
            data = os.read(self._output_fd, READ_BYTES)
        except BlockingIOError:
            return
        if data:
            self._take(data)
        else:
            self._end_output()

    def _take(self, data: bytes) -> None:
        for line in self._lines.feed(data):
            self._on_line(line)

    def _end_output(self) -> None:
        self._loop.remove_reader(self._output_fd)
        os.close(self._output_fd)
        self._output_fd = -1
        for line in self._lines.finish():
            self._on_line(line)

    def _reap(self) -> None:
        if self._takes_group:
            # Before the wait below frees the process id, so that the group's number cannot be anybody else's.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self._loop.remove_reader(self._exit_fd)
        os.close(self._exit_fd)
        self._exit_fd = -1
        status = self._process.wait()
        if self._output_fd >= 0:
            self._read_output()  # what it said last comes before the news of its end
        self._on_exit(status)


def describe_exit(status: int) -> str:
    """Return how a process ended, for people."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"died of {signal.Signals(-status).name}"
    except ValueError:
        return f"died of signal {-status}"
