"""Our gateway, started as its users start it: with a sidecar's socket, decisions recorded, limits and objectives."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from gateway.control.runtime_file import FILE_NAME, RunningMesh
from tests.benchmarks import sink
from tests.benchmarks.contender import Contender
from tests.benchmarks.cores import Cores
from tests.benchmarks.mesh_policy import MeshPolicy, write_policies
from tests.benchmarks.processes import NotStarted, Program, await_answer, running

OURS = "Penstock"
STARTS_WITHIN_S = 60.0
WORKER_MIB = 60  # what a worker may hold
WORKER_TITLE = "penstock gateway worker"


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway.

    Attributes:
        inference: HOST:PORT.
        grpc: HOST:PORT.
        policies: its policy directory.
    """

    program: Program
    inference: str
    grpc: str
    policies: Path

    def contender(self, name: str, model: str) -> Contender:
        """Return the way to one model."""
        return Contender(name, self.inference, f"/predictions/{model}", self.program, WORKER_TITLE)


@contextmanager
def running_gateway(
    cores: set[int], policy: MeshPolicy, folder: Path, options: Sequence[str] = ("--workers", "1")
) -> Iterator[RunningGateway]:
    """Start a gateway; its policies and state lie in the folder.

    Args:
        options: of the gateway's command line.
    """
    policies, state = folder / "policies", folder / "state"
    write_policies(policies, policy)
    state.mkdir(mode=0o700)
    arguments = [sys.executable, "-m", "gateway.control", "--policies", str(policies), "--state", str(state), *options]
    # A mesh that runs here keeps its own runtime file.
    environ = {"XDG_RUNTIME_DIR": str(folder)}
    with running(arguments, cores=cores, log=folder / "penstock.log", environ=environ) as program:
        mesh = _published(state / FILE_NAME, program)
        inference = mesh.inference.removeprefix("http://")
        await_answer(inference, "/readyz", program, STARTS_WITHIN_S)
        yield RunningGateway(program, inference, mesh.inference_grpc, policies)


@contextmanager
def recording_gateway(cores: Cores, policy: MeshPolicy, folder: Path, workers: int = 1) -> Iterator[RunningGateway]:
    """Start a gateway with everything on; what it records is taken by a process on the load's core."""
    folder.mkdir(exist_ok=True)
    records = folder / "records.sock"
    sink_line = [sys.executable, str(Path(sink.__file__)), str(records)]
    own_cores = {cores.proxy} if workers == 1 else cores.of_two_workers()
    options = ("--workers", str(workers), "--records", str(records))
    with (
        running(sink_line, cores={cores.load}, log=folder / "sink.log"),
        running_gateway(own_cores, policy, folder, options) as gateway,
    ):
        yield gateway


def _published(runtime_file: Path, program: Program) -> RunningMesh:
    until_s = time.monotonic() + STARTS_WITHIN_S
    while not runtime_file.exists():
        program.must_run()
        if time.monotonic() > until_s:
            raise NotStarted(f"no {runtime_file.name} after {STARTS_WITHIN_S:g} s: {program.said()}")
        time.sleep(0.05)
    return msgspec.json.decode(runtime_file.read_bytes(), type=RunningMesh)
