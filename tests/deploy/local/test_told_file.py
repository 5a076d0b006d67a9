"""Telling other programs something by a file costs the mesh nothing when it cannot be written."""

from __future__ import annotations

from pathlib import Path

from deploy.local.told_file import ToldFile


def test_a_file_is_replaced_when_there_is_news_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    file = ToldFile(path, print)
    file.tell(b"[]")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"[]", 0o600)
    first = path.stat().st_ino
    file.tell(b"[]")
    assert path.stat().st_ino == first
    file.tell(b"[1]")
    assert path.read_bytes() == b"[1]"
    assert list(tmp_path.iterdir()) == [path]


def test_one_that_cannot_be_written_is_said_once_and_tried_until_it_can(tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "gone" / "told.json"
    file = ToldFile(path, said.append)
    file.tell(b"[]")
    file.tell(b"[]")
    assert said == [f"mesh: {path} cannot be written (No such file or directory); it says what it said before"]
    path.parent.mkdir()
    file.tell(b"[]")
    assert path.read_bytes() == b"[]"


def test_trouble_that_comes_back_is_said_again(tmp_path: Path) -> None:
    said: list[str] = []
    file = ToldFile(tmp_path / "told.json", said.append)
    for content in (b"1", b"2"):
        (tmp_path / ".told.json.new").mkdir()
        file.tell(content)
        (tmp_path / ".told.json.new").rmdir()
        file.tell(content)
    assert len(said) == 2
