"""Secrets in every part of requests, in a mesh that keeps and tells all it can, are found where policy says, alone.

The model does its worst: it prints and logs what it gets, says it in spans, and raises it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest

from tests.demo_policies import DEMO
from tests.system import processes
from tests.system.mesh import MeshUnderTest, eventually, files_below, started_mesh
from tests.system.models import handler_archive, own_store
from tests.system.seen import OPENMETRICS, hub_of, penstock, sidecar_urls, stored_trace

pytestmark = [pytest.mark.system, pytest.mark.timeout(600)]

# Each stands for one place of a request. Those of the body are of the kinds that rules know, and of one that none does.
BODY = {
    "diagnosis": "planted-body-5d41402abc4b2a76",
    "card": "4000 0566 5566 5556",
    "mail": "planted.person@mail.example",
    "user": "planted-subject-7d793037a0760186",
}
HEADERS = {
    "x-secret": "planted-header-9c1185a5c5e9fc54",
    "cookie": "session=planted-cookie-3295c76acbf4caae",
    "x-jwt": "eyJhbGciOiJIUzI1NiJ9.cGxhbnRlZC1qd3Q.cGxhbnRlZC1zaWduYXR1cmU",
    "baggage": "user=planted-baggage-e4d909c290d0fb1c",
    "tracestate": "vendor=planted-tracestate-acbd18db4cc2f85c",
}
QUERY = "planted-query-37b51d194a7513e4"
WRONG_KEY = f"msk_{'a' * 12}_{'Planted0' * 6}"
WRONG_PATH = "planted-path-73feffa4b7f6bb68"
# In two pieces in the handler, whose source lies on the disk.
ANSWER = "planted-answer-1f3870be274f6c49"
# What policy says is kept: in samples, and nowhere else.
ALLOWED = "allowed-0cc175b9c0f1b6a8"

HANDLER = f"""
import logging

from opentelemetry import trace

tracer = trace.get_tracer("leaky")
log = logging.getLogger("leaky")

def handle(data, context):
    if data is None:
        return None
    answers = []
    for row in data:
        body = row["body"]
        print("got", body, flush=True)
        log.error("got %s", body)
        with tracer.start_as_current_span("leak") as span:
            span.set_attribute("input", str(body))
            span.set_attribute(body["diagnosis"], 1)
            span.set_attribute("exception.message", body["card"])
            span.add_event("seen", {{"input": str(body)}})
            if body.get("fail"):
                raise ValueError(f"no: {{body}}")
        secret = "{ANSWER[:10]}" + "{ANSWER[10:]}"
        answers.append({{"label": VERSION, "note": body["note"], "secret": secret, "echo": body["diagnosis"]}})
    return answers
"""
ROUTE = """\
kind: route/v1
model: digits
owner: demo-team
slo: [digits-availability]
versions:
  "1": {pods: {launch: {archive: leaky-1.mar, device: cpu}}}
  "2": {pods: {launch: {archive: leaky-2.mar, device: cpu}}}
shadow:
  - name: next
    version: "2"
    sample: 100%
    sample_by: [tenant]
    privacy: {keep: digests}
    compare: {outputs: [{path: /label, as: label}, {path: /echo, as: text}]}
feedback: {label: /label}
drift:
  sample: 100%
  inputs: [{path: /diagnosis}, {path: /card}, {path: /mail}]
  outputs: [{path: /label}, {path: /secret}]
  reference: {for: 5s}
  window: 5s
samples:
  fields: [/note, /label]
  rate: 100%
  on: [error, slow, drift, shadow_difference]
  slower_than: 1s
  per_minute: 6000
  subject: /user
stable: "1"
"""
SLOS = """\
kind: slos/v1
slos:
  - name: digits-availability
    route: digits
    owner: demo-team
    window: 4d
    good: {status_below: 500}
    chance_below: 0%
    page: [{burn: 14.4, long: 8m, short: 40s}]
    ticket: []
    objective: 99%
