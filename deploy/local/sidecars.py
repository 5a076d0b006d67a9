"""Runs the sidecars: one beside the gateway and one for each pod, on sockets that outlive their processes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from deploy.local.companion import CompanionProcess
from deploy.local.told_file import ToldFile
from gateway.control.desired_pods import DesiredPod
from policies.snapshot.mesh import Export, Tracing
from policies.snapshot.watching import Drift
from telemetry.drift.files import DIRECTORY, SUFFIX

PROGRAM = (sys.executable, "-m", "telemetry.sidecar")
GATEWAY = "gateway"
TARGETS_FILE = "prometheus-targets.json"
SLOS_FILE = "slos.json"
ATTRIBUTES_FILE = "sidecar-attributes.json"
WATCHED_FILE = "drift.json"
HUB_SOCKET = "hub.sock"
QUEUES = "spans"
_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class SidecarPlaces:
    """What all sidecars are started with.

    Attributes:
        lifeline_fd: read end of a pipe that ends when the mesh does.
        program: the command of a sidecar before our options.
    """

    state: Path
    lifeline_fd: int
    program: tuple[str, ...] = PROGRAM

    @property
    def gateway_records(self) -> Path:
        """Where the gateway's workers tell what they record."""
        return self.state / "gateway.records"


class Sockets:
    """Where one sidecar is told things: kept here, so that what is told while it is started again waits in them.

    Raises:
        OSError: they cannot be bound.
    """

    def __init__(self, records: Path) -> None:
        self.records_path = records
        records.unlink(missing_ok=True)  # left by a mesh that was killed
        self.records = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self.records.bind(str(records))
            self.records.listen(_BACKLOG)
            self.http = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        except OSError:
            self.records.close()
            raise

    @property
    def url(self) -> str:
        """Where it serves metrics and takes spans."""
        return f"http://127.0.0.1:{self.http.getsockname()[1]}"

    def close(self) -> None:
        """Let go of them."""
        self.records.close()
        self.http.close()
        with suppress(OSError):
            self.records_path.unlink(missing_ok=True)


@dataclass(slots=True)
class _Sidecar:
    sockets: Sockets
    process: CompanionProcess
    pod: DesiredPod | None


@dataclass(frozen=True, slots=True)
class Reports:
    """Where a pod tells its sidecar what happens.

    Attributes:
        records: path of the socket for records.
        otlp: base URL for spans that its handler makes.
        kept_per_s: traces it keeps per second of requests that come by no gateway; more than 0.
        drift: path of the file that says how its rows are watched.
    """

    records: str
    otlp: str
    kept_per_s: float
    drift: str


