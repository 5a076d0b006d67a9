"""A Unix socket takes the place of one that was left, and of nothing else."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from telemetry.hub.listeners import bind_unix


def test_a_socket_that_a_killed_hub_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    bind_unix(path).close()
    assert path.exists()
    with bind_unix(path), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.connect(str(path))


def test_a_socket_on_which_somebody_listens_stays_theirs(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    with bind_unix(path):
        with pytest.raises(OSError, match="in use"):
            bind_unix(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.connect(str(path))


def test_a_file_at_the_path_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "hub.sock"
    path.write_text("of somebody")
    with pytest.raises(OSError, match="in use"):
        bind_unix(path)
    assert path.read_text() == "of somebody"
