"""Sidecars and the hub beside stand-ins: they run as policy says, and come back when they die."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from deploy.local.companion import NICENESS
from gateway.control import last_good
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Export, Listen, Mesh, Tracing
from policies.snapshot.route import Launch, Route, Version
from tests.deploy.local.test_mesh import RunningMesh, pod, wait_until_gone, write_desired

TRACING = Tracing()
HUB_OR_SIDECAR = r"(hub|sidecar gateway)\| runs as \d+ with (.*)$"
PAGES = (Listen("127.0.0.1:0", "dashboards"), Listen("127.0.0.1:0", "otlp"), Listen("127.0.0.1:0", "otlp-grpc"))


def put_in_force(directory: Path, listen: tuple[Listen, ...] = (), tracing: Tracing = TRACING) -> None:
    """Keep a policy as the supervisor keeps the one in force."""
    route = Route("digits", "team", {"1": Version("1", launch=Launch("model.mar"))}, stable="1")
    mesh = Mesh("demo", listen, tracing=tracing)
    last_good.keep(directory / "state", Snapshot(1, "", mesh, routes={"digits": route}), loaded_at_s=0.0)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("policies", "state", "models"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "models" / "model.mar").touch()
    write_desired(tmp_path / "policies", pod(tmp_path))
    put_in_force(tmp_path)
    return tmp_path


@contextmanager
def running(directory: Path) -> Iterator[RunningMesh]:
    """Start a mesh; stop it at the end, if the test has not."""
    mesh = RunningMesh(directory, "--kill-after-s=1.5")
    try:
        yield mesh
    finally:
        if mesh.process.poll() is None:
            mesh.stop()
        elif mesh.process.stdout is not None:
            mesh.process.stdout.close()


@pytest.fixture
def mesh(directory: Path) -> Iterator[RunningMesh]:
    with running(directory) as mesh:
        yield mesh


def said(mesh: RunningMesh, *patterns: str) -> None:
    """Wait until there was a line like each of these, in whatever order."""
    missing = list(patterns)
    while missing:
        line = mesh.wait_for("|".join(missing)).string
        missing = [pattern for pattern in missing if not re.search(pattern, line)]


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
    # The gateway's sends what pods' sidecars left that do not come back.
    assert option(of_gateway, "--left") == str(Path(option(of_pod, "--queue")).parent)
    assert "--left" not in of_pod
    assert option(of_gateway, "--export") == option(of_pod, "--export") == "none"
    assert option(of_pod, "--keep-from").startswith("http://127.0.0.1:")
    mesh.stop()
    assert not [line for line in mesh.printed if "hub" in line]


def test_the_hub_runs_where_policy_says_and_is_what_sidecars_export_to(directory: Path, mesh: RunningMesh) -> None:
    runs(mesh, "sidecar gateway")
    put_in_force(directory, PAGES)
    # The sidecar is begun anew, for its command changed; which of the two says first that it runs is open.
    started = [mesh.wait_for(HUB_OR_SIDECAR) for _ in range(2)]
    arguments = {match[1]: json.loads(match[2]) for match in started}
    of_hub, of_sidecar = arguments["hub"], arguments["sidecar gateway"]
    assert [option(of_hub, name) for name in ("--listen", "--otlp", "--otlp-grpc")] == ["127.0.0.1:0"] * 3
    assert (
        option(of_sidecar, "--export") == f"unix:{directory}/state/hub.sock" == f"unix:{option(of_hub, '--otlp-unix')}"
    )


def test_where_policy_names_a_receiver_sidecars_send_there_and_keep_their_folder(
    directory: Path, mesh: RunningMesh
) -> None:
    _, before = runs(mesh, "sidecar gateway")
    export = Export("https://otlp.example.com:443/otlp", "env:OTLP_HEADERS", "file:/etc/ca.pem", 2**30, 2.5)
    put_in_force(directory, PAGES, Tracing(export=export))
    started = [mesh.wait_for(HUB_OR_SIDECAR) for _ in range(2)]
    after = {match[1]: json.loads(match[2]) for match in started}["sidecar gateway"]
    at = after.index("--export")
    assert after[at : at + 10] == [
        *("--export", "https://otlp.example.com:443/otlp", "--queue-bytes", "1073741824", "--export-timeout-s", "2.5"),
        *("--export-ca", "/etc/ca.pem", "--export-headers-env", "OTLP_HEADERS"),
    ]
    assert option(after, "--queue") == option(before, "--queue")
    put_in_force(directory, PAGES, Tracing(export=Export("http://127.0.0.1:1", "file:/run/headers.json")))
    _, last = runs(mesh, "sidecar gateway")
    assert option(last, "--export-headers-file") == "/run/headers.json"
    assert "--export-ca" not in last


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


def test_pods_record_at_the_rate_that_policy_says_when_they_start(directory: Path) -> None:
    put_in_force(directory, tracing=Tracing(kept_per_s=2.5))
    with running(directory) as mesh:
        pid, first = runs(mesh, "pod m/1/0")
        assert option(first, "--records") == f"{directory}/1-0.rec"
        assert option(first, "--kept-per-s") == "2.5"
        assert option(first, "--otlp").startswith("http://127.0.0.1:")
        put_in_force(directory, tracing=Tracing(kept_per_s=0.0))
        os.kill(pid, signal.SIGKILL)
        _, second = runs(mesh, "pod m/1/0")
        assert not {"--records", "--kept-per-s", "--otlp"} & {*second}
        assert not [line for line in mesh.printed if "new config" in line]


def test_telemetry_that_has_no_place_to_write_ends_nothing(directory: Path) -> None:
    for name in ("prometheus-targets.json", "sidecar-attributes.json"):
        (directory / "state" / name).mkdir()
    (directory / "1-0.rec").mkdir()
    with running(directory) as mesh:
        said(
            mesh,
            "prometheus-targets.json cannot be written",
            "sidecar-attributes.json cannot be written",
            "sidecar m/1/0: no socket for it",
            "pod m/1/0: started",
            "mesh: ready",
        )
        assert mesh.stop() == 0


def test_the_hub_leaves_when_policy_lists_it_no_more_and_comes_back_with_it(directory: Path, mesh: RunningMesh) -> None:
    runs(mesh, "sidecar gateway")
    put_in_force(directory, PAGES)
    pid, _ = runs(mesh, "hub")
    put_in_force(directory)
    mesh.wait_for("hub: stopped")
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    put_in_force(directory, PAGES)
    assert runs(mesh, "hub")[0] != pid


def test_when_the_mesh_ends_nothing_of_telemetry_is_left(mesh: RunningMesh) -> None:
    pids = [runs(mesh, "sidecar (?:gateway|m/1/0)")[0] for _ in range(2)]
    assert mesh.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_the_greeting_waits_a_little_for_the_hub_and_says_where_its_pages_are(directory: Path) -> None:
    put_in_force(directory, (Listen("127.0.0.1:0", "dashboards"),))
    with running(directory) as mesh:
        said(mesh, "mesh: ready", "^dashboards  http://127.0.0.1:7$", "^curl ")


def test_the_greeting_promises_the_address_of_a_hub_that_is_not_up_in_time(directory: Path) -> None:
    put_in_force(directory, (Listen("127.0.0.1:8", "dashboards"),))
    (directory / "state" / "hub.json").mkdir()  # it cannot publish itself
    with running(directory) as mesh:
        mesh.wait_for("mesh: ready")
        said(mesh, r"^dashboards  http://127\.0\.0\.1:8 \(not up yet\)$", "^curl ")
