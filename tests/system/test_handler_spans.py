"""Spans that a handler records join the traces of its requests; without their sidecar only they are lost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop

from tests.demo_policies import DEMO
from tests.fakes.load import LoadOptions, closed_loop
from tests.fakes.records import Record, summarize
from tests.system.conftest import Figure
from tests.system.digits import request_bytes
from tests.system.mesh import SOON_S, MeshUnderTest, eventually, running_mesh
from tests.system.models import EVERY_MODEL, add_models, handler_archive, own_store
from tests.system.processes import kill_now
from tests.system.seen import hub_of, penstock, sample_sum, sidecar_urls

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

# It takes its time, so that requests that come together ride together.
HANDLER = """
import time
from pathlib import Path

from opentelemetry import trace

tracer = trace.get_tracer("squares")

def handle(data, context):
    if data is None:
        return None
    with tracer.start_as_current_span("together") as span:
        span.set_attribute("rows.count", len(data))
        time.sleep(0.05)
        while any("lasts_until" in row["body"] and not Path(row["body"]["lasts_until"]).exists() for row in data):
            time.sleep(0.02)
    answers = []
    for row in data:
        number = row["body"]["number"]
        with tracer.start_as_current_span("square") as span:
            span.set_attributes({"rows.number": number, "secret": "of row", "words.of.row": "a, b"})
            span.set_attribute("rows.digits", [int(digit) for digit in str(number)])
            answers.append({"square": number * number})
    return answers
"""
NOT_ALLOWED = 2
# OpenTelemetry asks the wall clock for each span, we count from one look at it; a time daemon may set it in between.
CLOCKS_DIFFER_NS = 40_000_000
# Every request is kept, and so are the attributes under ``rows``.
MESH_YAML = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", (DEMO / "mesh.yaml").read_text()).replace(
    "name: demo", 'tracing: {kept_per_s: 10000, attributes: ["rows.*"]}\nname: demo'
)
SENDERS = 8
KILLS = 4
PATIENT = {"penstock-timeout-ms": "60000"}

Json = dict[str, Any]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    home = tmp_path_factory.mktemp("handler-spans")
    policies = {**EVERY_MODEL, "mesh.yaml": MESH_YAML}
    with running_mesh(home, own_store(model_store, home), policies=policies) as running:
        hub_of(running)
        assert running.api.get("/readyz").status_code == 200  # the client is there before threads share it
        add_models(running, {model: handler_archive(HANDLER) for model in ("squares", "leaving")})
        for model in ("squares", "leaving"):
            running.said.line(f"gateway: pod {model}/1/0 is ready")
        yield running


def ask(mesh: MeshUnderTest, number: int, model: str = "squares", **more: str) -> str:
    """Return the id of a request that was answered rightly."""
    answer = mesh.api.post(f"/predictions/{model}", json={"number": number, **more}, headers=PATIENT).raise_for_status()
    assert answer.json() == {"square": number * number}
    return str(answer.headers["x-request-id"])


def ask_together(mesh: MeshUnderTest, numbers: Sequence[int]) -> dict[str, int]:
    """Send requests at once; return their numbers by request."""
    with ThreadPoolExecutor(len(numbers)) as callers:
        return dict(zip(callers.map(lambda number: ask(mesh, number), numbers), numbers, strict=True))


def shown_with(mesh: MeshUnderTest, request_id: str, *names: str, within_s: float = SOON_S) -> Json:
    """Return the trace of a request, once spans of these names are in it or in its batch."""
    shown: Json = {}

    def has_come() -> bool:
        url = f"{hub_of(mesh).dashboards}/api/traces/{request_id}"
        answer = httpx.get(url, trust_env=False, timeout=SOON_S)
        shown.update(answer.json())
        return answer.status_code == 200 and {"pod.request", *names} <= {span["name"] for span in all_spans(shown)}

    eventually(has_come, f"the trace of {request_id} has spans {names}", within_s=within_s)
    return shown


def all_spans(shown: Json) -> list[Json]:
    return [*shown["spans"], *(span for batch in shown["batches"] for span in batch["spans"])]


def only(spans: Sequence[Json], name: str) -> Json:
    (span,) = (span for span in spans if span["name"] == name)
    return span


def test_a_span_per_row_is_a_child_of_its_own_request(mesh: MeshUnderTest) -> None:
    rode_together = 0
    for number, shown in shown_together(mesh, range(100, 132)):
        row = only(shown["spans"], "square")
        assert row["parent_id"] == only(shown["spans"], "pod.inference")["span_id"]
        assert row["attributes"]["rows.number"] == number
        assert (row["service"], row["instance"], row["scope"]) == ("penstock-pod", "squares/1", "squares")
        rode_together += len(shown["batches"][0]["members"]) > 1
    assert rode_together > 1


def test_a_span_around_all_rows_is_a_child_of_their_batch(mesh: MeshUnderTest) -> None:
    batch_sizes = set()
    for _, shown in shown_together(mesh, range(200, 232)):
        (batch,) = shown["batches"]
        members = len(batch["members"])
        alone = members == 1
        span = only(shown["spans"] if alone else batch["spans"], "together")
        parent = only(shown["spans"], "pod.inference")["span_id"] if alone else batch["span_id"]
        assert (span["parent_id"], span["attributes"]["rows.count"]) == (parent, members)
        batch_sizes.add(members)
    assert max(batch_sizes) > 1


def shown_together(mesh: MeshUnderTest, numbers: Sequence[int]) -> list[tuple[int, Json]]:
    """Return the numbers of requests that came at once, and their traces with the handler's spans."""
    asked = ask_together(mesh, numbers)
    return [(number, shown_with(mesh, one, "square", "together")) for one, number in asked.items()]


