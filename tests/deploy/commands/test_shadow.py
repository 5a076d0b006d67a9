"""``penstock shadow`` against a management API on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from deploy.cli import main
from deploy.commands import shadow
from gateway.control.shadow_desk import Forgotten, ShadowsReport
from gateway.copies.reports import ReplayReport, ShadowSays
from tests.gateway.copies.shadow_reports import DIFFERS, DONE, RUNNING

REPORT = "GET /admin/shadows?model=digits"
BEGIN = "POST /admin/shadows/digits/replays"
LOOK = "GET /admin/shadows/digits/replays/7"
SAME = replace(DIFFERS, says=ShadowSays.SAME)


@dataclass
class Management:
    """A management API: what it answers each call, one after the other and the last again, and what it was asked."""

    server: str = ""
    answers: dict[str, list[object]] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def answer(self, call: str) -> object | None:
        """Return what comes next."""
        left = self.answers.get(call, [None])
        return left.pop(0) if len(left) > 1 else left[0]


@pytest.fixture
def mesh(monkeypatch: pytest.MonkeyPatch) -> Iterator[Management]:
    monkeypatch.setenv("PENSTOCK_TOKEN", "t" * 43)
    monkeypatch.setattr(shadow, "LOOK_EVERY_S", 0.001)
    management = Management()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            call = f"{self.command} {self.path}"
            management.calls.append((call, json.loads(body) if body else None))
            found = management.answer(call)
            self.send_response(200 if found is not None else 404)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(found or {"message": "no such thing"}))

        do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    management.server = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield management
    server.shutdown()
    thread.join()
    server.server_close()


def run(mesh: Management, *words: str) -> int:
    return main(["shadow", *words, "--server", mesh.server])


@pytest.mark.parametrize(
    ("says", "code"),
    [(ShadowSays.SAME, 0), (ShadowSays.NOT_ENOUGH, 0), (ShadowSays.DIFFERS, 1), (ShadowSays.WORSE, 1)],
)
def test_the_exit_code_says_whether_a_shadow_differs(mesh: Management, says: ShadowSays, code: int) -> None:
    mesh.answers[REPORT] = [ShadowsReport(1.0, (SAME, replace(DIFFERS, name="other", says=says)))]
    assert run(mesh, "report", "digits") == code
    mesh.answers["POST /admin/shadows/digits/replays"] = [replace(DONE, report=replace(DIFFERS, says=says))]
    assert run(mesh, "replay", "digits", "--version", "3") == code


def test_a_report_is_for_people_or_what_the_mesh_answered(mesh: Management, capsys: pytest.CaptureFixture[str]) -> None:
    report = ShadowsReport(1.0, (DIFFERS,))
    mesh.answers[REPORT] = [report]
    run(mesh, "report", "digits")
    assert capsys.readouterr().out.startswith("digits: shadow dark, version 3: DIFFERS")
    run(mesh, "report", "digits", "--json")
    assert msgspec.json.decode(capsys.readouterr().out, type=ShadowsReport) == report


def test_a_replay_is_begun_and_followed_to_its_end(mesh: Management, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.answers = {BEGIN: [RUNNING], LOOK: [replace(RUNNING, sent=250), replace(DONE, report=SAME)]}
    assert run(mesh, "replay", "digits", "--version", "3", "--shadow", "dark", "--most", "500") == 0
    assert mesh.calls[0] == (BEGIN, {"version": "3", "shadow": "dark", "most": 500})
    said = capsys.readouterr()
    assert said.err.splitlines() == ["sent 20 of 500, 0 differ", "sent 250 of 500, 0 differ"]
    assert said.out.startswith("digits: replay 7 to version 3: SAME")


def test_json_of_a_replay_is_its_end_alone(mesh: Management, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.answers = {BEGIN: [RUNNING], LOOK: [DONE]}
    assert run(mesh, "replay", "digits", "--version", "3", "--json") == 1
    assert msgspec.json.decode(capsys.readouterr().out, type=ReplayReport) == DONE


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_a_replay_that_did_not_end_well_is_an_error(mesh: Management, state: str) -> None:
    mesh.answers[BEGIN] = [replace(DONE, state=state, report=SAME)]
    assert run(mesh, "replay", "digits", "--version", "3") == 1


def test_ctrl_c_ends_the_replay(
    mesh: Management, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", interrupt)
    mesh.answers = {BEGIN: [RUNNING], "DELETE /admin/shadows/digits/replays/7": [replace(DONE, state="cancelled")]}
    assert run(mesh, "replay", "digits", "--version", "3") == 130
    assert mesh.calls[-1][0] == "DELETE /admin/shadows/digits/replays/7"
    assert "replay 7 is ended" in capsys.readouterr().err


def test_a_shadow_begins_anew_and_recordings_go(mesh: Management, capsys: pytest.CaptureFixture[str]) -> None:
    mesh.answers = {
        "DELETE /admin/shadows/digits/dark": [Forgotten("digits", "dark")],
        "DELETE /admin/shadows/digits/recordings": [Forgotten("digits", "")],
    }
    assert run(mesh, "forget", "digits", "--shadow", "dark") == 0
    assert run(mesh, "forget", "digits", "--recordings") == 0
    assert capsys.readouterr().out.splitlines() == [
        "digits: shadow dark begins anew",
        "digits: what was recorded of it is thrown away",
    ]


def test_what_the_mesh_refuses_is_told(mesh: Management, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(mesh, "replay", "digits", "--version", "9") == 1
    assert "no such thing" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["replay", "digits"],
        ["replay", "digits", "--version", "3", "--most", "0"],
        ["replay", "digits", "--version", "3", "--most", "many"],
        ["forget", "digits"],
        ["forget", "digits", "--shadow", "dark", "--recordings"],
    ],
)
def test_mistakes_in_the_arguments_are_told(words: list[str]) -> None:
    assert main(["shadow", *words]) == 2
