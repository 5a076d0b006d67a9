"""``penstock trace`` against a hub on loopback that learns of a trace bit by bit."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from deploy.cli import main
from deploy.commands import trace
from gateway.control.runtime_file import RunningMesh, publish, runtime_path
from tests.deploy.commands.test_waterfall import SPANS, TRACE

NOT_STORED = b'{"error":"No trace and no request is stored."}'
PARTIAL = replace(TRACE, spans=SPANS[1:2] + SPANS[3:], batches=())


class HubServer(HTTPServer):
    """Gives each question the next of its answers, and the last of them ever after."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, bytes]] = [(200, msgspec.json.encode(TRACE))]
        self.asked: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, HubServer)
        self.server.asked.append((self.path, self.headers.get("authorization", "")))
        status, body = self.server.answers[0]
        if len(self.server.answers) > 1:
            self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.setattr(trace, "EVERY_S", 0.001)
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def state_of(directory: Path, hub: HubServer) -> Path:
    published = {"pid": os.getpid(), "dashboards": hub.url, "otlp": ""}
    (directory / "hub.json").write_bytes(msgspec.json.encode(published))
    return directory


def test_the_trace_of_a_request_is_shown(hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "a/b?", "--state", str(state_of(tmp_path, hub))]) == 0
    out = capsys.readouterr().out
    assert "gateway.request" in out
    assert "request-1 (this)" in out
    assert "the parts cover 40.0%" in out
    assert hub.asked == [("/api/traces/a%2Fb%3F", "")]


