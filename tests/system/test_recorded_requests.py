"""Recorded requests and late labels in a true mesh, through kill -9 of the process that keeps them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.digits import Digit, known_digits
from tests.system.mesh import SOON_S, MeshUnderTest, eventually, files_below, running_mesh
from tests.system.processes import kill_now

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

_POLICIES = {
    "routes/digits.yaml": """
kind: route/v1
model: digits
owner: demo-team
versions:
  "1": {pods: {launch: {archive: digits-1.mar, device: cpu}}}
  "2": {pods: {launch: {archive: digits-2.mar, device: cpu}}}
stable: "1"
shadow:
  - name: next
    version: "2"
    sample: 1%
    sample_by: [tenant]
    compare:
      outputs: [{path: /label, as: label}]
      verdict: {worse_if_above_noise_by: 10%, at_least: 100}
record: {sample: 100%, drop_headers: [x-mail], drop_fields: [/user]}
feedback: {label: /label}
""",
    "tenants/demo.yaml": """
kind: tenant/v1
name: demo
owner: demo-team
tier: demo
keys: []
may_call: [digits]
shadow: allow
""",
}
_SECRET = "planted-secret"
_REQUESTS = 400
# The process that keeps them tells of it every second.
STILL_S = 4.0


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    with running_mesh(tmp_path_factory.mktemp("recorded"), model_store, policies=_POLICIES) as mesh:
        mesh.said.line("takes copies of requests")
        eventually(lambda: mesh.pod("digits/2/0")["state"] == "ready", "the pod of version 2 is ready")
        yield mesh


def predict(mesh: MeshUnderTest, digit: Digit) -> str:
    """Send a digit with what must not be kept, and return the request's id."""
    body = json.dumps({"data": digit.pixels, "user": {"mail": _SECRET}})
    headers = {"content-type": "application/json", "x-mail": _SECRET}
    answer = mesh.api.post("/predictions/digits", content=body, headers=headers).raise_for_status()
    return answer.headers["x-request-id"]


def penstock(mesh: MeshUnderTest, *words: str) -> tuple[int, str]:
    """Run a command on this mesh, and return its exit code and what it printed; what it says beside that is shown."""
    command = [str(Path(sys.executable).with_name("penstock")), *words, "--state", str(mesh.state)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PENSTOCK_TOKEN": ""}, timeout=SOON_S
    )
    print(done.stderr)
    return done.returncode, done.stdout


def replay(mesh: MeshUnderTest, version: str) -> tuple[int, dict[str, Any]]:
    code, told = penstock(mesh, "shadow", "replay", "digits", "--version", version, "--json")
    found: dict[str, Any] = json.loads(told)
    return code, found


def metric(mesh: MeshUnderTest, sample: str) -> float:
    """Return a sample of the mesh's metrics; 0.0 while it is not there."""
    text = mesh.api.get(f"{mesh.published().metrics}/metrics").text
    found = re.search(rf"^{re.escape(sample)} (\S+)", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def recorded(mesh: MeshUnderTest, outcome: str = "recorded") -> float:
    return metric(mesh, f'penstock_recorded_requests_total{{model="digits",outcome="{outcome}"}}')


def once_still(mesh: MeshUnderTest) -> float:
    """Return how many requests are recorded once none is under way: what was asked before is told of later."""
    last, changed_s = -1.0, time.monotonic()

    def is_still() -> bool:
        nonlocal last, changed_s
        now = recorded(mesh)
        if now != last:
            last, changed_s = now, time.monotonic()
        return time.monotonic() - changed_s > STILL_S

    eventually(is_still, "what was asked before is recorded")
    return last


def labels(mesh: MeshUnderTest, outcome: str, model: str = "digits") -> float:
    return metric(mesh, f'penstock_late_labels_total{{model="{model}",outcome="{outcome}"}}')


def test_requests_are_recorded_replayed_kept_through_a_kill_and_forgotten(mesh: MeshUnderTest) -> None:
    digits = known_digits(mesh)
    before = once_still(mesh)
    for number in range(_REQUESTS):
        predict(mesh, digits[number % len(digits)])
    eventually(lambda: recorded(mesh) >= before + _REQUESTS, "all requests are recorded")

    code, same = replay(mesh, "1")
    assert (code, same["state"], same["report"]["differ"]) == (0, "done", 0), same
    assert same["report"]["says"] == "same", same
    code, other = replay(mesh, "2")
    assert (other["state"], other["sent"]) == ("done", other["chosen"])
    assert code == int(other["report"]["says"] in ("differs", "worse"))
    assert other["report"]["answers"]["only_shadow_failed"] == 0

    (copies,) = mesh.pids("penstock gateway copies")
    killed = kill_now([copies])
    mesh.said.line("takes copies of requests", after_s=killed.at_s)
    eventually(lambda: mesh.pids("penstock gateway copies"), "it runs again")
    code, again = replay(mesh, "1")
    assert (code, again["sent"], again["report"]["differ"]) == (0, same["sent"], 0)

    assert not any(_SECRET.encode() in content for content in files_below(mesh.state).values())
    code, said = penstock(mesh, "shadow", "forget", "digits", "--recordings")
    assert code == 0, said
    code, none = replay(mesh, "1")
    assert (code, none["state"]) == (1, "failed")
    assert "no recorded requests" in none["because"]
    actions = [record["action"] for record in mesh.admin("audit")["records"]]
    assert actions.count("shadow.replay") == 4
    assert "shadow.forget" in actions


def test_late_labels_meet_their_answers_once(mesh: MeshUnderTest) -> None:
    digits = known_digits(mesh)[:10]
    told = [{"request_id": predict(mesh, digit), "label": digit.label} for digit in digits]
    told[0]["label"] = -1
    told.append({"request_id": "of-nobody", "label": 1})
    for entries in (told, told[:1]):
        answer = mesh.api.post("/feedback", json=entries)
        assert (answer.status_code, answer.json()) == (202, {"accepted": len(entries)})
    eventually(lambda: labels(mesh, "right") == 9, "right labels are counted")
    eventually(lambda: labels(mesh, "wrong") == 1, "a wrong label is counted")
    eventually(lambda: labels(mesh, "repeated") + labels(mesh, "repeated", "") == 1, "a repeated label is counted")
    eventually(lambda: labels(mesh, "unknown_request", "") == 1, "a label of nobody's request is counted")
