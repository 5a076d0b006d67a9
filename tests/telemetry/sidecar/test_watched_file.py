"""A file is read when it changes, and a broken one changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from policies.snapshot.slos import BurnAlert, Objective
from telemetry.sidecar.watched_file import WatchedFile

OBJECTIVE = Objective("a", "team", 86_400.0, 0.99, 500, 0.2, alerts=(BurnAlert("page", "fast", 14.4, 60.0, 40.0),))


def objectives_in(path: Path) -> WatchedFile[dict[str, list[Objective]]]:
    return WatchedFile(str(path), dict[str, list[Objective]], "objectives")


def replaced(path: Path, data: bytes) -> None:
    """Write a file as the supervisor does: whole, in the place of the one before."""
    new = path.with_suffix(".new")
    new.write_bytes(data)
    os.replace(new, path)


def test_a_file_is_read_when_it_is_another_than_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "slos.json"
    file = objectives_in(path)
    assert file.changed() is None
    assert capsys.readouterr().err == ""
    replaced(path, msgspec.json.encode({"digits": (OBJECTIVE,)}))
    assert file.changed() == {"digits": [OBJECTIVE]}
    assert file.changed() is None
    replaced(path, b"{}")
    assert file.changed() == {}


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b'{"digits": [{"name": 1}]}'])
def test_a_broken_file_is_told_once_and_changes_nothing(
    data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "slos.json"
    path.write_bytes(data)
    file = objectives_in(path)
    assert file.changed() is None
    assert file.changed() is None
    assert capsys.readouterr().err.count("objectives cannot be read") == 1
    replaced(path, b"{}")
    assert file.changed() == {}


def test_a_broken_file_is_looked_at_once(tmp_path: Path) -> None:
    path = tmp_path / "slos.json"
    path.write_bytes(b"[]")
    file = objectives_in(path)
    assert file.changed() is None
    status = os.stat(path)
    path.write_bytes(b"{}")  # nothing tells it from the one before
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.changed() is None
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert file.changed() == {}
