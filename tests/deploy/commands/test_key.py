"""``penstock key``: without a mesh, and against a management API on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.key import describe
from gateway.control.key_reports import (
    KeyReport,
    KeysReport,
    OtherRevocationReport,
    RevocationReport,
    RevokedReport,
)
from gateway.decide.api_keys import is_key, sha256_hex
from policies.load import load_directory
from policies.snapshot.generation import Snapshot
from tests.demo_policies import lay_out_digits

LEAKED = RevocationReport("key:ops-1", "it was in a chat\x1b[2J", "2027-01-15T08:00:00Z")
ADS = KeyReport("ads-1", "ads", "ads-team", ["infer", "pin"], "active", None, None, None, None)
REPORT = KeysReport(
    7,
    "2027-01-01T00:00:00Z",
    [ADS, KeyReport("ads-0", "ads", "ads-team", ["infer"], "revoked", None, "2027-03-01T00:00:00Z", "x", LEAKED)],
    [OtherRevocationReport("jwt:corp:robot", LEAKED)],
)


class Management(BaseHTTPRequestHandler):
    """Answers one report, and takes changes."""

    asked: ClassVar[list[tuple[str, str, object]]] = []
    answer: ClassVar[tuple[int, object]] = (200, REPORT)

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

    def _answer(self, body: object) -> None:
        Management.asked.append((self.command, self.path, body))
        status, answer = Management.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(answer))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The arguments that lead to a management API on loopback."""
    monkeypatch.setenv("PENSTOCK_TOKEN", "t")
    monkeypatch.setattr(Management, "asked", [])
    monkeypatch.setattr(Management, "answer", (200, REPORT))
    server = HTTPServer(("127.0.0.1", 0), Management)
    serving = threading.Thread(target=server.serve_forever, args=(0.01,))
    serving.start()
    yield ["--server", f"http://127.0.0.1:{server.server_port}"]
    server.shutdown()
    serving.join()
    server.server_close()


def with_entry(root: Path, lines: list[str]) -> Snapshot:
    """Paste the printed lines into a tenant's file, as the text says, and load it."""
    lay_out_digits(root)
    path = root / "tenants" / "demo.yaml"
    text = path.read_text()
    assert "keys: []\n" in text
    path.write_text(text.replace("keys: []\n", "\n".join(["keys:", *lines, ""])))
    return load_directory(root)


def test_a_new_key_is_printed_once_with_lines_that_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--tenant", "demo", "--id", "demo-2", "--scopes", "infer,pin", "--not-after", "2027-03-01T00:00:00Z"]
    assert main(["key", "new", *arguments]) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert is_key(first)
    assert all(first not in line for line in lines)
    policy = with_entry(tmp_path / "p", [line for line in lines if line.startswith("  ")])
    (key,) = policy.tenants["demo"].keys
    assert (key.id, key.sha256, key.scopes) == ("demo-2", sha256_hex(first), ("infer", "pin"))
    assert key.not_after_s == 1_803_859_200.0


def test_a_key_that_has_ended_already_is_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["key", "new", "--tenant", "ads", "--json", "--not-after"]
    assert main([*arguments, "2020-01-01T00:00:00Z"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["entry"]["not_after"] == "2020-01-01T00:00:00Z"
    assert "2020-01-01T00:00:00Z is past, so this key never works" in told.err
    assert main([*arguments, "90d"]) == 0
    assert capsys.readouterr().err == ""


def test_a_new_key_as_json_has_the_entry_of_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new", "--tenant", "ads", "--not-after", "90d", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tenant"] == "ads"
    assert told["entry"]["id"] == f"key-{told['key'].split('_')[1]}"
    assert told["entry"]["sha256"] == sha256_hex(told["key"])
    assert told["entry"]["scopes"] == ["infer", "explain"]
    assert told["entry"]["not_after"].endswith("Z")


@pytest.mark.parametrize(
    "arguments",
    [
        ["new"],
        ["new", "--tenant", "a b"],
        ["new", "--tenant", "ads", "--id", "-x"],
        ["new", "--tenant", "ads", "--scopes", "infer,admin"],
        ["new", "--tenant", "ads", "--not-after", "tomorrow"],
        ["revoke", "ads-1"],
        ["nothing"],
        [],
    ],
)
def test_a_mistake_in_the_arguments_is_told_and_makes_no_key(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "error:" in told.err


def test_the_list_shows_state_and_last_use_and_why_keys_were_revoked(
    asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["key", "list", *asked]) == 0
    head, first, second, _, *revocations = capsys.readouterr().out.splitlines()
    assert head.split() == ["KEY", "TENANT", "OWNER", "STATE", "SCOPES", "NOT", "AFTER", "LAST", "USED"]
    assert first.split() == [
        "ads-1",
        "ads",
        "ads-team",
        "active",
        "infer",
        "pin",
        "-",
        "not",
        "since",
        "2027-01-01T00:00:00Z",
    ]
    assert second.split() == ["ads-0", "ads", "ads-team", "revoked", "infer", "2027-03-01T00:00:00Z", "x"]
    assert revocations == [
        "ads-0 was revoked at 2027-01-15T08:00:00Z by key:ops-1: it was in a chat?[2J",
        "jwt:corp:robot was revoked at 2027-01-15T08:00:00Z by key:ops-1: it was in a chat?[2J",
    ]


def test_the_list_as_json_is_what_the_mesh_says(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "list", "--json", *asked]) == 0
    assert json.loads(capsys.readouterr().out)["generation"] == 7


def test_a_mesh_without_keys_says_how_to_make_one() -> None:
    assert "penstock key new" in describe(KeysReport(1, "x", [], []))


@pytest.mark.parametrize(
    ("action", "done", "said"),
    [
        ("revoke", RevokedReport("ads-1", True, True), "ads-1 is refused from now on"),
        ("revoke", RevokedReport("ads-1", True, False), "nothing to do: ads-1 is revoked already"),
        ("restore", RevokedReport("ads-1", False, True), "ads-1 is used again as policy says"),
        ("restore", RevokedReport("ads-1", False, False), "nothing to do: ads-1 was not revoked"),
    ],
)
def test_a_change_is_sent_with_its_reason(
    action: str, done: RevokedReport, said: str, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Management.answer = (200, done)
    assert main(["key", action, "ads-1", "--reason", "leaked", *asked]) == 0
    assert capsys.readouterr().out.strip() == said
    assert Management.asked == [("POST", f"/admin/keys/ads-1/{action}", {"reason": "leaked"})]


def test_an_id_with_slashes_is_one_part_of_the_path(asked: list[str]) -> None:
    Management.answer = (200, RevokedReport("x", True, True))
    main(["key", "revoke", "san:spiffe://corp/ads?x=1", "--reason", "leaked", *asked])
    assert Management.asked[0][1] == "/admin/keys/san:spiffe:%2F%2Fcorp%2Fads%3Fx=1/revoke".replace("=", "%3D")


def test_what_the_mesh_refuses_is_told_in_its_words(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    Management.answer = (404, {"message": "No tenant has a key of this id.", "reason": "key_not_found"})
    assert main(["key", "revoke", "nobody", "--reason", "leaked", *asked]) == 1
    assert "answers 404: No tenant has a key of this id." in capsys.readouterr().err