def test_a_request_that_runs_alone_has_all_spans_of_its_handler(mesh: MeshUnderTest) -> None:
    request_id = ask(mesh, 7)
    shown = shown_with(mesh, request_id, "square", "together")
    inference = only(shown["spans"], "pod.inference")
    children = [span["name"] for span in shown["spans"] if span["parent_id"] == inference["span_id"]]
    assert children == ["together", "square"]
    for span in (only(shown["spans"], name) for name in children):
        assert span["start_ns"] >= inference["start_ns"] - CLOCKS_DIFFER_NS
        assert span["start_ns"] + span["duration_ns"] <= (
            inference["start_ns"] + inference["duration_ns"] + CLOCKS_DIFFER_NS
        )
    told = penstock(mesh, "trace", request_id)
    assert (told.returncode, re.findall("together|square ", told.stdout)) == (0, ["together", "square "]), told.stdout


def test_attributes_that_nobody_allowed_are_gone_and_counted(mesh: MeshUnderTest) -> None:
    def redacted() -> float:
        return sample_sum(sidecar_urls(mesh)["squares/1/0"], "penstock_sidecar_redacted_total")

    before = redacted()
    span = only(shown_with(mesh, ask(mesh, 42), "square")["spans"], "square")
    assert span["attributes"] == {"rows.number": 42, "rows.digits": [4, 2], "penstock.redacted": NOT_ALLOWED}
    # What the exporter says of its process may lose something too.
    assert redacted() - before >= NOT_ALLOWED


def test_the_last_spans_of_a_pod_that_leaves_arrive(mesh: MeshUnderTest, tmp_path: Path) -> None:
    """Its route is taken away while its last request runs; the spans of that one end just before their process."""
    with ThreadPoolExecutor(1) as caller:
        asked = caller.submit(ask, mesh, 12, "leaving", lasts_until=str(tmp_path / "drains"))
        try:
            eventually(lambda: running_rows(mesh) == 1, "the last request runs")
            (mesh.policies / "routes" / "leaving.yaml").unlink()
            drains = mesh.said.line("pod leaving/1/0: drains")
        finally:
            (tmp_path / "drains").touch()
        request_id = asked.result()
    mesh.said.line("pod leaving/1/0: stopped", after_s=drains.at_s)
    assert only(shown_with(mesh, request_id, "square")["spans"], "square")["attributes"]["rows.number"] == 12


def running_rows(mesh: MeshUnderTest) -> float:
    return sample_sum(sidecar_urls(mesh)["leaving/1/0"], "penstock_running_rows")


def test_without_its_sidecar_a_handler_that_records_spans_answers_on(mesh: MeshUnderTest, figure: Figure) -> None:
    requests = [request_bytes(mesh, "/predictions/squares", b'{"number": %d}' % number) for number in range(600)]

    async def load() -> list[Record]:
        return await closed_loop(
            mesh.inference,
            connections=SENDERS,
            duration_s=60.0,
            make_request=lambda index: requests[index],
            check=lambda index, status, body: status == 200 and b"%d" % (index * index) in body,
            options=LoadOptions(max_requests=len(requests)),
        )

    with ThreadPoolExecutor(1) as sender:
        loading = sender.submit(lambda: uvloop.run(load()))
        for _ in range(KILLS):
            kill_now([sidecar_pid(mesh)])
        records = loading.result()
    summary = summarize(records)
    assert len(records) == len(requests)
    assert all(record.is_right for record in records), summary
    figure(f"{KILLS} times kill -9 of a sidecar whose handler records spans", f"{summary.count} requests, all right")
    assert mesh.said.since(0.0, "pod squares/1/0: .*started again") == []
    # And the next sidecar hears of what comes next, as soon as it listens.
    sidecar_pid(mesh)
    eventually(lambda: hears(mesh), "spans of the handler are stored again")


def hears(mesh: MeshUnderTest) -> bool:
    """Whether a request that is sent now leaves its handler's spans in the hub."""
    try:
        shown_with(mesh, ask(mesh, 11), "square", within_s=10.0)
    except AssertionError:
        return False
    return True


def sidecar_pid(mesh: MeshUnderTest) -> int:
    """Return the sidecar of the pod that stays, waiting until it is there."""
    eventually(lambda: len(mesh.pids("penstock sidecar squares/1")) == 1, "the pod's sidecar runs")
    return mesh.pids("penstock sidecar squares/1")[0]
