"""``penstock restart`` against a management API that answers what the test says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import msgspec
import pytest

from deploy.commands import restart
from deploy.commands.restart import run
from gateway.control.rolling_restart import FINISH_WITHIN_S
from gateway.control.runtime_file import FILE_NAME, RunningMesh
from tests.deploy.commands.test_status import STATUS

TOKEN = "t" * 43


class Management(BaseHTTPRequestHandler):
    """Begins a restart of two workers, of which one more is done whenever the status is asked for."""

    left = 2
    is_stuck = False
    asked: ClassVar[list[object]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        Management.asked.append((self.path, body))
        self._answer({"workers_to_replace": Management.left})

    def do_GET(self) -> None:
        if not Management.is_stuck:
            Management.left -= 1
        self._answer({**msgspec.to_builtins(STATUS), "workers_to_replace": Management.left})

    def _answer(self, report: object) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(report).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(restart, "LOOK_EVERY_S", 0.0)
    Management.left, Management.is_stuck, Management.asked = 2, False, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Management)
    Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    mesh = RunningMesh(pid=1, inference=url, management=url, token=TOKEN, state_dir=str(tmp_path), started_at="")
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode(mesh))
    yield tmp_path
    server.shutdown()
    server.server_close()


def test_it_waits_until_every_worker_was_replaced(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--reason", "a new build", "--state", str(state)]) == 0
    assert capsys.readouterr().out == "2 workers were replaced\n"
    assert Management.asked == [("/admin/workers/restart", {"reason": "a new build"})]


def test_without_a_wait_it_tells_what_is_left(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--reason", "a new build", "--state", str(state), "--within-s", "0"]) == 0
    assert "2 of 2 workers have yet to be replaced" in capsys.readouterr().out


@pytest.mark.parametrize("within", ["-1", "nan", "inf", "soon", "86401"])
def test_nothing_is_restarted_by_a_wait_that_cannot_be(
    state: Path, capsys: pytest.CaptureFixture[str], within: str
) -> None:
    with pytest.raises(SystemExit) as ending:
        run(["--reason", "a new build", "--state", str(state), "--within-s", within])
    assert ending.value.code == 2
    assert f"'{within}' is not between 0 and 86400 seconds" in capsys.readouterr().err
    assert Management.asked == []


def test_one_that_takes_too_long_is_no_success(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Management.is_stuck = True
    assert run(["--reason", "a new build", "--state", str(state), "--within-s", "0.01"]) == 1
    assert "2 of 2 workers have yet to be replaced" in capsys.readouterr().out


def test_its_patience_grows_with_the_workers_since_each_may_take_its_whole_time_to_finish(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    def wait(_: Callable[[], int], within_s: float) -> int:
        waits.append(within_s)
        return 0

    monkeypatch.setattr(restart, "wait_until_replaced", wait)
    for workers in (2, 16):
        Management.left = workers
        assert run(["--reason", "a new build", "--state", str(state)]) == 0
    assert waits == [2 * FINISH_WITHIN_S + 30.0, 16 * FINISH_WITHIN_S + 30.0]


def test_a_mesh_that_does_not_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--reason", "x", "--state", str(tmp_path / "none")]) == 1
    assert "no mesh is running" in capsys.readouterr().err
