"""The mesh of one machine, with real processes that stand in for the gateway and the pods."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from gateway.control import last_good
from gateway.control.desired_pods import FILE_NAME, DesiredPod, DesiredPods
from model_pod.wire.status import PodStatus
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Launch, Route, Version
from tests.readable import readable_within

GONE_WITHIN_S = 20.0


class RunningMesh:
    """A mesh in a process of its own, and what it has printed."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.directory = directory
        self.printed: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.deploy.local.programs.mesh", str(directory), *options],
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read lines until one matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed.append(line.rstrip("\n"))
            if match := re.search(pattern, line):
                return match
        raise AssertionError(f"the mesh ended without a line like {pattern!r}:\n" + "\n".join(self.printed))

    def desire(self, *pods: DesiredPod) -> None:
        """Publish desired pods, as the gateway does after a reload."""
        write_desired(self.directory / "state", *pods)

    def stop(self) -> int:
        """Tell the mesh to stop and wait for its end."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait_for_end()

    def wait_for_end(self) -> int:
        """Read the rest of the lines and return the exit status."""
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.printed += [line.rstrip("\n") for line in lines]
        return self.process.wait()


def write_desired(directory: Path, *pods: DesiredPod) -> None:
    beside = directory / ".beside"
    beside.write_bytes(msgspec.json.encode(DesiredPods(1, pods)))
    beside.replace(directory / FILE_NAME)


def pod(
    directory: Path, version: str = "1", archive: str = "model.mar", index: int = 0, max_rows: int = 0
) -> DesiredPod:
    address = f"unix:{directory}/{version}-{index}.sock"
    return DesiredPod(f"m/{version}/{index}", "m", version, archive, "cpu", address, max_rows)


def ask(a_pod: DesiredPod) -> int:
    """Return the process id that answers on the pod's socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(a_pod.address.removeprefix("unix:"))
        connection.sendall(b"GET /penstock/pod HTTP/1.1\r\nhost: pod\r\n\r\n")
        with connection.makefile("rb") as answer:
            return msgspec.json.decode(answer.read().partition(b"\r\n\r\n")[2], type=PodStatus).pid


def wait_until_gone(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    with suppress(ProcessLookupError):
        descriptor = os.pidfd_open(pid)
        try:
            assert readable_within(descriptor, GONE_WITHIN_S), f"process {pid} is still there"
        finally:
            os.close(descriptor)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name in ("policies", "state", "models"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "models" / "model.mar").touch()
    write_desired(tmp_path / "policies", pod(tmp_path))
    return tmp_path


@pytest.fixture
def kill_after_s() -> float:
    return 30.0  # none is killed because this machine halts


@pytest.fixture
def mesh(directory: Path, kill_after_s: float) -> Iterator[RunningMesh]:
    running = RunningMesh(directory, f"--kill-after-s={kill_after_s}")
    yield running
    if running.process.poll() is None:
        running.stop()
    elif running.process.stdout is not None:
        running.process.stdout.close()


def test_it_greets_with_a_curl_line_when_the_gateway_is_ready(directory: Path, mesh: RunningMesh) -> None:
    route = Route("digits", "team", {"1": Version("1", launch=Launch("model.mar"))}, stable="1")
    last_good.keep(directory / "state", Snapshot(1, "", Mesh("demo"), routes={"digits": route}), loaded_at_s=0.0)
    line = mesh.wait_for("^curl ").string
    assert re.fullmatch(
        r"curl -sS -H 'Authorization: Bearer msk_key' -H 'Content-Type: application/json' "
        r"http://127\.0\.0\.1:\d+/predictions/digits -d '{}'\n",
        line,
    )


def test_the_gateway_stops_before_the_pods_and_nothing_is_left(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("mesh: ready")
    gateway = int(re.findall(r"gateway: up \(pid (\d+)\)", "\n".join(mesh.printed))[0])
    server = ask(pod(directory))
    assert mesh.stop() == 0
    events = "\n".join(mesh.printed)
    assert events.index("gateway: drained") < events.index("pod m/1/0: drains") < events.index("pod m/1/0: stopped")
    for pid in (gateway, server):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_killed_pod_is_replaced_and_no_connection_is_refused_meanwhile(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("pod m/1/0: started")
    first = ask(pod(directory))
    os.kill(first, signal.SIGKILL)
    wait_until_gone(first)
    assert ask(pod(directory)) != first
    mesh.wait_for(r"pod m/1/0: died of SIGKILL after .* started again at once")


def test_a_killed_gateway_is_started_again(mesh: RunningMesh) -> None:
    first = int(mesh.wait_for(r"gateway: up \(pid (\d+)\)")[1])
    os.kill(first, signal.SIGKILL)
    mesh.wait_for("gateway: supervisor died of SIGKILL, started again at once")
    assert int(mesh.wait_for(r"gateway: up \(pid (\d+)\)")[1]) != first


def test_pods_follow_what_is_desired(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory, "1"), pod(directory, "2"))
    mesh.wait_for("pod m/2/0: started")
    assert ask(pod(directory, "2")) != ask(pod(directory, "1"))
    mesh.desire(pod(directory, "2"))
    mesh.wait_for("pod m/1/0: stopped")
    assert not Path(pod(directory, "1").address.removeprefix("unix:")).exists()


def test_pods_of_one_version_with_a_new_config_are_replaced_one_after_the_other(
    directory: Path, mesh: RunningMesh
) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory), pod(directory, index=1))
    mesh.wait_for("pod m/1/1: started")
    mesh.desire(pod(directory, max_rows=8), pod(directory, index=1, max_rows=8))
    first = mesh.wait_for(r"pod m/1/(\d): has a new config, is replaced")[1]
    second = "0" if first == "1" else "1"
    told_first = len(mesh.printed)
    mesh.wait_for(f"pod m/1/{second}: has a new config, is replaced")
    assert any(f"pod m/1/{first}: started" in line for line in mesh.printed[told_first:])
    mesh.wait_for(f"pod m/1/{second}: started")


