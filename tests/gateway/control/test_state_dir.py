"""The state directory and what is private in it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from gateway.control.state_dir import StateRefused, admin_token, lock, prepare, remove_half_written, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_directory_is_its_owner_s_alone(tmp_path: Path) -> None:
    state = prepare(tmp_path / "a" / "state")
    assert (mode(state), mode(state / "pods")) == (0o700, 0o700)
    assert prepare(state) == state


def test_a_directory_in_which_others_may_write_is_refused_with_the_fix(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(StateRefused, match="chmod 700"):
        prepare(tmp_path)


def test_a_path_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StateRefused, match="too long"):
        prepare(tmp_path / ("x" * 90))


def test_a_file_in_the_way_is_a_refusal_and_not_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(StateRefused, match="cannot be used"):
        prepare(tmp_path / "state")


def test_two_supervisors_cannot_share_a_directory(tmp_path: Path) -> None:
    held = lock(tmp_path)
    with pytest.raises(StateRefused, match="another gateway supervisor"):
        lock(tmp_path)
    os.close(held)
    os.close(lock(tmp_path))


def test_a_private_file_is_replaced_whole_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path), os.listdir(tmp_path)) == (b"new", 0o600, ["f"])


def test_a_private_file_that_cannot_be_written_stays_as_it_was_and_leaves_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    write_private(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_private(path, b"new")
    with pytest.raises(OSError, match="No space left"):
        admin_token(tmp_path)
    assert (path.read_bytes(), os.listdir(tmp_path)) == (b"old", ["f"])


def test_a_private_file_s_new_name_is_on_the_disk_before_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "f"
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_ino, path.exists())))
    write_private(path, b"new")
    assert synced == [(path.stat().st_ino, False), (tmp_path.stat().st_ino, True)]


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "jwks").mkdir()
    kept = {".hidden", "key-uses.json", ".f.0123", "f.01234567"}
    for name in (*kept, ".key-uses.json.0123abcd", "jwks/.corp.89abcdef"):
        (tmp_path / name).touch()
    remove_half_written(tmp_path)
    assert set(os.listdir(tmp_path)) == {*kept, "jwks"}
    assert os.listdir(tmp_path / "jwks") == []


def test_the_admin_token_stays_the_same_over_restarts(tmp_path: Path) -> None:
    token = admin_token(tmp_path)
    assert len(token) == 43
    assert admin_token(tmp_path) == token
    assert mode(tmp_path / "admin-token") == 0o600
    assert os.listdir(tmp_path) == ["admin-token"]


def test_a_token_that_others_can_read_or_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    admin_token(tmp_path)
    (tmp_path / "admin-token").chmod(0o644)
    with pytest.raises(StateRefused, match="others can read"):
        admin_token(tmp_path)
    (tmp_path / "admin-token").chmod(0o600)
    (tmp_path / "admin-token").write_text("short")
    with pytest.raises(StateRefused, match="no admin token"):
        admin_token(tmp_path)
