"""A gateway for a fault: supervisor and workers in a session of their own, four tenants, and one model."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec

from gateway.control.runtime_file import FILE_NAME, RunningMesh
from gateway.decisions.folder import FOLDER
from gateway.errors import REASONS
from tests.faults.checker import Evidence, Footprint, KnownReason
from tests.faults.ledgers import Death, read_audited, read_executions, read_sent
from tests.faults.requests import Caller
from tests.system import processes
from tests.system.mesh import eventually

MODEL = "oracle"
PATH = f"/predictions/{MODEL}"
TENANTS = ("blue", "green", "red", "yellow")
_WORKER = r"penstock gateway worker \d+"
_STARTS_WITHIN_S = 120.0
_ENDS_WITHIN_S = 120.0
NOTHING: Mapping[str, str] = MappingProxyType({})
COMMAND = (sys.executable, "-m", "gateway.control")


def callers_of(tenants: Sequence[str] = TENANTS) -> list[Caller]:
    """Return a caller for each tenant; the key of a test is no secret."""
    return [Caller(tenant, f"fault-key-of-{tenant}-{'0' * 32}") for tenant in tenants]


def write_policies(folder: Path, pods: str, *, callers: Sequence[Caller], files: Mapping[str, str] = NOTHING) -> None:
    """Write a policy directory with one model and a tenant for each caller.

    Args:
        pods: where the model's pods come from, as a route's ``pods`` says it.
        files: in place of those written here, or beside them.
    """
    written = {
        "mesh.yaml": (
            'kind: mesh/v1\nlisten:\n  - {address: "127.0.0.1:0", serves: inference}\n'
            '  - {address: "127.0.0.1:0", serves: admin}\n  - {address: "127.0.0.1:0", serves: metrics}\nname: faults\n'
        ),
        "limits.yaml": "kind: limits/v1\ntiers:\n  usual: {rate: 1000000/s}\n",
        f"routes/{MODEL}.yaml": (
            f'kind: route/v1\nmodel: {MODEL}\nowner: test\nversions:\n  "1": {{pods: {{{pods}}}}}\nstable: "1"\n'
        ),
        **{f"tenants/{caller.tenant}.yaml": tenant(caller) for caller in callers},
        **files,
    }
    for name, content in written.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def route(model: str, pods: str, more: str = "") -> str:
    """Return a route file; ``more`` is lines of it."""
    return f'kind: route/v1\nmodel: {model}\nowner: test\n{more}versions:\n  "1": {{pods: {{{pods}}}}}\nstable: "1"\n'


def tenant(caller: Caller, tier: str = "usual") -> str:
    """Return a tenant file; it may call every model."""
    digest = hashlib.sha256(caller.key.encode()).hexdigest()
    return (
        f"kind: tenant/v1\nname: {caller.tenant}\nowner: test\ntier: {tier}\nkeys:\n"
        f'  - {{id: {caller.tenant}-key, sha256: "{digest}", scopes: [infer]}}\nmay_call: ["*"]\n'
    )


def static(addresses: Sequence[str]) -> str:
    """Return pods at these addresses, as a route says it."""
    listed = ", ".join(f'"{address}"' for address in addresses)
    return f"static: [{listed}]"


class GatewayUnderTest:
    """A gateway that runs in a session of its own.

    Attributes:
        deaths: of its processes, as ``kill`` has caused them.
    """

    def __init__(self, home: Path, workers: int, options: Sequence[str] = (), command: Sequence[str] = COMMAND) -> None:
        self.policies, self.state = home / "policies", home / "state"
        self.said = home / "gateway.log"
        self.deaths: list[Death] = []
        self.state.mkdir(mode=0o700)
        places = ["--policies", str(self.policies), "--state", str(self.state), "--workers", str(workers)]
        with self.said.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, *places, *options],
                env={**os.environ, "XDG_RUNTIME_DIR": str(home)},
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self._worker_count = workers

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's process."""
        return self._process.pid

    def published(self) -> RunningMesh:
        """Return its addresses and its token."""
        return msgspec.json.decode((self.state / FILE_NAME).read_bytes(), type=RunningMesh)

    @property
    def url(self) -> str:
        """Of the inference API."""
        return self.published().inference

    def wait_until_ready(self) -> None:
        """Wait until it serves."""
        eventually((self.state / FILE_NAME).exists, f"it starts:\n{self}", within_s=_STARTS_WITHIN_S)
        eventually(self.is_ready, f"it is ready:\n{self}", within_s=_STARTS_WITHIN_S)

    def is_ready(self) -> bool:
        """Whether ``/readyz`` says so."""
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5.0).status_code == 200
        except httpx.HTTPError:
            return False

    def admin(self, path: str) -> Any:
        """Return what the management API answers."""
        mesh = self.published()
        headers = {"authorization": f"Bearer {mesh.token}"}
        answer = httpx.get(f"{mesh.management}/admin/{path}", headers=headers, trust_env=False, timeout=30.0)
        return answer.raise_for_status().json()

    def metrics(self) -> str:
        """Return what Prometheus reads."""
        return httpx.get(f"{self.published().metrics}/metrics", trust_env=False, timeout=30.0).text

    def serving(self) -> list[int]:
        """Return the workers that accept."""
        return [worker["pid"] for worker in self.admin("status")["workers"] if worker["is_accepting"]]

    def is_whole(self) -> bool:
        """Whether as many workers accept as should."""
        with suppress(httpx.HTTPError):
            return len(self.serving()) == self._worker_count
        return False

    def has_spare(self) -> bool:
        """Whether one more stands by, beside as many that accept as should."""
        return self.is_whole() and len(self.everyone()) == self._worker_count + 1

    def everyone(self) -> list[int]:
        """Return every worker process, those that stand by too."""
        return [pid for pid, title in processes.of_session(self._process.pid).items() if re.fullmatch(_WORKER, title)]

    def kill(self, pids: Sequence[int]) -> None:
        """Kill -9 these workers at once."""
        killed = processes.kill_now(pids)
        self.deaths += [Death("worker", pid, killed.at_s, killed.gone_s) for pid in pids]

    def footprint(self) -> dict[str, Footprint]:
        """Return what each of its processes has, by title; a spare's title is that of the worker it may become."""
        return {title: footprint_of(pid) for pid, title in processes.of_session(self._process.pid).items()}

    def terminate(self) -> None:
        """Tell it to stop."""
        self._process.send_signal(signal.SIGTERM)

    def wait_for_end(self, within_s: float = _ENDS_WITHIN_S) -> int:
        """Return its exit status."""
        return self._process.wait(within_s)

    def evidence(self, *, attempts: Path, executions: Path, deaths: Sequence[Death] = ()) -> Evidence:
        """Join the ledgers of a run; once the gateway has ended, so that all its records are written."""
        sent, ends = read_sent(attempts)
        audited, _ = read_audited(self.state / FOLDER)
        return Evidence(
            sent, ends, read_executions(executions), audited, known_reasons(), range(1, 1000),
            deaths=[*self.deaths, *deaths],
        )  # fmt: skip

    def destroy(self) -> None:
        """End what is left of it, and print what it said, which pytest shows for a test that failed."""
        processes.destroy_session(self._process.pid)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDS_WITHIN_S)
        print(self)

    def __str__(self) -> str:
        return self.said.read_text(errors="replace")


