"""The file in which commands find the mesh."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
from msgspec.structs import replace

from gateway.control.runtime_file import (
    RunningMesh,
    named_instead,
    publish,
    read_running,
    remove_stale,
    runtime_path,
    withdraw,
)

MESH = RunningMesh(12, "http://127.0.0.1:1", "http://127.0.0.1:2", "secret", "/state", "2026-01-01T00:00:00+00:00")


def test_it_lies_in_the_runtime_directory_else_in_the_home_directory() -> None:
    home = Path("/home/ada")
    assert runtime_path({"XDG_RUNTIME_DIR": "/run/user/1"}, home) == Path("/run/user/1/penstock/mesh.json")
    assert runtime_path({}, home) == Path("/home/ada/.penstock/run/mesh.json")
    assert runtime_path({"XDG_RUNTIME_DIR": "relative"}, home) == Path("/home/ada/.penstock/run/mesh.json")


def test_it_is_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "penstock" / "mesh.json"
    publish(path, MESH)
    assert msgspec.json.decode(path.read_bytes(), type=RunningMesh) == MESH
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


GONE = 2**22 + 1  # above the kernel's highest process id


def test_a_file_left_by_a_mesh_that_is_gone_is_no_running_mesh(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    path.write_bytes(msgspec.json.encode(replace(MESH, pid=GONE)))
    assert read_running(path) is None


def test_a_damaged_file_is_no_running_mesh(tmp_path: Path) -> None:
    (tmp_path / "mesh.json").write_text("{half")
    assert read_running(tmp_path / "mesh.json") is None


def test_the_file_of_another_running_mesh_is_told_from_one_s_own_and_from_a_dead_one_s(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    assert named_instead(path, MESH) is None
    running = replace(MESH, pid=os.getpid())
    publish(path, running)
    assert named_instead(path, replace(MESH, state_dir="/another")) == running
    assert named_instead(path, MESH) is None
    publish(path, replace(MESH, pid=GONE))
    assert named_instead(path, replace(MESH, state_dir="/another")) is None


def test_only_its_own_mesh_withdraws_it(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    publish(path, MESH)
    withdraw(path, pid=13)
    assert path.exists()
    withdraw(path, pid=12)
    assert not path.exists()
    withdraw(path, pid=12)


def test_a_killed_mesh_s_file_is_removed_at_the_next_start(tmp_path: Path) -> None:
    publish(tmp_path / "mesh.json", MESH)
    remove_stale(tmp_path)
    remove_stale(tmp_path)
    assert not (tmp_path / "mesh.json").exists()
