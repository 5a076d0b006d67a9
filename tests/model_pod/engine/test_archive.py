from __future__ import annotations

import errno
import fcntl
import io
import os
import stat
import tracemalloc
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_pod.engine.archive import ArchiveLimits, ArchiveRefused, open_archive
from model_pod.engine.extraction import store
from tests.fakes.archives.hostile import HOSTILE, RawEntry, raw_tar, raw_zip, tar_member
from tests.fakes.archives.layout import archive_files, pack_mar, pack_tar, write_directory
from tests.fakes.refusing_disk import refuse_next_reading

FORMS: dict[str, Callable[[Path], Path]] = {
    "mar": lambda at: _write(at / "echo.mar", pack_mar(archive_files())),
    "tar.gz": lambda at: _write(at / "echo.tar.gz", pack_tar(archive_files())),
    "tar.gz without a top directory": lambda at: _write(at / "flat.tar.gz", pack_tar(archive_files(), top="./")),
    "directory": lambda at: write_directory(at / "echo", archive_files()),
    "directory in a directory": lambda at: write_directory(at / "outer" / "echo", archive_files()).parent,
}


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


class _Unseekable(io.RawIOBase):
    """A pipe, as far as a writer can tell."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)


def _everything_below(path: Path) -> list[str]:
    return sorted(entry.relative_to(path).as_posix() for entry in path.rglob("*"))


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_files_read_only(form: str, tmp_path: Path) -> None:
    archive = open_archive(FORMS[form](tmp_path), tmp_path / "extracted")
    files = archive_files()
    assert {name: (archive.directory / name).read_bytes() for name in files} == files
    assert {stat.S_IMODE((archive.directory / name).stat().st_mode) for name in files} == {0o400}
    assert (archive.manifest.model_name, archive.manifest.handler) == ("echo", "handler.py")
    assert archive.directory.is_relative_to(tmp_path / "extracted" / "sha256" / archive.digest)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_by_its_code_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    code, make = HOSTILE[name]
    archive = _write(tmp_path / "model.mar", make())
    with pytest.raises(ArchiveRefused) as refusal:
        open_archive(archive, tmp_path / "extracted")
    assert refusal.value.code == code
    assert set(_everything_below(tmp_path)) <= {"model.mar", "extracted", "extracted/sha256"}
    assert str(tmp_path) not in refusal.value.message


def test_a_bomb_is_refused_in_little_memory(tmp_path: Path) -> None:
    archive = _write(tmp_path / "bomb.tar.gz", raw_tar((tar_member("a/x.txt"), bytes(2**26))))
    tracemalloc.start()
    with pytest.raises(ArchiveRefused):
        open_archive(archive, tmp_path / "extracted")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 8 * 2**20


def test_a_tree_that_is_intact_is_used_again(tmp_path: Path) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar(archive_files()))
    first = open_archive(path, tmp_path / "extracted")
    inode = (first.directory / "handler.py").stat().st_ino
    assert open_archive(path, tmp_path / "extracted") == first
    assert (first.directory / "handler.py").stat().st_ino == inode


@pytest.mark.parametrize("damage", ["changed", "added", "removed"])
def test_a_tree_that_was_touched_is_extracted_again(damage: str, tmp_path: Path) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar(archive_files()))
    directory = open_archive(path, tmp_path / "extracted").directory
    os.chmod(directory, 0o700)
    if damage == "changed":
        os.chmod(directory / "handler.py", 0o600)
        (directory / "handler.py").write_text("import os")
    elif damage == "added":
        (directory / "extra.py").write_text("import os")
    else:
        (directory / "handler.py").unlink()
    again = open_archive(path, tmp_path / "extracted")
    assert (again.directory / "handler.py").read_bytes() == archive_files()["handler.py"]
    assert not (again.directory / "extra.py").exists()
    assert _everything_below(tmp_path / "extracted")[0] == "sha256"


@pytest.mark.parametrize("reads", [0, 1, 2])
def test_a_tree_that_cannot_be_read_just_now_stays_for_those_who_use_it(
    reads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar(archive_files()))
    first = open_archive(path, tmp_path / "extracted")
    inode = (first.directory / "handler.py").stat().st_ino
    if reads == 0:
        refuse_next_reading(monkeypatch)
    else:
        _refuse_opening(monkeypatch, "model" if reads == 1 else "handler.py")
    with pytest.raises(ArchiveRefused, match="Too many open files"):
        open_archive(path, tmp_path / "extracted")
    monkeypatch.undo()
    assert open_archive(path, tmp_path / "extracted") == first
    assert (first.directory / "handler.py").stat().st_ino == inode


def _refuse_opening(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let no file or directory of this name be opened, as when no descriptor is left."""

    def refusing(open_as: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(path: Any, *rest: Any) -> Any:
            if os.path.basename(path) == name:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
            return open_as(path, *rest)

        return refuse

    monkeypatch.setattr(os, "open", refusing(os.open))
    monkeypatch.setattr(os, "scandir", refusing(os.scandir))


def test_pods_that_find_a_touched_tree_at_once_remove_no_whole_one(tmp_path: Path) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar(archive_files()))
    first = open_archive(path, tmp_path / "extracted")
    for _ in range(20):
        os.chmod(first.directory, 0o700)
        os.chmod(first.directory / "handler.py", 0o600)
        (first.directory / "handler.py").write_text("import os")
        with ThreadPoolExecutor(8) as pods:
            opened = list(pods.map(lambda _: _handler_of(path, tmp_path / "extracted"), range(8)))
        assert opened == [archive_files()["handler.py"]] * 8


