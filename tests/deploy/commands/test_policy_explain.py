"""A record that is on its way is waited for; one that there is not is told so at last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deploy.cli import main
from deploy.commands import policy_explain
from deploy.commands.running_mesh import TOKEN_VARIABLE, NotThere, Target


class Management(BaseHTTPRequestHandler):
    """Has a record after so many questions."""

    asked = 0
    has_after = 0

    def do_GET(self) -> None:
        Management.asked += 1
        is_there = Management.asked > Management.has_after
        body = b"{}" if is_there else b'{"message": "No record of this request is kept."}'
        self.send_response(200 if is_there else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> Iterator[Target]:
    monkeypatch.setattr(policy_explain, "_PAUSE_S", 0.01)
    monkeypatch.setenv(TOKEN_VARIABLE, "token")
    Management.asked = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Management)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Target(f"http://127.0.0.1:{server.server_port}", "token")
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_record_that_comes_a_moment_later_is_shown(target: Target) -> None:
    Management.has_after = 2
    assert policy_explain._asked_again(target, "/admin/policy/explain/a") == b"{}"
    assert Management.asked == 3


def test_a_record_that_does_not_come_is_told_so(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    Management.has_after = 1000
    with pytest.raises(NotThere):
        policy_explain._asked_again(target, "/admin/policy/explain/a")
    assert Management.asked == policy_explain._TRIES
    assert main(["policy", "explain", "a", "--server", target.server]) == 1
    assert "No record of this request is kept." in capsys.readouterr().err
