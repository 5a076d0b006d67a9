"""Light pods as processes: each with a listening socket that outlives it, as ``penstock up`` keeps those of its own."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import msgspec

from tests.faults.ledgers import Death
from tests.faults.oracle.answers import BEHAVIOUR_PATH, SEEN_PATH, Behaviour, Seen
from tests.system.processes import kill_now, stopped

_BACKLOG = 4096
_ANSWERS_WITHIN_S = 60.0


@dataclass(slots=True)
class LightPod:
    """One light pod: its socket, and the process that serves it now.

    Attributes:
        options: of its program.
    """

    listening: socket.socket
    options: Sequence[str]
    process: subprocess.Popen[bytes]

    @property
    def address(self) -> str:
        """Where it listens, as a policy writes it."""
        host, port = self.listening.getsockname()
        return f"{host}:{port}"

    def kill(self) -> Death:
        """Kill -9 it, and return when; connections wait until it is started again."""
        killed = kill_now([self.process.pid])
        self.process.wait()
        return Death("pod", self.process.pid, killed.at_s, killed.gone_s)

    def start_again(self) -> None:
        """Serve the same socket from a new process."""
        self.process = _start(self.listening, self.options)

    def behave(self, behaviour: Behaviour) -> None:
        """Have it behave so from now on; a pod that is started again behaves well."""
        url = f"http://{self.address}{BEHAVIOUR_PATH.decode()}"
        content = msgspec.json.encode(behaviour)
        httpx.post(url, content=content, trust_env=False, timeout=_ANSWERS_WITHIN_S).raise_for_status()

    def seen(self) -> Seen:
        """Return what it has seen since it started."""
        url = f"http://{self.address}{SEEN_PATH.decode()}"
        answer = httpx.get(url, trust_env=False, timeout=_ANSWERS_WITHIN_S).raise_for_status()
        return msgspec.json.decode(answer.content, type=Seen)

    def stop_and_go_on_after(self, wait_s: float) -> None:
        """Stop it as SIGSTOP does, and let it go on."""
        with stopped([self.process.pid]):
            time.sleep(wait_s)


def _start(listening: socket.socket, options: Sequence[str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.faults.oracle.pod", "--listen-fd", str(listening.fileno()), *options]
    return subprocess.Popen(command, pass_fds=[listening.fileno()])


@contextmanager
def light_pods(
    count: int, ledger: Path, *, model: str = "oracle", http_only: bool = False, hosts: Sequence[str] = ()
) -> Iterator[Sequence[LightPod]]:
    """Run so many light pods, which share one execution ledger; they speak the link if they may.

    Args:
        hosts: one for each, all on the port that the first finds free; each on a port of its own without.
    """
    pods: list[LightPod] = []
    try:
        for index in range(count):
            port = pods[0].listening.getsockname()[1] if hosts and pods else 0
            host = hosts[index] if hosts else "127.0.0.1"
            listening = socket.create_server((host, port), backlog=_BACKLOG)
            options = [
                "--name",
                f"light-{index}",
                "--model",
                model,
                "--ledger",
                str(ledger),
                *["--http-only"] * http_only,
            ]
            pods.append(LightPod(listening, options, _start(listening, options)))
        for pod in pods:
            pod.seen()  # its connection waits until it serves
        yield pods
    finally:
        for pod in pods:
            pod.process.kill()
            pod.process.wait()
            pod.listening.close()
