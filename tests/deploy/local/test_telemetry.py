"""Sidecars and the hub beside stand-ins: they run as policy says, and come back when they die."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from deploy.local.kept import NICENESS
from gateway.control import last_good
from policies.snapshot import Launch, Listen, Mesh, Route, Snapshot, Tracing, Version
from tests.deploy.local.test_mesh import RunningMesh, pod, wait_until_gone, write_desired

PAGES = (Listen("127.0.0.1:0", "dashboards"), Listen("127.0.0.1:0", "otlp"))


def put_in_force(directory: Path, listen: tuple[Listen, ...] = (), attributes: tuple[str, ...] = ()) -> None:
    """Keep a policy as the supervisor keeps the one in force."""
    route = Route("digits", "team", {"1": Version("1", launch=Launch("model.mar"))}, stable="1")
    mesh = Mesh("demo", listen, tracing=Tracing(attributes=attributes))
    last_good.keep(directory / "state", Snapshot(1, "", mesh, routes={"digits": route}), loaded_at_s=0.0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("policies", "state", "models"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "models" / "model.mar").touch()
    write_desired(tmp_path / "policies", pod(tmp_path))
    put_in_force(tmp_path)
    return tmp_path


@pytest.fixture
def mesh(directory: Path) -> Iterator[RunningMesh]:
    running = RunningMesh(directory, "--kill-after-s=1.5")
    yield running
    if running.process.poll() is None:
        running.stop()
    elif running.process.stdout is not None:
        running.process.stdout.close()


def runs(mesh: RunningMesh, name: str) -> tuple[int, list[str]]:
    """Wait for the next line with which a process says that it runs; return its id and its arguments."""
    match = mesh.wait_for(rf"{name}\| runs as (\d+) with (.*)$")
    return int(match[1]), json.loads(match[2])


def option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def test_the_gateway_and_each_pod_have_a_sidecar_and_nobody_a_hub_unless_policy_lists_one(mesh: RunningMesh) -> None:
    arguments = dict([runs(mesh, "sidecar (?:gateway|m/1/0)") for _ in range(2)]).values()
    of_gateway, of_pod = sorted(arguments, key=lambda one: "--pod" in one)
    assert "--pod" not in of_gateway
    assert option(of_gateway, "--export") == option(of_pod, "--export") == "none"
    assert option(of_pod, "--keep-from").startswith("http://127.0.0.1:")
    mesh.stop()
    assert not [line for line in mesh.printed if "hub" in line]


def test_the_hub_runs_where_policy_says_and_is_what_sidecars_export_to(directory: Path, mesh: RunningMesh) -> None:
    runs(mesh, "sidecar gateway")
    put_in_force(directory, PAGES)
    _, of_hub = runs(mesh, "hub")
    assert option(of_hub, "--listen") == option(of_hub, "--otlp") == "127.0.0.1:0"
    _, of_sidecar = runs(mesh, "sidecar gateway")  # begun anew, for its command changed
    assert (
        option(of_sidecar, "--export") == f"unix:{directory}/state/hub.sock" == f"unix:{option(of_hub, '--otlp-unix')}"
    )


def test_a_sidecar_that_dies_is_started_again_on_the_same_sockets(directory: Path, mesh: RunningMesh) -> None:
    pid, before = runs(mesh, "sidecar m/1/0")
    assert os.getpriority(os.PRIO_PROCESS, pid) == NICENESS
    os.kill(pid, signal.SIGKILL)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as recorder:
        recorder.connect(str(directory / "1-0.rec"))  # whoever records does not notice
        recorder.send(b"record")
    _, after = runs(mesh, "sidecar m/1/0")
    assert after == before


def test_the_sidecar_of_a_pod_that_is_gone_leaves(directory: Path, mesh: RunningMesh) -> None:
    pid, _ = runs(mesh, "sidecar m/1/0")
    mesh.desire()
    wait_until_gone(pid)
    assert not (directory / "1-0.rec").exists()


def test_prometheus_is_told_where_the_sidecars_are(directory: Path, mesh: RunningMesh) -> None:
    runs(mesh, "sidecar (?:gateway|m/1/0)")
    runs(mesh, "sidecar (?:gateway|m/1/0)")
    targets = msgspec.json.decode((directory / "state" / "prometheus-targets.json").read_bytes())
    assert [target["labels"] for target in targets] == [
        {"penstock_sidecar": "gateway"},
        {"penstock_sidecar": "m/1/0"},
    ]


def test_attributes_that_policy_allows_are_told_to_sidecars(directory: Path, mesh: RunningMesh) -> None:
    runs(mesh, "sidecar gateway")
    put_in_force(directory, attributes=("app.user", "app.cart.*"))
    _, arguments = runs(mesh, "sidecar gateway")
    assert option(arguments, "--attributes") == "app.user,app.cart.*"


def test_when_the_mesh_ends_nothing_of_telemetry_is_left(mesh: RunningMesh) -> None:
    pids = [runs(mesh, "sidecar (?:gateway|m/1/0)")[0] for _ in range(2)]
    assert mesh.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
