"""``penstock log`` against a management API that answers what the test says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import msgspec
import pytest

from deploy.commands.log import run
from gateway.control.runtime_file import FILE_NAME, RunningMesh

CHANGED = {"level": "info", "changed": [{"of": "gateway", "level": "debug", "until": "2026-11-21T21:10:00.000+00:00"}]}


class Management(BaseHTTPRequestHandler):
    """Tells of one change."""

    asked: ClassVar[list[object]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Management.asked.append((self.path, body))
        self._answer(CHANGED)

    def do_GET(self) -> None:
        self._answer({"level": "info", "changed": []})

    def _answer(self, report: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(report).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def state(tmp_path: Path) -> Iterator[str]:
    Management.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Management)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    mesh = RunningMesh(pid=1, inference=url, management=url, token="t" * 43, state_dir=str(tmp_path), started_at="")
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(mesh))
    yield str(tmp_path)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("option", [("--for", "10m"), ("--only", "gateway"), ("--reason", "odd answers")])
def test_what_is_of_a_change_asks_for_a_level(
    state: str, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        run(["level", *option, "--state", state])
    assert "say the level" in capsys.readouterr().err


def test_the_level_is_shown(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["level", "--state", state]) == 0
    assert capsys.readouterr().out == "logs are of level info\n"


def test_the_level_is_changed_for_a_while_and_for_a_part(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["level", "debug", "--for", "5m", "--only", "gateway", "--reason", "looking", "--state", state]) == 0
    asked = {"level": "debug", "of": "gateway", "for_s": 300.0, "reason": "looking"}
    assert Management.asked == [("/admin/log-level", asked)]
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "logs are of level info, but for a while"
    assert shown[-1].split() == ["gateway", "debug", "2026-11-21", "21:10:00Z"]


def test_it_says_the_same_for_programs(state: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["level", "warning", "--json", "--state", state]) == 0
    assert json.loads(capsys.readouterr().out) == CHANGED
    assert Management.asked == [
        ("/admin/log-level", {"level": "warning", "of": "", "for_s": 600.0, "reason": "penstock log level warning"})
    ]


@pytest.mark.parametrize(
    "wrong", [["level", "loud"], ["level", "debug", "--for", "5"], ["level", "debug", "--for", "2d"], []]
)
def test_a_mistake_in_the_arguments_is_2(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(wrong)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "penstock log" in told
    assert "?:" not in told


def test_without_a_mesh_it_is_1_and_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["level", "--state", str(tmp_path)]) == 1
    assert "no mesh is running" in capsys.readouterr().err


def test_a_length_without_its_unit_is_told_with_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["level", "debug", "--for", "5"])
    assert capsys.readouterr().err.endswith("argument --for: 5 what? Write 5ms, 5s, 5m, 5h or 5d.\n")
