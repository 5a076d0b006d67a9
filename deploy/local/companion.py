"""Keeps one process of telemetry running beside the gateway and the pods, or keeps it from running."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from deploy.local.child import Child, describe_exit
from deploy.local.restart import count_quick_deaths, pause_s
from deploy.local.told_line import companion_line

# Telemetry gives way to requests where both want the processor: a weight of 110 against 1024.
NICENESS = 10
ENDS_WITHIN_S = 5.0  # what one gets to hand on what it has once it was told to end; a sidecar takes 2 s


class CompanionProcess:
    """A sidecar or the hub, or the wait for its next start.

    It is started again when it dies, and begun anew when its command changes; then it has ``ENDS_WITHIN_S`` before it
    is killed. One that hangs or is stopped with nobody asking it to end stays as it is: it costs telemetry, no request.

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
        self._end_by_s: float | None = None  # None while it is not told to end
        self._is_stopping = False

    @property
    def pid(self) -> int:
        """Its process id; 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    def tend(self, argv: Sequence[str] | None, now_s: float) -> None:
        """See that it runs with this command, or that it does not run where there is none."""
        if self._is_stopping:
            return
        wanted = None if argv is None else tuple(argv)
        if self._child is not None:
            self._tend_child(self._child, wanted, now_s)
        # A new command is tried at once: it may be the very cure for what ended the process before.
        elif wanted is not None and (wanted != self._argv or now_s >= self._start_at_s):
            self._argv = wanted
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

    def _tend_child(self, child: Child, wanted: tuple[str, ...] | None, now_s: float) -> None:
        if self._end_by_s is None:
            if wanted != self._argv:
                self._end_by_s = now_s + ENDS_WITHIN_S
                child.stop()
        elif now_s >= self._end_by_s:
            self._end_by_s = float("inf")
            self._say(f"{self._name}: did not finish in time, killed")
            child.kill()

    def _start(self, now_s: float) -> None:
        self._started_s = now_s
        try:
            self._child = Child(self._argv, pass_fds=self._pass_fds, on_line=self._tell, on_exit=self._ended)
        except OSError as error:
            self._wait(f"cannot be started: {error}")
            return
        with suppress(OSError):  # it is gone already, or may not be moved: then it has its share of the processor
            os.setpriority(os.PRIO_PROCESS, self._child.pid, NICENESS)

    def _tell(self, line: str) -> None:
        self._say(companion_line(line, self._name))

    def _ended(self, status: int) -> None:
        was_told, self._end_by_s = self._end_by_s is not None, None
        self._child = None
        if was_told:
            self._say(f"{self._name}: stopped")
        elif not self._is_stopping:
            self._wait(describe_exit(status))

    def _wait(self, what_happened: str) -> None:
        now_s = time.monotonic()
        self._quick_deaths = count_quick_deaths(self._quick_deaths, now_s - self._started_s)
        wait_s = pause_s(self._quick_deaths)
        self._start_at_s = now_s + wait_s
        self._say(f"{self._name}: {what_happened}, started again {f'in {wait_s:.1f} s' if wait_s else 'at once'}")