"""
TENANT = "kind: tenant/v1\nname: demo\nowner: demo-team\ntier: demo\nkeys: []\nmay_call: ['*']\nshadow: allow\n"
REQUESTS = 120
_KEY_FILE = "state/local-key"
_READY_WITHIN_S, _ALERT_WITHIN_S = 240.0, 180.0


class Hook(BaseHTTPRequestHandler):
    """A webhook: keeps what it is told, with its head."""

    told: ClassVar[list[bytes]] = []

    def do_POST(self) -> None:
        Hook.told.append(str(self.headers).encode() + self.rfile.read(int(self.headers["content-length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def webhook() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/alerts"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path, webhook: str) -> Iterator[MeshUnderTest]:
    home = tmp_path_factory.mktemp("planted")
    store = own_store(model_store, home)
    for version in ("1", "2"):
        archive = handler_archive(HANDLER.replace("VERSION", f'"{version}"'))
        (store / f"leaky-{version}.mar").write_bytes(archive)
    usual = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", (DEMO / "mesh.yaml").read_text())
    told = f"alerts: {{webhooks: [{{url: '{webhook}'}}]}}"
    more = f"tracing: {{kept_per_s: 10000}}\nlogs: {{level: debug, handlers: nothing}}\n{told}"
    policies = {
        "mesh.yaml": usual.replace("\nname: demo", f"\n{more}\nname: demo"),
        "routes/digits.yaml": ROUTE,
        "slos.yaml": SLOS,
        "tenants/demo.yaml": TENANT,
    }
    with started_mesh(home, store, policies=policies, workers=1) as running:
        running.said.line("^curl ", within_s=_READY_WITHIN_S)
        running.said.line("takes copies of requests", within_s=_READY_WITHIN_S)
        eventually(
            lambda: running.pod("digits/2/0")["state"] == "ready", "the shadow is ready", within_s=_READY_WITHIN_S
        )
        yield running


def send(mesh: MeshUnderTest, number: int) -> httpx.Response:
    """Send one request with secrets wherever it has room for one; every third fails."""
    body: dict[str, Any] = {**BODY, "note": f"{ALLOWED} {BODY['card']} {BODY['mail']}", "fail": number % 3 == 0}
    return mesh.api.post(f"/predictions/digits?token={QUERY}", json=body, headers=HEADERS)


def refused(mesh: MeshUnderTest) -> None:
    """Send what is refused, with secrets: a wrong key, a wrong path, wrong JSON, a wrong label."""
    wrong = {"authorization": f"Bearer {WRONG_KEY}"}
    assert mesh.api.post("/predictions/digits", json=BODY, headers=wrong).status_code == 401
    jwt = {"authorization": f"Bearer {HEADERS['x-jwt']}"}
    assert mesh.api.post("/predictions/digits", json=BODY, headers=jwt).status_code == 401
    assert mesh.api.post(f"/predictions/{WRONG_PATH}", json=BODY).status_code == 404
    assert mesh.api.post("/v2/models/digits/infer", content=BODY["diagnosis"]).status_code >= 400
    mesh.api.post("/feedback", json=[{"request_id": "of-nobody", "label": BODY["diagnosis"]}])
    mesh.api.post("/feedback", content=BODY["diagnosis"])


def secrets(mesh: MeshUnderTest) -> list[bytes]:
    """Return what must be found nowhere."""
    planted = [*BODY.values(), BODY["card"].replace(" ", ""), *HEADERS.values(), QUERY, WRONG_KEY, ANSWER, mesh.key]
    planted += [value.partition("=")[2] for value in HEADERS.values() if "=" in value]
    return [one.encode() for one in planted]


def files(mesh: MeshUnderTest) -> dict[str, bytes]:
    """Return the content of every file that the mesh has made."""
    places = (mesh.state, mesh.state.parent / "run")
    found = [one for place in places for one in files_below(place).items()]
    return {str(path.relative_to(mesh.state.parent)): content for path, content in found}


def told(mesh: MeshUnderTest, request_ids: Sequence[str]) -> dict[str, bytes]:
    """Return everything that the mesh tells whoever asks, and has told by itself."""
    # What `penstock up` prints for its user's terminal to copy: the key, and a command with it.
    said = [line.text for line in mesh.said.lines if not line.text.startswith(("key ", "curl "))]
    found = {"what all processes say": "\n".join(said).encode(), "webhook": b"\n".join(Hook.told)}
    headers = {"accept": OPENMETRICS}
    hub = hub_of(mesh).dashboards
    urls = {f"{mesh.published().metrics}/metrics", f"{hub}/metrics"}
    urls |= {f"{url.removesuffix('/metrics')}/metrics" for url in sidecar_urls(mesh).values()}
    pages = ["/", "/slos", "/traces", "/rollouts", "/shadows", "/drift", "/machine", "/api/overview", "/api/slos"]
    pages += ["/api/slos/history", "/api/rollouts", "/api/shadows", "/api/traces?limit=500"]
    pages += [f"{part}/{one}" for part in ("/api/traces", "/traces") for one in request_ids]
    for url in (*sorted(urls), *(f"{hub}{page}" for page in pages)):
        found[url] = httpx.get(url, headers=headers, trust_env=False, timeout=60).content
    for path in ("audit", "status", "policy", "pods", "slo", "shadows", "drift", "rollouts", "quotas", "log-level"):
        running = mesh.published()
        bearer = {"authorization": f"Bearer {running.token}"}
        found[path] = mesh.api.get(f"{running.management}/admin/{path}", headers=bearer).content
    for words in (
        ("status",),
        ("trace", request_ids[0]),
        ("shadow", "report", "digits"),
        ("drift", "digits"),
        ("slo",),
    ):
        done = penstock(mesh, *words)
        found[f"penstock {' '.join(words)}"] = (done.stdout + done.stderr).encode()
    for pid in processes.of_session(mesh.session):
        with suppress(OSError):  # it ended meanwhile
            found[f"command line of {pid}"] = Path(f"/proc/{pid}/cmdline").read_bytes()
    return found


def hits(where: dict[str, bytes], what: Sequence[bytes]) -> list[str]:
    """Return what is where, but for the key in the file that it is kept in for the mesh's user."""
    found = [(place, one.decode()) for place, content in where.items() for one in what if one in content]
    return [f"{one} in {place}" for place, one in found if not (place == _KEY_FILE and one.startswith("msk_"))]


