"""Runs the sidecars: one beside the gateway and one for each pod, on sockets that outlive their processes."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deploy.local.companion import CompanionProcess
from deploy.local.told_file import ToldFile
from gateway.control.desired_pods import DesiredPod

PROGRAM = (sys.executable, "-m", "telemetry.sidecar")
GATEWAY = "gateway"
TARGETS_FILE = "prometheus-targets.json"
SLOS_FILE = "slos.json"
ATTRIBUTES_FILE = "sidecar-attributes.json"
HUB_SOCKET = "hub.sock"
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
    """

    records: str
    otlp: str
    kept_per_s: float


class Sidecars:
    """The sidecars of this machine."""

    def __init__(self, places: SidecarPlaces, say: Callable[[str], None]) -> None:
        self._places = places
        self._say = say
        self._sidecars: dict[str, _Sidecar] = {}
        self._leaving: list[CompanionProcess] = []
        self._has_hub = False
        self._attributes_file = ToldFile(places.state / ATTRIBUTES_FILE, say)
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
        return Reports(str(sidecar.sockets.records_path), sidecar.sockets.url, kept_per_s)

    def tend(self, pods: Iterable[DesiredPod], attributes: tuple[str, ...], has_hub: bool, now_s: float) -> None:
        """See that the gateway's and these pods' sidecars run, and no others.

        Args:
            attributes: keys of spans' attributes that policy allows beside the usual ones.
            has_hub: there is a hub to send spans to.
        """
        self._has_hub = has_hub
        # Before a sidecar that starts now reads it; one that runs reads it again, and goes on counting.
        self._attributes_file.tell(msgspec.json.encode(attributes) + b"\n")
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
        export = f"unix:{places.state / HUB_SOCKET}" if self._has_hub else "none"
        argv = [
            *places.program,
            *("--listen-fd", str(sockets.http.fileno()), "--records-fd", str(sockets.records.fileno())),
            *("--export", export, "--lifeline-fd", str(places.lifeline_fd)),
            *("--slos", str(places.state / SLOS_FILE)),
            *("--attributes-file", str(places.state / ATTRIBUTES_FILE)),
        ]
        if sidecar.pod is not None:
            argv += ["--pod", sidecar.pod.address]
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
