"""Where the running mesh says that its canaries stand, and nothing where none answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from deploy.commands.running_stages import PATH, running_stages, stage_of
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from gateway.control.runtime_file import FILE_NAME, RunningMesh, publish
from gateway.decide.stage import Stage
from policies.snapshot.generation import Snapshot
from policies.snapshot.release import Canary, CanaryStep, Judge
from tests.gateway.policy import policy

TOLD = {
    "model": "digits",
    "canary": "first",
    "version": "2",
    "stable": "1",
    "owner": "us",
    "generation": 3,
    "state": "running",
    "revision": 7,
    "step": 1,
    "steps": [],
    "share": 0.25,
    "target_share": 0.25,
    "since_s": 0.0,
    "waiting_for": [],
    "next_s": None,
    "because": "it runs",
    "verdict": None,
    "transitions": [],
}
REPORT = msgspec.convert(TOLD, RolloutReport)
STAGE = Stage("digits", "first", "2", 7, 1, 0.25)


def released() -> Snapshot:
    snapshot = policy()
    canary = Canary("first", "2", (CanaryStep(0.05), CanaryStep(0.25)), Judge("1"))
    return replace(snapshot, routes={"digits": replace(snapshot.routes["digits"], canary=canary)})


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """The state directory of a mesh that tells of one rollout."""

    class Management(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == PATH else 404)
            self.end_headers()
            self.wfile.write(msgspec.json.encode(RolloutsReport(0.0, (REPORT,))))

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Management)
    management = f"http://127.0.0.1:{server.server_port}"
    publish(tmp_path / FILE_NAME, RunningMesh(os.getpid(), "", management, "t" * 43, str(tmp_path), "now"))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield tmp_path
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_rollout_is_a_stage() -> None:
    assert stage_of(REPORT) == STAGE


def test_the_mesh_of_a_state_directory_is_asked_where_its_canaries_stand(state: Path) -> None:
    assert running_stages(released(), state) == {"digits": STAGE}


def test_nobody_is_asked_of_a_policy_without_a_canary(state: Path) -> None:
    assert running_stages(policy(), state) == {}


def test_where_no_mesh_runs_nothing_is_known(tmp_path: Path) -> None:
    assert running_stages(released(), tmp_path / "none") == {}