def test_this_users_mesh_is_found_by_itself(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    state = state_of(tmp_path, hub)
    publish(
        runtime_path(os.environ, tmp_path),
        RunningMesh(
            pid=os.getpid(), inference="", management="", token="", state_dir=str(state), started_at="", metrics=""
        ),
    )
    assert main(["trace", "request-1"]) == 0
    assert "gateway.request" in capsys.readouterr().out


def test_json_for_a_terminal_cannot_command_it(
    hub: HubServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = replace(TRACE, request_id="\x9b2J")
    hub.answers = [(200, msgspec.json.encode(hostile))]
    assert main(["trace", "request-1", "--hub", hub.url, "--json"]) == 0
    assert "\x9b" in capsys.readouterr().out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["trace", "request-1", "--hub", hub.url, "--json"]) == 0
    said = capsys.readouterr().out
    assert "\x9b" not in said
    assert json.loads(said)["request_id"] == "\x9b2J"


def test_json_is_passed_on_as_it_came(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trace", "request-1", "--hub", hub.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(hub.answers[0][1])


def test_a_trace_that_is_still_coming_is_waited_for(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.answers = [(404, NOT_STORED), (404, NOT_STORED), (200, msgspec.json.encode(PARTIAL)), *hub.answers]
    assert main(["trace", "request-1", "--hub", hub.url]) == 0
    assert "pod.batch" in capsys.readouterr().out
    assert len(hub.asked) == 4


def test_a_trace_that_stays_partial_is_shown_when_the_time_is_over(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.answers = [(200, msgspec.json.encode(PARTIAL))]
    assert main(["trace", "request-1", "--hub", hub.url, "--wait", "0.02"]) == 0
    assert "gateway.forward" in capsys.readouterr().out


def test_an_unknown_id_says_why_that_may_be(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.answers = [(404, NOT_STORED)]
    assert main(["trace", "nothing\x1b", "--hub", hub.url, "--wait", "0"]) == 1
    error = capsys.readouterr().err
    assert "no trace and no request nothing?" in error
    assert "kept_per_s" in error
    assert "32 hex digits" in error


def test_a_hub_with_a_token_is_asked_with_it(
    hub: HubServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("secret\n")
    assert main(["trace", "a", "--hub", hub.url, "--token-file", str(tmp_path / "token")]) == 0
    assert hub.asked[-1][1] == "Bearer secret"
    hub.answers = [(401, b"{}")]
    assert main(["trace", "a", "--hub", hub.url]) == 1
    assert "PENSTOCK_TOKEN" in capsys.readouterr().err
    monkeypatch.setenv("PENSTOCK_TOKEN", "secret")
    for where in (["--hub", hub.url], ["--state", str(state_of(tmp_path, hub))]):
        assert main(["trace", "a", *where, "--wait", "0"]) == 1
        assert hub.asked[-1][1] == "Bearer secret"


def test_the_own_hubs_token_is_found_beside_it(hub: HubServer, tmp_path: Path) -> None:
    (state_of(tmp_path, hub) / "hub-token").write_text("made-at-its-start\n")
    assert main(["trace", "a", "--state", str(tmp_path)]) == 0
    assert hub.asked[-1][1] == "Bearer made-at-its-start"
    assert main(["trace", "a", "--hub", hub.url]) == 0
    assert hub.asked[-1][1] == ""  # it is for that hub alone


@pytest.mark.parametrize(("answer", "sentence"), [((500, b"oh"), "answers 500: oh"), ((200, b"[]"), "another shape")])
def test_a_hub_that_answers_something_else_is_said(
    hub: HubServer, capsys: pytest.CaptureFixture[str], answer: tuple[int, bytes], sentence: str
) -> None:
    hub.answers = [answer]
    assert main(["trace", "a", "--hub", hub.url]) == 1
    assert sentence in capsys.readouterr().err


def test_a_hub_that_listens_and_says_nothing_is_told_from_one_that_is_gone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert main(["trace", "a", "--hub", f"http://127.0.0.1:{silent.getsockname()[1]}"]) == 1
    assert "listens but does not answer within 0.05 s: stopped or overloaded?" in capsys.readouterr().err


def test_without_a_hub_the_fix_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["trace", "a", "--state", str(tmp_path)]) == 1
    assert "serves dashboards" in capsys.readouterr().err
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert main(["trace", "a"]) == 1
    assert "penstock up" in capsys.readouterr().err
    assert main(["trace", "a", "--hub", "http://127.0.0.1:9"]) == 1
    assert "does not answer" in capsys.readouterr().err
    assert main(["trace", "a", "--hub", "http://127.0.0.1:9", "--token-file", str(tmp_path / "none")]) == 1
    assert "cannot be read" in capsys.readouterr().err


LISTED = {
    "trace_id": "a" * 32, "request_id": "request-\x1b1", "name": "gateway.request", "model": "digits", "version": "1",
    "tenant": "acme", "arm": "stable", "status": "error", "http_status": 502, "reason": "pod_lost", "outcome": "bad",
    "start_ns": 1_800_000_000_123_456_789, "duration_ns": 12_345_678, "span_count": 7, "batch_rows": 4, "kept": "error",
    "stages": [
        {"name": "gateway.forward", "start_ns": 0, "duration_ns": 9_000_000},
        {"name": "pod.queue", "start_ns": 0, "duration_ns": 5_000_000},
        {"name": "pod.inference", "start_ns": 0, "duration_ns": 2_000_000},
    ],
}  # fmt: skip
TABLE = """\
STARTED (UTC)       ID          MODEL     STATUS          TOOK ms  MOST OF IT   BATCH  KEPT
01-15 08:00:00.123  request-?1  digits/1  502 pod_lost     12.346  queue 5.000      4  error
older ones: --cursor 9.a
"""


def test_a_list_is_asked_for_with_its_filters(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.answers = [(200, msgspec.json.encode({"traces": [LISTED], "next": "9.a"}))]
    narrowed = ["--model", "digits", "--status", "error", "--min-ms", "10", "--reason", "pod_lost", "--limit", "1"]
    assert main(["trace", "list", "--hub", hub.url, *narrowed]) == 0
    assert capsys.readouterr().out == TABLE
    path, _, query = hub.asked[-1][0].partition("?")
    assert path == "/api/traces"
    assert sorted(query.split("&")) == [
        "limit=1", "min_ms=10", "model=digits", "reason=pod_lost", "status=error"
    ]  # fmt: skip
    assert main(["trace", "list", "--hub", hub.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["next"] == "9.a"


def test_a_list_is_of_a_stretch_of_time(hub: HubServer) -> None:
    hub.answers = [(200, b'{"traces": [], "next": null}')]
    began_s = time.time()
    assert main(["trace", "list", "--hub", hub.url, "--since", "2026-11-22T02:00:00Z", "--until", "10m"]) == 0
    query = dict(pair.split("=") for pair in hub.asked[-1][0].partition("?")[2].split("&"))
    assert query.pop("limit") == "20"
    assert float(query.pop("since")) == datetime(2026, 11, 22, 2, tzinfo=UTC).timestamp()
    assert began_s - 600.0 <= float(query.pop("until")) + 1e-3 <= time.time() - 600.0 + 1.0
    assert not query


def test_what_is_no_request_is_marked_in_a_list_and_json_is_as_it_was(
    hub: HubServer, capsys: pytest.CaptureFixture[str]
) -> None:
    load = LISTED | {"request_id": "", "name": "pod.load", "http_status": None, "reason": "", "stages": [], "kept": ""}
    listed = [
        load | {"status": "ok"},
        load | {"status": "error", "reason": "OutOfMemory"},
        load | {"name": "pod.batch", "status": "ok"},
        load | {"name": "nightly job", "model": "", "version": "", "status": "ok"},
    ]
    hub.answers = [(200, msgspec.json.encode({"traces": listed, "next": None}))]
    assert main(["trace", "list", "--hub", hub.url]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split("aaaa ")[1].split("  12.346")[0].split() for row in rows] == [
        ["digits/1", "load"],
        ["digits/1", "load", "error", "OutOfMemory"],
        ["digits/1", "batch"],
        ["nightly", "job", "ok"],
    ]
    assert main(["trace", "list", "--hub", hub.url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["traces"] == json.loads(msgspec.json.encode(listed))


def test_an_empty_list_and_a_hub_that_refuses_say_so(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.answers = [(200, b'{"traces": [], "next": null}')]
    assert main(["trace", "list", "--hub", hub.url]) == 0
    assert "widen the filters" in capsys.readouterr().out
    for answer, sentence in (((400, b"min_ms is a number"), "min_ms is a number"), ((200, b"[]"), "another shape")):
        hub.answers = [answer]
        assert main(["trace", "list", "--hub", hub.url]) == 1
        assert sentence in capsys.readouterr().err
    hub.answers = [(400, b'{"error":"cursor is what the list before gave as next."}')]
    assert main(["trace", "list", "--hub", hub.url]) == 1
    assert capsys.readouterr().err.endswith("answers 400: cursor is what the list before gave as next.\n")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("list", "--limit", "0"), "0 is not a number from 1 to 1000"),
        (("list", "--limit", "ten"), "ten is not a number from 1 to 1000"),
        (("list", "--min-ms", "-5"), "'-5' is not a number of 0 or more"),
        (("list", "--max-ms", "nan"), "'nan' is not a number of 0 or more"),
        (("list", "--since", "02:00"), "such as 15m"),
        (("list", "--since", "999999d"), "999999d is before 1970"),
        (("request-1", "--wait", "soon"), "'soon' is not between 0 and 600 seconds"),
        (("",), "it is empty"),
    ],
)
def test_a_mistake_in_the_arguments_is_told_before_anybody_is_asked(
    hub: HubServer, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], why: str
) -> None:
    assert main(["trace", *arguments, "--hub", hub.url]) == 2
    assert why in capsys.readouterr().err
    assert hub.asked == []


@pytest.mark.parametrize("told", [b"There is /metrics and /livez.", b'{"code":404,"message":"No such path."}', b"[]"])
@pytest.mark.parametrize("arguments", [("list",), ("request-1",)])
def test_another_server_than_the_hub_is_told_as_that(
    hub: HubServer, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], told: bytes
) -> None:
    hub.answers = [(404, told)]
    assert main(["trace", *arguments, "--hub", hub.url]) == 1
    assert f"what answers at {hub.url} is no hub" in capsys.readouterr().err


def test_a_trace_for_other_tools_is_otlp(hub: HubServer, capsys: pytest.CaptureFixture[str]) -> None:
    hub.answers = [(200, msgspec.json.encode(TRACE)), (200, b'{"resourceSpans":[]}')]
    assert main(["trace", "show", "list", "--hub", hub.url, "--otlp"]) == 0
    assert capsys.readouterr().out == '{"resourceSpans":[]}\n'
    assert [path for path, _ in hub.asked] == ["/api/traces/list", "/api/traces/list?form=otlp"]
