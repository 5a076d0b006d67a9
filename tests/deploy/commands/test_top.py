"""``penstock top`` against a management API on loopback: in a terminal, in a pipe, and when nobody answers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from deploy.cli import INTERRUPTED, main
from deploy.commands import top
from gateway.control.reports import PodsReport
from tests.deploy.commands.screens.boards import ACTIVITY, ENDING, PODS, STABLE, slo
from tests.deploy.commands.test_slo import SLO
from tests.deploy.commands.test_status import STATUS
from tests.readable import readable_within

WITHIN_S = 30.0
PROGRAM = [sys.executable, "-m", "deploy.cli", "top", "--interval", "0.5"]


class Management(BaseHTTPRequestHandler):
    """A mesh whose pods have got on a little at each look."""

    looks = 0
    hides_status = False
    models = 1

    def do_GET(self) -> None:
        report = self.report()
        self.send_response(200 if report is not None else 403)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(report) if report is not None else b'{"message": "not for you"}')

    def report(self) -> object:
        kind = type(self)
        if self.path == "/admin/pods":
            kind.looks += 1
            looks = kind.looks
            grown = [replace(p, device_s=0.1 * looks, batches=looks, batch_rows=7 * looks) for p in PODS[:3]]
            return PodsReport(2, [*grown, PODS[3]], STABLE)
        answers = {"/admin/slo": slo(SLO, ENDING), top.ACTIVITY: self.activity(), "/admin/status": STATUS}
        return None if kind.hides_status and self.path == "/admin/status" else answers[self.path]

    def activity(self) -> object:
        more = [replace(ACTIVITY.models[0], model=f"more-{at:03}") for at in range(self.models - 1)]
        return replace(ACTIVITY, models=[*ACTIVITY.models, *more])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PENSTOCK_TOKEN", "a-token")
    monkeypatch.setattr(top, "BETWEEN_S", 0.25)
    monkeypatch.setattr(Management, "looks", 0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Management) as management:
        thread = threading.Thread(target=management.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{management.server_port}"
        management.shutdown()
        thread.join()


def _hears_ctrl_c() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # whoever runs the tests in the background ignores it


class Pty:
    """The command in a terminal of its own; what it draws is kept."""

    def __init__(self, arguments: list[str], columns: int = 80, rows: int = 24, **environ: str) -> None:
        self._fd, inner_fd = pty.openpty()
        self.resize(columns, rows)
        whole = {**os.environ, "TERM": "xterm-256color", **environ}
        for name in ("COLUMNS", "LINES"):
            whole.pop(name, None)
        self.before = termios.tcgetattr(inner_fd)
        self.process = subprocess.Popen(
            [*PROGRAM, *arguments],
            stdin=inner_fd,
            stdout=inner_fd,
            stderr=inner_fd,
            env=whole,
            start_new_session=True,
            preexec_fn=_hears_ctrl_c,
        )
        self._inner_fd = inner_fd
        self.sent = ""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        self.sent = ""
        os.write(self._fd, keys.encode())

    def shown(self, pattern: str) -> str:
        """Read until a drawing has what is wanted, and return it as it was sent."""
        until_s = time.monotonic() + WITHIN_S
        while True:
            last = self.sent.rsplit("\x1b[H", 1)[-1]
            if re.search(pattern, last) and re.search("\x1b\\[J.+", last):
                return last
            assert time.monotonic() < until_s, self.sent
            if readable_within(self._fd, 0.2):
                self.sent += os.read(self._fd, 65_536).decode(errors="replace")

    def ended(self) -> int:
        """Return the exit status; the terminal is as it was."""
        until_s = time.monotonic() + WITHIN_S
        while (status := self.process.poll()) is None:
            assert time.monotonic() < until_s, self.sent
            if readable_within(self._fd, 0.05):  # setting a terminal waits until all that was drawn has been read
                self.sent += os.read(self._fd, 65_536).decode(errors="replace")
        assert termios.tcgetattr(self._inner_fd) == self.before
        while readable_within(self._fd, 0.0):
            self.sent += os.read(self._fd, 65_536).decode(errors="replace")
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._fd)
        os.close(self._inner_fd)


@pytest.fixture
def terminals() -> Iterator[list[Pty]]:
    started: list[Pty] = []
    yield started
    for one in started:
        one.close()


def test_in_a_terminal_keys_sort_filter_open_and_leave(server: str, terminals: list[Pty]) -> None:
    terminals.append(Pty(["--server", server]))
    (terminal,) = terminals
    first = terminal.shown("digits/1 .* 7\\.0 +[0-9]+% +-33%")
    assert re.search("\x1b\\[31mpage 1h  digits-availability of digits", first)
    lines = first.split("\r\n")
    assert len(lines) <= 24
    assert all(len(re.sub("\x1b\\[[0-9;]*[mKHJ]", "", line)) <= 80 for line in lines)
    terminal.press("l")
    by_p99 = terminal.shown("by p99")
    assert by_p99.index("digits/2") < by_p99.index("digits/1")
    terminal.press("/te\r")
    assert "digits/1" not in terminal.shown('"te" only')
    terminal.press("\r")
    assert "no such ?[31mmodel" in terminal.shown("POD OF text")
    terminal.press("?")
    terminal.shown("Ctrl-C       leave")
    terminal.press(" ")
    terminal.resize(60, 10)
    terminal.shown("POD OF text")
    terminal.press("q")
    assert terminal.ended() == 0
    assert terminal.sent.endswith("\x1b[?25h\x1b[?1049l")


def test_without_colours_where_they_are_not_wanted(server: str, terminals: list[Pty]) -> None:
    terminals.append(Pty(["--server", server], NO_COLOR="1"))
    (terminal,) = terminals
    drawn = terminal.shown("digits/1 .* 7\\.0 +[0-9]+% +-33%")
    assert not re.search("\x1b\\[[0-9;]*m", drawn)
    terminal.press("\x03")
    assert terminal.ended() == INTERRUPTED


@pytest.mark.usefixtures("server")
def test_a_mesh_that_does_not_answer_is_waited_for(terminals: list[Pty]) -> None:
    terminals.append(Pty(["--server", "http://127.0.0.1:1"]))
    (terminal,) = terminals
    terminal.shown("does not answer")
    terminal.press("q")
    assert terminal.ended() == 0


def test_in_a_pipe_it_is_printed_once(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--server", server]) == 0
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    lines = printed.splitlines()
    assert lines[0].startswith("demo: ready  1.25k req/s")
    assert any(re.match(r"digits/1 +1\.23k 1\.20% 3\.1ms", line) for line in lines)
    assert any(line.startswith("text/1/0") and "failed" in line for line in lines)
    assert Management.looks == 2


def test_once_prints_every_model_of_two_hundred(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Management, "models", 201)
    assert main(["top", "--once", "--server", server]) == 0
    assert capsys.readouterr().out.count("more-") == 200


def test_as_json_it_is_the_board(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--once", "--json", "--server", server]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in told["versions"]] == ["digits", "digits", "text"]
    assert 0.0 < told["pods"][0]["busy"] <= 1.0
    assert told["headline"]["in_flight"] == 1


def test_whoever_may_see_some_models_alone_sees_these(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Management, "hides_status", True)
    assert main(["top", "--once", "--server", server]) == 0
    assert capsys.readouterr().out.startswith("penstock  1.25k req/s  ")


def test_json_goes_on_a_line_for_each_look(server: str) -> None:
    process = subprocess.Popen([*PROGRAM, "--json", "--server", server], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    finally:
        process.kill()
        process.communicate()
    assert lines[0]["pods"][0]["busy"] is None
    assert lines[1]["pods"][0]["busy"] is not None


@pytest.mark.parametrize("interval", ["0", "61", "x", "nan"])
def test_an_interval_has_bounds(interval: str) -> None:
    assert main(["top", "--interval", interval]) == 2


def test_a_mesh_that_cannot_be_asked_is_a_sentence_with_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "a-token")
    assert main(["top", "--once", "--server", "http://127.0.0.1:1"]) == 1
    assert "is the mesh running? See `penstock up`" in capsys.readouterr().err
    assert main(["top", "--state", str(tmp_path)]) == 1
    assert "penstock up" in capsys.readouterr().err
