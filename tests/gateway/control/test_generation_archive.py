"""Generations that were in force can be had again, and only so many of them are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.control import generation_archive
from gateway.control.generation_archive import keep, recall
from tests.gateway.policy import policy


def kept(state_dir: Path) -> list[int]:
    return [number for number in range(20) if recall(state_dir, number) is not None]


def test_a_generation_comes_back_as_it_was(tmp_path: Path) -> None:
    keep(tmp_path, policy(generation=3))
    assert recall(tmp_path, 3) == policy(generation=3)
    assert recall(tmp_path, 4) is None


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    keep(tmp_path, policy())
    folder = tmp_path / generation_archive.FOLDER
    assert [path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())] == [0o700, 0o600]


def test_the_oldest_go_beyond_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_archive, "MAX_GENERATIONS", 3)
    for number in range(9, 14):
        keep(tmp_path, policy(generation=number))
    assert kept(tmp_path) == [11, 12, 13]


def test_the_newest_stays_however_large_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_archive, "MAX_BYTES", 10)
    for number in range(1, 4):
        keep(tmp_path, policy(generation=number))
    assert kept(tmp_path) == [3]


def test_a_torn_file_is_no_generation(tmp_path: Path) -> None:
    keep(tmp_path, policy(generation=3))
    (path,) = (tmp_path / generation_archive.FOLDER).iterdir()
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert recall(tmp_path, 3) is None


def test_other_files_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation_archive, "MAX_GENERATIONS", 1)
    (tmp_path / generation_archive.FOLDER).mkdir()
    note = tmp_path / generation_archive.FOLDER / "note.msgpack.zlib"
    note.write_text("mine")
    keep(tmp_path, policy(generation=1))
    keep(tmp_path, policy(generation=2))
    assert note.read_text() == "mine"
