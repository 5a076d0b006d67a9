"""``penstock status`` and ``penstock model list`` against a management API on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest

from deploy.cli import main
from deploy.commands.model import ServedVersion, served_versions
from deploy.commands.rollout_text import in_one_line
from deploy.commands.status import describe
from deploy.local.hub import RunningHub
from gateway.control.reports import (
    AddressesReport,
    EndedWorkersReport,
    PodReport,
    PodsReport,
    PolicyErrorReport,
    PolicyReport,
    ReadinessReport,
    StableReport,
    StatusReport,
    WaitingReport,
    WorkerReport,
)
from tests.deploy.commands.test_rollout import WAITING

TOKEN = "a-token"
POD = PodReport(
    name="digits/1/0",
    model="digits",
    version="1",
    address="unix:/s/p.sock",
    archive="digits-1.mar",
    device_wanted="auto",
    state="ready",
    was_ready=True,
    message="",
    probed_s_ago=0.1,
    device="cpu",
    queued_rows=3,
    running_rows=1,
    restarts=0,
    pid=42,
    inference_pid=43,
    load_s=1.0,
)
STATUS = StatusReport(
    mesh="demo",
    version="0.1.0",
    pid=40,
    started_at="2026-01-01T00:00:00Z",
    uptime_s=12.3,
    is_draining=False,
    generation=2,
    readiness=ReadinessReport(True, 1, 1, [StableReport("digits", "1", is_ready=True, was_ready=True)]),
    workers=[
        WorkerReport(0, 41, 2, True, 12.0, 7, {"key_unknown": 2}, in_flight=1, connections=1, waiting=6, ejected=3)
    ],
    worker_restarts=0,
    workers_to_replace=0,
    ended_workers=EndedWorkersReport(requests=5, by_reason={"rate_limited": 3}),
    pods=[POD],
    addresses=AddressesReport(["http://127.0.0.1:8080"], ["http://127.0.0.1:8081"], ["http://127.0.0.1:8082"]),
    state_dir="/state",
)
QUESTION = PolicyErrorReport("limits.yaml", 3, 7, "5 what?", "Write 5/s.")
POLICY = PolicyReport(
    generation=2,
    digest="d",
    loaded_at="2026-01-01T00:00:00Z",
    from_last_good=False,
    changes=[],
    waiting=WaitingReport(3, ["route digits: stable 1 -> 2"], ["digits/2"], at_most_s=41.6),
    refused_at="2026-01-01T00:01:00Z",
    errors=[PolicyErrorReport("routes/digits.yaml", 4, 9, 'unknown key "stabel"', "Write stable."), QUESTION],
    waiting_for=[],
)


class Management(BaseHTTPRequestHandler):
    """Answers the reports above to whoever has the token."""

    status = STATUS

    def do_GET(self) -> None:
        if self.headers["authorization"] != f"Bearer {TOKEN}":
            self.send_response(401)
            self.end_headers()
            return
        pods = PodsReport(2, self.status.pods, self.status.readiness.stable_versions)
        report = {"/admin/status": self.status, "/admin/policy": POLICY, "/admin/pods": pods}[self.path]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(msgspec.json.encode(report))

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("PENSTOCK_TOKEN", TOKEN)
    with HTTPServer(("127.0.0.1", 0), Management) as management:
        thread = threading.Thread(target=management.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{management.server_port}"
        management.shutdown()
        thread.join()


def test_status_is_for_people_and_shows_refused_policy_files(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--server", server]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("mesh demo: ready, generation 2, up 12 s")
    assert 'routes/digits.yaml:4:9: unknown key "stabel". Write stable.' in printed
    assert "limits.yaml:3:7: 5 what? Write 5/s." in printed
    assert "digits/1/0  ready  cpu          3        1         0   42" in printed
    assert "generation 3 waits for digits/2 to be ready, at most 42 s longer" in printed
    assert "ended     -           -  -               5        3          -        -        -            -" in printed
    assert "2  yes             7        2          1        6        3            1" in printed


def test_status_says_where_everything_is() -> None:
    told = describe(STATUS, POLICY, RunningHub(7, "http://127.0.0.1:8090"))
    assert "metrics     http://127.0.0.1:8082/metrics" in told
    assert "dashboards  http://127.0.0.1:8090" in told
    assert "dashboards  nowhere" in describe(STATUS, POLICY)


def test_status_names_the_canaries_that_there_are() -> None:
    text = describe(STATUS, POLICY, rollouts=[WAITING])
    assert in_one_line(WAITING) in text.splitlines()


def test_status_as_json_is_what_the_api_says(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--server", server, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(msgspec.json.encode(STATUS))


def test_a_mesh_that_is_not_ready_fails_the_check(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = replace(STATUS, readiness=replace(STATUS.readiness, is_ready=False))
    monkeypatch.setattr(Management, "status", waiting)
    assert main(["status", "--server", server]) == 1


def test_a_wrong_token_is_a_sentence_with_the_fix(
    server: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", "another")
    assert main(["status", "--server", server]) == 1
    told = capsys.readouterr().err
    assert "does not let this token in: it does not know it (another token is given with --token-file" in told


def test_a_server_that_is_not_there_is_a_sentence_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PENSTOCK_TOKEN", TOKEN)
    assert main(["model", "list", "--server", "http://127.0.0.1:1"]) == 1
    assert "is the mesh running? See `penstock up`" in capsys.readouterr().err


def test_model_list_counts_ready_pods(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["model", "list", "--server", server]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "MODEL   VERSION  STABLE  READY   ARCHIVE",
        "digits  1        yes     1 of 1  digits-1.mar",
    ]
    assert main(["model", "list", "--server", server, "--json"]) == 0
    expected = {"model": "digits", "version": "1", "is_stable": True, "pods": 1, "ready_pods": 1}
    assert json.loads(capsys.readouterr().out) == {"models": [{**expected, "archive": "digits-1.mar"}]}


def test_a_stable_version_without_pods_is_listed_too() -> None:
    lonely = PodsReport(2, [], STATUS.readiness.stable_versions)
    assert served_versions(lonely) == [ServedVersion("digits", "1", is_stable=True, pods=0, ready_pods=0, archive="")]
