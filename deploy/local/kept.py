"""Keeps one process of telemetry running: started again when it dies, begun anew when its command changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from deploy.local.child import Child, describe_exit
from deploy.local.restart import count_quick_deaths, pause_s

# Telemetry gives way to requests where both want the processor: a weight of 110 against 1024.
NICENESS = 10


class Kept:
    """A sidecar or the hub, or the wait for its next start.

    Args:
        name: what its lines begin with.
        pass_fds: descriptors that it inherits.
    """

    def __init__(self, name: str, say: Callable[[str], None], pass_fds: Sequence[int]) -> None:
        self._name = name
        self._say = say
        self._pass_fds = tuple(pass_fds)
        self._child: Child | None = None
        self._argv: tuple[str, ...] = ()
        self._quick_deaths = 0
        self._started_s = 0.0
        self._start_at_s = 0.0
        self._is_stopping = False

    @property
    def pid(self) -> int:
        """Its process id; 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    def tend(self, argv: Sequence[str], now_s: float) -> None:
        """See that it runs with this command."""
        if self._is_stopping:
            return
        if self._child is not None:
            if self._argv != tuple(argv):
                self._argv = tuple(argv)
                self._start_at_s = now_s
                self._child.stop()
            return
        if now_s >= self._start_at_s:
            self._argv = tuple(argv)
            self._start(now_s)

    def stop(self) -> None:
        """Ask it to finish; it is not started again."""
        self._is_stopping = True
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End it at once; it is not started again."""
        self._is_stopping = True
        if self._child is not None:
            self._child.kill()

    def _start(self, now_s: float) -> None:
        self._started_s = now_s
        try:
            self._child = Child(self._argv, pass_fds=self._pass_fds, on_line=self._tell, on_exit=self._ended)
        except OSError as error:
            self._wait(f"cannot be started: {error}")
            return
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)

    def _tell(self, line: str) -> None:
        self._say(line if line.startswith(f"{self._name}: ") else f"{self._name}| {line}")

    def _ended(self, status: int) -> None:
        self._child = None
        if not self._is_stopping:
            self._wait(describe_exit(status))

    def _wait(self, what_happened: str) -> None:
        now_s = time.monotonic()
        if self._start_at_s > self._started_s:
            return  # it was told to end, for it has a new command
        self._quick_deaths = count_quick_deaths(self._quick_deaths, now_s - self._started_s)
        wait_s = pause_s(self._quick_deaths)
        self._start_at_s = now_s + wait_s
        self._say(f"{self._name}: {what_happened}, started again {f'in {wait_s:.1f} s' if wait_s else 'at once'}")
