"""Finding the running mesh, and which token goes where."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import msgspec
import pytest

from deploy.commands.running_mesh import NotReachable, Target, find, read_runtime_file
from gateway.control.runtime_file import RunningMesh, publish, runtime_path

MINE = "http://127.0.0.1:8081"


def options(server: str | None = None, token_file: Path | None = None) -> argparse.Namespace:
    return argparse.Namespace(server=server, token_file=token_file)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    running = RunningMesh(os.getpid(), "http://127.0.0.1:8080", MINE, "token-of-mine", "/state", "now")
    publish(runtime_path({}, tmp_path), running)
    return tmp_path


def test_the_running_mesh_is_found_with_its_token(home: Path) -> None:
    assert find(options(), {}, home) == Target(MINE, "token-of-mine")


def test_without_a_running_mesh_the_fix_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotReachable, match="penstock up"):
        find(options(), {}, tmp_path)


def test_a_file_left_by_a_mesh_that_is_gone_is_no_running_mesh(tmp_path: Path) -> None:
    path = tmp_path / "mesh.json"
    gone = RunningMesh(2**22 + 1, "", MINE, "t", "/state", "then")  # above the kernel's highest process id
    path.write_bytes(msgspec.json.encode(gone))
    assert read_runtime_file(path) is None


def test_a_damaged_file_is_no_running_mesh(tmp_path: Path) -> None:
    (tmp_path / "mesh.json").write_text("{half")
    assert read_runtime_file(tmp_path / "mesh.json") is None


def test_another_server_never_gets_the_token_of_the_running_mesh(home: Path) -> None:
    with pytest.raises(NotReachable, match="PENSTOCK_TOKEN"):
        find(options("http://elsewhere:8081"), {}, home)


def test_the_running_mesh_may_be_named_by_its_address(home: Path) -> None:
    assert find(options(f"{MINE}/"), {}, home) == Target(MINE, "token-of-mine")


def test_a_token_is_taken_from_the_file_else_from_the_environment(home: Path) -> None:
    file = home / "token"
    file.write_text("from-file\n")
    environ = {"PENSTOCK_TOKEN": "from-environment"}
    assert find(options("http://other", file), environ, home).token == "from-file"
    assert find(options("http://other"), environ, home).token == "from-environment"


def test_a_token_file_that_is_not_there_is_said(home: Path) -> None:
    with pytest.raises(NotReachable, match="cannot be read"):
        find(options("http://other", home / "none"), {}, home)