def test_whoever_holds_the_store_for_ever_holds_up_no_pod_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOCK_WITHIN_S", 0.0)
    path, trees = _write(tmp_path / "echo.mar", pack_mar(archive_files())), tmp_path / "extracted" / "sha256"
    trees.mkdir(mode=0o700, parents=True)
    trees.parent.chmod(0o700)
    holder = os.open(trees, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(ArchiveRefused, match="cannot be read or extracted"):
        open_archive(path, tmp_path / "extracted")
    os.close(holder)
    assert open_archive(path, tmp_path / "extracted").directory.is_dir()


def test_an_extraction_that_ends_while_another_looks_around_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar(archive_files()))
    first = open_archive(path, tmp_path / "extracted")
    (tmp_path / "extracted" / "staging-of-another").mkdir()
    lstat = os.lstat

    def ends(at: Any, *rest: Any) -> os.stat_result:
        if os.path.basename(at) == "staging-of-another":
            os.rmdir(at)
        return lstat(at, *rest)

    monkeypatch.setattr(os, "lstat", ends)
    assert open_archive(path, tmp_path / "extracted") == first


def _handler_of(archive: Path, extracted: Path) -> bytes:
    return (open_archive(archive, extracted).directory / "handler.py").read_bytes()


def test_a_directory_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar(archive_files()))
    (tmp_path / "extracted").mkdir()
    (tmp_path / "extracted").chmod(0o777)
    with pytest.raises(ArchiveRefused) as refusal:
        open_archive(path, tmp_path / "extracted")
    assert refusal.value.code == "unsafe_directory"


@pytest.mark.parametrize("target", ["/etc/passwd", "handler.py"])
def test_a_link_in_a_model_directory_is_refused(target: str, tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", archive_files())
    (directory / "link.txt").symlink_to(target)
    with pytest.raises(ArchiveRefused) as refusal:
        open_archive(directory, tmp_path / "extracted")
    assert refusal.value.code == "not_a_file"


def test_a_fifo_in_place_of_an_archive_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "echo.mar")
    with pytest.raises(ArchiveRefused) as refusal:
        open_archive(tmp_path / "echo.mar", tmp_path / "extracted")
    assert refusal.value.code == "unreadable"


def test_a_missing_archive_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArchiveRefused, match=r"echo\.mar cannot be read") as refusal:
        open_archive(tmp_path / "echo.mar", tmp_path / "extracted")
    assert refusal.value.code == "unreadable"


def test_bytecode_in_a_model_directory_is_left_behind(tmp_path: Path) -> None:
    directory = write_directory(tmp_path / "echo", {**archive_files(), "__pycache__/handler.pyc": b"x"})
    archive = open_archive(directory, tmp_path / "extracted")
    assert not (archive.directory / "__pycache__").exists()


def test_a_pth_file_with_weights_is_kept(tmp_path: Path) -> None:
    weights = pack_mar({"archive/data.pkl": b"x"})
    path = _write(tmp_path / "echo.mar", pack_mar({**archive_files(), "model.pth": weights}))
    assert (open_archive(path, tmp_path / "extracted").directory / "model.pth").read_bytes() == weights


def test_weights_may_pack_better_than_any_text(tmp_path: Path) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar({**archive_files(), "model.pt": bytes(2**22)}))
    assert (open_archive(path, tmp_path / "extracted").directory / "model.pt").stat().st_size == 2**22


def test_weights_over_their_own_limit_are_refused(tmp_path: Path) -> None:
    path = _write(tmp_path / "echo.mar", pack_mar({**archive_files(), "model.pt": bytes(2**20)}))
    with pytest.raises(ArchiveRefused) as refusal:
        open_archive(path, tmp_path / "extracted", ArchiveLimits(weights_bytes=2**20 - 1))
    assert refusal.value.code == "too_large"


def test_a_zip_written_without_seeking_is_read(tmp_path: Path) -> None:
    # Such a zip carries sizes and checksums in descriptors after the data.
    with (tmp_path / "stream.mar").open("wb") as file, zipfile.ZipFile(_Unseekable(file), "w", 8) as archive:
        for name, content in archive_files().items():
            archive.writestr(name, content)
    directory = open_archive(tmp_path / "stream.mar", tmp_path / "extracted").directory
    assert (directory / "handler.py").read_bytes() == archive_files()["handler.py"]


def test_an_archive_without_a_manifest_is_named_after_its_file(tmp_path: Path) -> None:
    path = _write(tmp_path / "my-model.mar", raw_zip(RawEntry(b"handler.py")))
    manifest = open_archive(path, tmp_path / "extracted").manifest
    assert (manifest.model_name, manifest.model_version, manifest.handler) == ("my_model", "1.0", "")


@settings(max_examples=80, deadline=None)
@given(packed=st.sampled_from([pack_mar(archive_files()), pack_tar(archive_files())]), data=st.data())
def test_a_damaged_archive_is_refused_or_gives_the_same_files(packed: bytes, data: st.DataObject) -> None:
    damaged = bytearray(packed)
    at = data.draw(st.integers(0, len(packed) - 1))
    damaged[at] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(damaged), at]))
    with TemporaryDirectory() as directory:
        path = _write(Path(directory) / "echo.mar", bytes(damaged[:cut]))
        try:
            archive = open_archive(path, Path(directory) / "extracted")
        except ArchiveRefused:
            return
        assert {name: (archive.directory / name).read_bytes() for name in archive_files()} == archive_files()