class Sidecars:
    """The sidecars of this machine."""

    def __init__(self, places: SidecarPlaces, say: Callable[[str], None]) -> None:
        self._places = places
        self._say = say
        self._sidecars: dict[str, _Sidecar] = {}
        self._leaving: list[CompanionProcess] = []
        self._export: tuple[str, ...] = ("--export", "none")
        self._attributes_file = ToldFile(places.state / ATTRIBUTES_FILE, say)
        self._watched_file = ToldFile(places.state / WATCHED_FILE, say)
        self._targets_file = ToldFile(places.state / TARGETS_FILE, say)

    @property
    def pids(self) -> set[int]:
        """Process ids of the sidecars."""
        return {sidecar.process.pid for sidecar in self._sidecars.values()} | {process.pid for process in self._leaving}

    def of_gateway(self) -> str:
        """Return the path that the gateway's workers record to; "" where there can be none."""
        sidecar = self._ensure(GATEWAY, None)
        return str(sidecar.sockets.records_path) if sidecar else ""

    def of_pod(self, pod: DesiredPod, kept_per_s: float) -> Reports | None:
        """Return where a pod that starts now reports; None where policy wants no records, or there can be no sidecar.

        Both cost telemetry and nothing else. Where nothing is recorded the sidecar still tells how the pod does.
        """
        sidecar = self._ensure(pod.name, pod)
        if sidecar is None or kept_per_s <= 0:
            return None
        watched = str(self._places.state / WATCHED_FILE)
        return Reports(str(sidecar.sockets.records_path), sidecar.sockets.url, kept_per_s, watched)

    def tell_watched(self, watched: Mapping[str, Drift]) -> None:
        """Tell pods and sidecars how the inputs and outputs of models are watched."""
        self._watched_file.tell(msgspec.json.encode(watched, order="sorted") + b"\n")

    def tend(self, pods: Iterable[DesiredPod], tracing: Tracing, has_hub: bool, now_s: float) -> None:
        """See that the gateway's and these pods' sidecars run, and no others.

        Args:
            tracing: which attributes of spans may leave, and for where.
            has_hub: there is a hub to send spans to, where policy names nobody else.
        """
        hub = f"unix:{self._places.state / HUB_SOCKET}" if has_hub else "none"
        self._export = export_options(tracing.export) if tracing.export else ("--export", hub)
        # Before a sidecar that starts now reads it; one that runs reads it again, and goes on counting.
        self._attributes_file.tell(msgspec.json.encode(tracing.attributes) + b"\n")
        names = {GATEWAY} | {pod.name for pod in pods}
        for name in self._sidecars.keys() - names:
            self._release(self._sidecars.pop(name))
        self._leaving = [process for process in self._leaving if process.pid]
        for process in self._leaving:
            process.tend(None, now_s)
        for sidecar in self._sidecars.values():
            sidecar.process.tend(self._argv(sidecar), now_s)
        self._tell_targets()

    def stop_all(self) -> None:
        """Ask all of them to send what they have, and to leave."""
        for sidecar in self._sidecars.values():
            sidecar.process.stop()

    def kill_all(self) -> None:
        """End all of them."""
        for process in [*self._leaving, *(sidecar.process for sidecar in self._sidecars.values())]:
            process.kill()

    def close(self) -> None:
        """Let go of sockets; every process has ended."""
        for sidecar in self._sidecars.values():
            sidecar.sockets.close()

    def _ensure(self, name: str, pod: DesiredPod | None) -> _Sidecar | None:
        known = self._sidecars.get(name)
        if known is not None:
            return known
        try:
            sockets = Sockets(self._records_path(pod))
        except OSError as error:
            self._say(f"sidecar {name}: no socket for it ({error}); nothing is recorded")
            return None
        fds = (sockets.records.fileno(), sockets.http.fileno(), self._places.lifeline_fd)
        sidecar = _Sidecar(sockets, CompanionProcess(f"sidecar {name}", self._say, fds), pod)
        self._sidecars[name] = sidecar
        return sidecar

    def _records_path(self, pod: DesiredPod | None) -> Path:
        if pod is None:
            return self._places.gateway_records
        path = Path(pod.address.removeprefix("unix:")).with_suffix(".rec")  # no longer than the pod's own
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _release(self, sidecar: _Sidecar) -> None:
        sidecar.sockets.close()  # the process has its own copies, and takes what was told
        if sidecar.process.pid:
            self._leaving.append(sidecar.process)

    def _argv(self, sidecar: _Sidecar) -> list[str]:
        places, sockets = self._places, sidecar.sockets
        argv = [
            *places.program,
            *("--listen-fd", str(sockets.http.fileno()), "--records-fd", str(sockets.records.fileno())),
            *(*self._export, "--lifeline-fd", str(places.lifeline_fd)),
            # What a sidecar has not sent waits there for the next one of the same pod.
            *("--queue", str(places.state / QUEUES / quote(sidecar.pod.name if sidecar.pod else GATEWAY, safe=""))),
            *("--slos", str(places.state / SLOS_FILE)),
            *("--attributes-file", str(places.state / ATTRIBUTES_FILE)),
        ]
        if sidecar.pod is None:
            # One of them tells of what all have in common, and sends what those leave that do not come back.
            argv += ["--machine", str(places.state), "--left", str(places.state / QUEUES)]
        else:
            pod = sidecar.pod
            kept = places.state / DIRECTORY / pod.model / pod.version / f"{pod.name.rpartition('/')[2]}{SUFFIX}"
            argv += ["--pod", pod.address]
            argv += ["--drift-settings", str(places.state / WATCHED_FILE), "--drift-file", str(kept)]
            gateway = self._sidecars.get(GATEWAY)
            argv += ["--keep-from", gateway.sockets.url] if gateway is not None else []
        return argv

    def _tell_targets(self) -> None:
        """Write where Prometheus finds the sidecars, in the format of its file_sd_configs."""
        targets = [
            {"targets": [sidecar.sockets.url.removeprefix("http://")], "labels": {"penstock_sidecar": name}}
            for name, sidecar in sorted(self._sidecars.items())
        ]
        self._targets_file.tell(msgspec.json.format(msgspec.json.encode(targets)) + b"\n")


def export_options(export: Export) -> tuple[str, ...]:
    """Return how a sidecar is told where spans go. A place is told, and never what is kept there."""
    options = ["--export", export.to, "--queue-bytes", str(export.queue_bytes)]
    options += ["--export-timeout-s", f"{export.answer_within_s:g}"]
    options += ["--export-ca", export.ca.removeprefix("file:")] if export.ca else []
    if export.headers:
        kind, _, place = export.headers.partition(":")
        options += [f"--export-headers-{kind}", place]
    return tuple(options)
