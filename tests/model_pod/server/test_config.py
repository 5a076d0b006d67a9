"""The command line, and the socket it asks for."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from model_pod.server.config import PodConfig, parse_arguments
from model_pod.server.listener import open_listener

NEEDED = ["--model", "m", "--version", "1", "--archive", "/a.mar", "--extracted-dir", "/x"]


def test_what_is_not_said_has_its_default() -> None:
    config = parse_arguments([*NEEDED, "--listen", "unix:/p"])
    assert config == PodConfig("m", "1", Path("/a.mar"), Path("/x"), listen="unix:/p")
    assert config.name == "m/1"


@pytest.mark.parametrize(
    "arguments",
    [
        NEEDED,
        [*NEEDED, "--listen", "unix:/p", "--listen-fd", "3"],
        [*NEEDED, "--listen", "unix:/p", "--max-rows", "1025"],
        [*NEEDED, "--listen", "unix:/p", "--max-rows", "-1"],
        [*NEEDED, "--listen", "unix:/p", "--queue-bytes", "1"],
        [*NEEDED, "--listen", "unix:/p", "--outcomes-kept-s", "long"],
        [*NEEDED, "--listen", "unix:/p", "--unknown", "1"],
    ],
)
def test_a_wrong_command_line_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_arguments(arguments)
    assert ended.value.code == 2
    assert "penstock pod: error:" in capsys.readouterr().err


def test_a_unix_socket_is_for_its_owner_and_replaces_a_predecessors(tmp_path: Path) -> None:
    path = tmp_path / "p.sock"
    with open_listener(f"unix:{path}", -1):
        pass
    with open_listener(f"unix:{path}", -1), socket.socket(socket.AF_UNIX) as client:
        client.connect(os.fspath(path))
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="in use"):
        open_listener(f"unix:{path}", -1)
    assert path.read_text() == "data"


def test_an_inherited_socket_and_a_port_are_listened_on() -> None:
    with open_listener("127.0.0.1:0", -1) as bound, open_listener("", os.dup(bound.fileno())) as inherited:
        assert inherited.getsockname() == bound.getsockname()


@pytest.mark.parametrize("listen", ["", "8080", "localhost", "host:port"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(ValueError, match="neither unix:/path nor host:port"):
        open_listener(listen, -1)
