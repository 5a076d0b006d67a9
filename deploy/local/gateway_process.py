"""Runs the gateway's supervisor, and starts it again when it dies; gives up when its very first start is refused."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.local.child import Child, describe_exit
from deploy.local.restart import count_quick_deaths, pause_s
from deploy.local.told_line import gateway_line

PROGRAM = (sys.executable, "-m", "gateway.control")
DRAIN_WITHIN_S = 7.0  # leaves the pods their turn within the ten seconds that the mesh has to end


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """What the supervisor is started with.

    Attributes:
        workers: how many; None leaves it to the supervisor.
        lifeline_fd: read end of a pipe that ends when the mesh does.
        records: path that its workers record to; "" records nothing.
        program: the supervisor's command before our options.
    """

    policies: Path
    state: Path
    workers: int | None
    local_key_sha256: str
    lifeline_fd: int
    records: str = ""
    program: tuple[str, ...] = PROGRAM

    def argv(self) -> list[str]:
        """Return the supervisor's command."""
        return [
            *self.program,
            *("--policies", str(self.policies), "--state", str(self.state)),
            *(() if self.workers is None else ("--workers", str(self.workers))),
            *("--local-key-sha256", self.local_key_sha256),
            *("--lifeline-fd", str(self.lifeline_fd)),
            *(("--records", self.records) if self.records else ()),
            *("--drain-delay-s", "0", "--drain-within-s", str(DRAIN_WITHIN_S)),
        ]


class GatewayProcess:
    """The supervisor's process, or the wait for its next start.

    Attributes:
        has_started: a supervisor has published its addresses, so the policy and the ports were good once.

    Args:
        on_refused: called when it ends with an error before it has started: another start would end the same way.
    """

    def __init__(self, spec: GatewaySpec, say: Callable[[str], None], on_refused: Callable[[], None]) -> None:
        self._spec = spec
        self._say = say
        self._on_refused = on_refused
        self._child: Child | None = None
        self._quick_deaths = 0
        self._started_s = 0.0
        self._start_at_s = 0.0
        self._is_stopping = False
        self.has_started = False

    @property
    def pid(self) -> int:
        """The supervisor's process id; 0 while there is none."""
        return 0 if self._child is None else self._child.pid

    def tend(self, now_s: float) -> None:
        """Start the supervisor when there is none and its time has come."""
        if self._child is None and not self._is_stopping and now_s >= self._start_at_s:
            self._start(now_s)

    def stop(self) -> None:
        """Ask the supervisor to drain; it is not started again."""
        self._is_stopping = True
        if self._child is not None:
            self._child.stop()

    def kill(self) -> None:
        """End the supervisor and its workers."""
        self._is_stopping = True
        if self._child is not None:
            self._child.kill()

    def _start(self, now_s: float) -> None:
        self._started_s = now_s
        try:
            self._child = Child(
                self._spec.argv(),
                pass_fds=(self._spec.lifeline_fd,),
                on_line=lambda line: self._say(gateway_line(line)),
                on_exit=self._ended,
            )
        except OSError as error:
            self._wait_for_next_start(f"cannot be started: {error}")

    def _ended(self, status: int) -> None:
        self._child = None
        if self._is_stopping:
            self._say("gateway: stopped")
        elif status > 0 and not self.has_started:
            self._is_stopping = True
            self._on_refused()
        else:
            self._wait_for_next_start(describe_exit(status))

    def _wait_for_next_start(self, what_happened: str) -> None:
        now_s = time.monotonic()
        self._quick_deaths = count_quick_deaths(self._quick_deaths, now_s - self._started_s)
        wait_s = pause_s(self._quick_deaths)
        self._start_at_s = now_s + wait_s
        soon = f"in {wait_s:.1f} s" if wait_s else "at once"
        self._say(f"gateway: supervisor {what_happened}, started again {soon}")
