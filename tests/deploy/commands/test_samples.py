"""``penstock samples`` against a management API on loopback, and what it prints."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.samples import run, sample_text
from gateway.control.sample_desk import Purged, SamplesReport
from gateway.copies.reports import Sample

ONE = Sample(
    "r1", "ab" * 16, 1.8e9, "ranker", "1", "stable", "shop", "error", 500, 0.0125, True, {"/text": "a\x1b[31m\x9b"}, {}
)


class Management(BaseHTTPRequestHandler):
    """Answers what is asked for, and remembers it."""

    asked: list[tuple[str, Any]] = []  # noqa: RUF012 - of the one server of a test

    def do_GET(self) -> None:
        self._answer(SamplesReport((ONE,)) if "r1" not in self.path else ONE)

    def do_POST(self) -> None:
        self._answer(Purged(1))

    def _answer(self, answer: msgspec.Struct) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.asked.append((self.path, msgspec.json.decode(body) if body else None))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(answer))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PENSTOCK_TOKEN", "a-token")
    Management.asked.clear()
    with HTTPServer(("127.0.0.1", 0), Management) as management:
        thread = threading.Thread(target=management.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{management.server_port}"
        management.shutdown()
        thread.join()


def test_samples_are_listed_and_one_is_shown(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "list", "ranker", "--why", "error", "--server", server]) == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["AT", "(UTC)", "REQUEST", "VERSION", "TENANT", "WHY", "STATUS", "TOOK"]
    assert row.split()[2:] == ["r1", "1", "shop", "error", "500", "12.5", "ms"]
    assert main(["samples", "show", "ranker", "r1", "--server", server]) == 0
    assert "/text" in capsys.readouterr().out
    assert [path for path, _ in Management.asked] == [
        "/admin/samples/ranker?why=error&most=100",
        "/admin/samples/ranker/r1",
    ]


def test_what_samples_are_not_kept_on_is_a_mistake(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "list", "ranker", "--why", "errors", "--server", server]) == 2
    assert "shadow_difference" in capsys.readouterr().err
    assert Management.asked == []


def test_what_a_sample_holds_is_harmless_to_a_terminal() -> None:
    text = sample_text(ONE)
    assert text.splitlines() == [
        "ranker/1 (stable) answered shop with 500 in 12.5 ms, 2027-01-15 08:00:00 UTC; kept on error",
        f"trace {'ab' * 16}",
        "input:",
        r'  "/text": "a\u001b[31m\u009b"',
        "output: none of the fields that policy names",
    ]


@pytest.mark.parametrize("empty", [["--subject", ""], ["--subject", "-"], ["--tenant", ""], ["--model", " "]])
def test_an_empty_name_removes_nothing(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, empty: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    try:
        status: object = main(["samples", "purge", "--model", "ranker", *empty, "--server", server])
    except SystemExit as usage:
        status = usage.code
    assert status == 2
    assert Management.asked == []
    assert capsys.readouterr().err


def test_an_age_without_a_unit_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["purge", "--model", "ranker", "--before", "5"])
    assert "5 what? Write one such as 2027-03-01T00:00:00Z, or a length" in capsys.readouterr().err


def test_an_age_that_is_still_to_come_is_not_taken_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["purge", "--model", "ranker", "--before", "2999-01-01T00:00:00Z"])
    assert "is still to come: --all is for every sample" in capsys.readouterr().err


def test_a_purge_says_which(server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["samples", "purge", "--server", server]) == 2
    assert Management.asked == []
    monkeypatch.setattr("sys.stdin", io.StringIO("ada\n"))
    assert main(["samples", "purge", "--subject", "-", "--tenant", "shop", "--server", server]) == 0
    moment = ["--before", "2025-01-15T08:00:00Z"]
    assert main(["samples", "purge", "--model", "ranker", *moment, "--server", server]) == 0
    assert Management.asked == [
        ("/admin/samples/purges", {"tenant": "shop", "subject": "ada", "before_s": 0.0, "all": False}),
        ("/admin/samples/ranker/purges", {"tenant": "", "subject": "", "before_s": 1736928000.0, "all": False}),
    ]
    assert capsys.readouterr().out == "1 sample removed\n" * 2