def test_a_missing_archive_is_named_with_its_place_and_the_pod_starts_when_it_is_there(
    directory: Path, mesh: RunningMesh
) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory, archive="other.mar"))
    mesh.wait_for(re.escape(f"put other.mar at {directory}/models/other.mar; it goes on with model.mar"))
    assert ask(pod(directory))
    (directory / "models" / "other.mar").touch()
    mesh.wait_for("pod m/1/0: started")


def test_more_pods_than_processors_start_one_after_the_other_as_they_become_ready(
    directory: Path, mesh: RunningMesh
) -> None:
    mesh.wait_for("pod m/1/0: started")
    many = [pod(directory, index=index) for index in range(len(os.sched_getaffinity(0)) + 2)]
    mesh.desire(*many)
    mesh.wait_for(f"pod {many[-1].name}: started")
    assert ask(many[-1])


def test_an_archive_outside_the_store_is_never_started(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory, archive="../models/model.mar"))
    mesh.wait_for("waits for its archive")


def test_what_a_child_says_is_passed_on(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory, "doomed"))
    mesh.wait_for(r"pod m/doomed/0\| no model here")
    mesh.wait_for(r"pod m/doomed/0: ended with status 1 after .*, started again in 0\.5 s")


def test_a_refused_first_start_ends_the_mesh_with_the_gateways_own_words(directory: Path) -> None:
    (directory / "policies" / "refused").touch()
    refused = RunningMesh(directory)
    assert refused.wait_for_end() == 1
    assert "routes/digits.yaml:4:9: unknown key. Remove it." in "\n".join(refused.printed)


@pytest.mark.parametrize("kill_after_s", [1.5])
def test_a_pod_that_does_not_leave_is_killed_in_time(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory, "stubborn"))
    mesh.wait_for("pod m/stubborn/0: started")
    stubborn = ask(pod(directory, "stubborn"))
    assert mesh.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(stubborn, 0)


def test_a_grandchild_that_outlived_its_parent_is_not_left_behind(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("pod m/1/0: started")
    mesh.desire(pod(directory, "parent"))
    grandchild = int(mesh.wait_for(r"pod child (\d+)")[1])
    os.kill(ask(pod(directory, "parent")), signal.SIGKILL)
    mesh.wait_for("pod m/parent/0: died of SIGKILL")
    assert mesh.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(grandchild, 0)


def test_when_the_mesh_itself_is_killed_its_children_leave(directory: Path, mesh: RunningMesh) -> None:
    mesh.wait_for("mesh: ready")
    gateway = int(re.findall(r"gateway: up \(pid (\d+)\)", "\n".join(mesh.printed))[0])
    server = ask(pod(directory))
    mesh.process.kill()
    mesh.process.wait()
    for pid in (gateway, server):
        wait_until_gone(pid)