def test_planted_secrets_are_found_where_policy_says_and_nowhere_else(mesh: MeshUnderTest) -> None:
    answers = [send(mesh, number) for number in range(REQUESTS)]
    assert {answer.status_code for answer in answers} == {200, 500}, [answer.text for answer in answers[:3]]
    request_ids = [answer.headers["x-request-id"] for answer in answers]
    mesh.api.post("/feedback", json=[{"request_id": one, "label": "1"} for one in request_ids[:20]]).raise_for_status()
    refused(mesh)
    for one in request_ids[:2]:  # one that failed and one that did not are whole in the hub
        stored_trace(hub_of(mesh), one)
    eventually(lambda: Hook.told, "the webhook is told of the alert", within_s=_ALERT_WITHIN_S)
    eventually(lambda: kept(mesh) >= REQUESTS, "samples are kept", within_s=_ALERT_WITHIN_S)
    eventually(
        lambda: mesh.admin("shadows")["shadows"][0]["compared"] > REQUESTS / 4,
        "copies are compared",
        within_s=_ALERT_WITHIN_S,
    )
    eventually(lambda: mesh.admin("drift")["versions"], "drift is watched", within_s=_ALERT_WITHIN_S)
    time.sleep(6.0)  # whatever writes every few seconds has written: slots, shadows, windows of drift

    shown, written = told(mesh, request_ids[:6]), files(mesh)
    assert hits({**shown, **written}, secrets(mesh)) == []
    assert any("samples/" in place for place in written)
    allowed = [place for place, content in {**shown, **written}.items() if ALLOWED.encode() in content]
    assert {place.split("/")[1] for place in allowed} == {"samples"}, allowed
    # All of it is there to be found: the model said what it was asked to.
    assert "what the handler prints and logs is left out" in shown["what all processes say"].decode()
    assert b"ValueError" in shown["what all processes say"]


def test_samples_are_read_on_record_purged_by_whom_they_are_about_and_gone(mesh: MeshUnderTest) -> None:
    request_id = send(mesh, 0).headers["x-request-id"]
    eventually(lambda: shown_sample(mesh, request_id), "the sample is kept")
    sample = shown_sample(mesh, request_id)
    assert sample["input"] == {"/note": f"{ALLOWED} [card] [email]"}
    assert (sample["why"], sample["status"], sample["is_about_somebody"]) == ("error", 500, True)
    before = kept(mesh)
    nobody = penstock(mesh, "samples", "purge", "--subject", "somebody-else", "--state", str(mesh.state))
    assert (nobody.returncode, nobody.stdout) == (0, "0 samples removed\n"), nobody.stderr
    gone = penstock(mesh, "samples", "purge", "--subject", BODY["user"], "--state", str(mesh.state))
    assert gone.returncode == 0, gone.stderr
    assert int(gone.stdout.split()[0]) >= 1
    assert ALLOWED.encode() not in b"".join(files(mesh).values())
    assert kept(mesh) >= before
    actions = [record["action"] for record in mesh.admin("audit")["records"]]
    assert {"sample.read", "sample.purge"} <= set(actions)


def shown_sample(mesh: MeshUnderTest, request_id: str) -> dict[str, Any]:
    done = penstock(mesh, "samples", "show", "digits", request_id, "--json", "--state", str(mesh.state))
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


def kept(mesh: MeshUnderTest) -> float:
    """Return how many samples have been kept since the start."""
    text = mesh.api.get(f"{mesh.published().metrics}/metrics").text
    found = re.search(r'^penstock_samples_total\{model="digits",outcome="kept"\} (\S+)', text, re.MULTILINE)
    return float(found[1]) if found else 0.0
