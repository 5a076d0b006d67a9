"""Reading the desired pods."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from deploy.local.desired import DesiredFile, InForceFile
from gateway.control import last_good
from gateway.control.desired_pods import FILE_NAME, DesiredPod, DesiredPods
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from tests.fakes.refusing_disk import refuse_next_reading

POD = DesiredPod("digits/1/0", "digits", "1", "digits-1.mar", "auto", "unix:/s/p.sock")


def write(directory: Path, *pods: DesiredPod) -> None:
    beside = directory / "beside"
    beside.write_bytes(msgspec.json.encode(DesiredPods(1, pods)))
    beside.replace(directory / FILE_NAME)


def test_before_the_file_is_there_nothing_is_desired(tmp_path: Path) -> None:
    assert DesiredFile(tmp_path, print).pods() == ()


def test_a_replaced_file_is_read_anew(tmp_path: Path) -> None:
    desired = DesiredFile(tmp_path, print)
    write(tmp_path, POD)
    assert desired.pods() == (POD,)
    write(tmp_path)
    assert desired.pods() == ()


def test_an_unreadable_file_changes_nothing_and_is_said_once(tmp_path: Path) -> None:
    said: list[str] = []
    desired = DesiredFile(tmp_path, said.append)
    write(tmp_path, POD)
    desired.pods()
    (tmp_path / FILE_NAME).write_bytes(b"{half")
    assert [desired.pods(), desired.pods()] == [(POD,), (POD,)]
    assert len(said) == 1


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    desired = DesiredFile(tmp_path, print)
    write(tmp_path, POD)
    desired.pods()
    (tmp_path / FILE_NAME).unlink()
    assert desired.pods() == (POD,)


def test_what_an_earlier_mesh_left_is_forgotten(tmp_path: Path) -> None:
    write(tmp_path, POD)
    desired = DesiredFile(tmp_path, print)
    desired.forget_earlier()
    assert desired.pods() == ()


def test_what_the_disk_refused_once_is_read_though_nobody_writes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    desired = DesiredFile(tmp_path, said.append)
    write(tmp_path, POD)
    refuse_next_reading(monkeypatch)
    assert [desired.pods(), desired.pods()] == [(), (POD,)]
    assert len(said) == 1


def test_a_policy_that_the_disk_refused_once_is_read_though_nobody_writes_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = Snapshot(1, "d1", Mesh("m"))
    last_good.keep(tmp_path, snapshot, 0.0)
    in_force = InForceFile(tmp_path)
    refuse_next_reading(monkeypatch)
    assert [in_force.read(), in_force.read()] == [None, snapshot]