def known_reasons() -> dict[str, KnownReason]:
    """Return the registry as the checker wants it."""
    return {name: KnownReason(reason.status, reason.retryable) for name, reason in REASONS.items()}


def footprint_of(pid: int) -> Footprint:
    """Return what a process has now."""
    place = Path(f"/proc/{pid}")
    pages = int((place / "statm").read_text().split()[1])
    tasks, files = list((place / "task").iterdir()), list((place / "fd").iterdir())
    return Footprint(len(files), len(tasks), pages * os.sysconf("SC_PAGE_SIZE"))


@contextmanager
def running_gateway(
    home: Path, pods: str, *, callers: Sequence[Caller], workers: int = 2, files: Mapping[str, str] = NOTHING,
    options: Sequence[str] = (), command: Sequence[str] = COMMAND,
) -> Iterator[GatewayUnderTest]:  # fmt: skip
    """Run a gateway until it is ready, and stop it well at the end.

    Args:
        command: that starts it, before its options.
    """
    write_policies(home / "policies", pods, callers=callers, files=files)
    gateway = GatewayUnderTest(home, workers, options, command)
    try:
        gateway.wait_until_ready()
        yield gateway
        gateway.terminate()
        assert gateway.wait_for_end() == 0, f"the gateway failed:\n{gateway}"
    finally:
        gateway.destroy()
