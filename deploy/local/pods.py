"""Runs pods: a listening socket and a server process for each, as ``reconcile`` decides."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.child import Child, describe_exit
from deploy.local.readiness import Readiness
from deploy.local.reconcile import (
    Action,
    AwaitArchive,
    Forget,
    Kill,
    PodRecord,
    Start,
    Stop,
    awaiting,
    died,
    ended,
    in_question,
    reconcile,
    started,
    stopping,
)
from deploy.local.sidecars import Reports
from deploy.local.told_line import pod_line
from gateway.control.desired_pods import DesiredPod
from model_pod.wire.status import PodState

BACKLOG = 4096  # connections that wait while a pod's server is restarted
UNIX = "unix:"
PROGRAM = (sys.executable, "-m", "model_pod.server")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PodPlaces:
    """What all pods are started with.

    Attributes:
        model_store: directory of archives.
        extracted_dir: where archives are unpacked.
        lifeline_fd: read end of a pipe that ends when the mesh does.
        reports: where a pod tells its sidecar what happens; None where it tells nothing. Asked at each start, and no
            reason for one: a pod that runs goes on with what it was started with, for loading it again costs more
            than a rate that is of use only to requests without a gateway.
        program: the command of a pod's server before our options.
        most_loading: how many pods may load at a time; each has one processor busy.
    """

    model_store: Path
    extracted_dir: Path
    lifeline_fd: int
    reports: Callable[[DesiredPod], Reports | None] = lambda pod: None
    program: tuple[str, ...] = PROGRAM
    most_loading: int = field(default_factory=lambda: len(os.sched_getaffinity(0)))


class Pods:
    """The pods of this machine.

    A pod's socket is bound and kept here, so connections wait in it while the pod's server is restarted.

    Args:
        on_missing: called with a pod whose archive is not in the model store, and with the archive with which it goes
            on meanwhile, "" when it does not run.
        on_change: called when a pod ended, so that the next look is not waited for.
    """

    def __init__(
        self, places: PodPlaces, say: Say, on_missing: Callable[[DesiredPod, str], None], on_change: Callable[[], None]
    ) -> None:
        self._places = places
        self._say = say
        self._on_missing = on_missing
        self._on_change = on_change
        self._records: dict[str, PodRecord] = {}
        self._children: dict[str, Child] = {}
        self._sockets: dict[str, socket.socket] = {}
        self._readiness = Readiness()

    @property
    def pids(self) -> set[int]:
        """Process ids of the pods' servers."""
        return {child.pid for child in self._children.values()}

    @property
    def present(self) -> list[DesiredPod]:
        """The pods that run, or are started again."""
        return [record.pod for record in self._records.values()]

    def tend(self, desired: Iterable[DesiredPod], now_s: float) -> None:
        """Do what must be done now for the running pods to become the desired ones."""
        wanted = tuple(desired)
        known = (*wanted, *(record.pod for record in self._records.values()))
        archives = {pod.archive for pod in known if self._has_archive(pod)}
        most = self._places.most_loading
        states = self._known_states(in_question(wanted, self._records, archives, now_s, most))
        for action in reconcile(wanted, self._records, archives, states, now_s, most):
            self._do(action, now_s)

    def _known_states(self, running: Iterable[DesiredPod]) -> dict[str, PodState]:
        pods = tuple(running)
        self._readiness.watch(pods)
        known = {pod.name: self._readiness.of(pod.name, self._children[pod.name].pid) for pod in pods}
        return {name: state for name, state in known.items() if state is not None}

    def stop_all(self, now_s: float) -> None:
        """Ask every pod to finish."""
        self.tend((), now_s)

    def kill_all(self) -> None:
        """End every pod."""
        for child in self._running():
            child.kill()

    def _running(self) -> Iterator[Child]:
        return (child for child in list(self._children.values()) if not child.has_ended)

    def close(self) -> None:
        """Let go of sockets; every process has ended."""
        for address in list(self._sockets):
            self._close_socket(address)

    def _has_archive(self, pod: DesiredPod) -> bool:
        # A name with a slash could leave the store.
        return "/" not in pod.archive and (self._places.model_store / pod.archive).exists()

    def _do(self, action: Action, now_s: float) -> None:
        match action:
            case Start(pod):
                self._start(pod, now_s)
            case AwaitArchive(pod, meanwhile):
                self._records[pod.name] = awaiting(pod, self._records.get(pod.name), meanwhile, now_s)
                self._on_missing(pod, meanwhile)
            case Stop(name, replaced):
                self._stop(name, replaced, now_s)
            case Kill(name):
                self._say(f"pod {name}: did not finish in time, killed")
                self._children[name].kill()
                self._records[name] = stopping(self._records[name], now_s)
            case Forget(name):
                self._close_socket(self._records.pop(name).pod.address)

    def _start(self, pod: DesiredPod, now_s: float) -> None:
        try:
            listener = self._listener(pod.address)
            child = self._spawn(pod, listener.fileno())
        except OSError as error:
            self._records[pod.name] = died(started(pod, self._records.get(pod.name), now_s), now_s)
            self._say(f"pod {pod.name}: cannot be started: {error}; tried again soon")
            return
        self._records[pod.name] = started(pod, self._records.get(pod.name), now_s)
        self._children[pod.name] = child
        self._say(f"pod {pod.name}: started (pid {child.pid}) from {pod.archive}")

    def _spawn(self, pod: DesiredPod, listen_fd: int) -> Child:
        reports = self._places.reports(pod)
        return Child(
            server_argv(pod, self._places, listen_fd, reports),
            pass_fds=(listen_fd, self._places.lifeline_fd),
            on_line=lambda line: self._say(pod_line(line, pod.name)),
            on_exit=lambda status: self._ended(pod.name, status),
            takes_group=True,
            extra_environ={"OTEL_EXPORTER_OTLP_ENDPOINT": reports.otlp} if reports else None,
        )

    def _stop(self, name: str, replaced: bool, now_s: float) -> None:
        record = self._records[name]
        self._records[name] = stopping(record, now_s)
        self._say(f"pod {name}: {'has a new config, is replaced' if replaced else 'drains'}")
        if not replaced:
            self._close_socket(record.pod.address)  # the server has its own copy, and answers what came in
        self._children[name].stop()

    def _ended(self, name: str, status: int) -> None:
        now_s = time.monotonic()
        del self._children[name]
        record = self._records[name]
        after = ended(record, now_s)
        if after is None:
            del self._records[name]
            self._say(f"pod {name}: stopped")
        else:
            self._records[name] = after
            wait_s = after.start_at_s - now_s
            soon = f"in {wait_s:.1f} s" if wait_s > 0 else "at once"
            self._say(f"pod {name}: {describe_exit(status)} after {now_s - record.since_s:.1f} s, started again {soon}")
        self._on_change()

    def _listener(self, address: str) -> socket.socket:
        kept = self._sockets.get(address)
        if kept is not None:
            return kept
        path = Path(address.removeprefix(UNIX))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # left by a mesh that was killed: the state directory's lock is ours
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            listener.listen(BACKLOG)
        except OSError:
            listener.close()
            raise
        listener.setblocking(False)
        self._sockets[address] = listener
        return listener

    def _close_socket(self, address: str) -> None:
        listener = self._sockets.pop(address, None)
        if listener is not None:
            listener.close()
            with suppress(OSError):
                Path(address.removeprefix(UNIX)).unlink(missing_ok=True)


def server_argv(pod: DesiredPod, places: PodPlaces, listen_fd: int, reports: Reports | None) -> list[str]:
    """Return the command that serves one pod."""
    return [
        *places.program,
        *("--model", pod.model, "--version", pod.version),
        *("--archive", str(places.model_store / pod.archive)),
        *("--listen-fd", str(listen_fd), "--lifeline-fd", str(places.lifeline_fd)),
        *("--extracted-dir", str(places.extracted_dir)),
        *("--device", pod.device),
        *("--max-rows", str(pod.max_rows), f"--max-wait-s={pod.max_wait_s}"),
        *(_report_options(reports) if reports else ()),
    ]


def _report_options(reports: Reports) -> tuple[str, ...]:
    return ("--records", reports.records, "--kept-per-s", str(reports.kept_per_s), "--drift", reports.drift)
