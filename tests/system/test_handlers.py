"""Models that fail, each in its own way, beside one that works: a clear refusal each, and everything else goes on."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.fakes.archives.hostile import HOSTILE
from tests.fakes.load import LoadOptions, closed_loop, open_loop
from tests.fakes.records import Outcome, Record, summarize
from tests.system.digits import known_digits, request_bytes, traffic
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.models import EVERY_MODEL, add_models, handler_archive, own_store

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

RAISES_AT_IMPORT = "raise RuntimeError('no weights for this one')\n"
RAISES_IN_INITIALIZE = """
class Handler:
    def initialize(self, context):
        raise ValueError("the vocabulary is empty")

    def handle(self, data, context):
        return data
"""
# It takes its time, so that rows that come together share a batch; asked to, it answers a row twice.
SQUARES = """
import time

def handle(data, context):
    if data is None:
        return None
    time.sleep(0.02)
    answers = [{"square": square(row["body"]["number"])} for row in data]
    return answers + [answers[-1] for row in data if "twice" in row["body"]]

def square(number):
    if number < 0:
        raise ArithmeticError(f"{number} is poison")
    return number * number
"""
ARCHIVES = {
    "at-import": handler_archive(RAISES_AT_IMPORT),
    "in-initialize": handler_archive(RAISES_IN_INITIALIZE),
    "squares": handler_archive(SQUARES),
    "unreadable": b"not an archive at all",
    "hostile": HOSTILE["a name that climbs out"][1](),
}
# What the owner of a model that never starts is told.
NEVER_STARTS = {
    "at-import": "RuntimeError: no weights for this one",
    "in-initialize": "ValueError: the vocabulary is empty",
    "unreadable": "neither a zip",
    "hostile": "name",
}
NUMBERS = 200
POISON_EVERY = 10
SENDERS = 16


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[MeshUnderTest]:
    home = tmp_path_factory.mktemp("handlers")
    with running_mesh(home, own_store(model_store, home), policies=EVERY_MODEL) as running:
        assert running.api.get("/readyz").status_code == 200
        add_models(running, ARCHIVES)
        for model in NEVER_STARTS:
            running.said.line(f"gateway: pod {model}/1/0 failed: ")
        running.said.line("gateway: pod squares/1/0 is ready")
        yield running


@pytest.mark.parametrize("model", NEVER_STARTS)
def test_a_model_that_cannot_start_refuses_clearly_and_tells_its_owner_why(model: str, mesh: MeshUnderTest) -> None:
    eventually(lambda: mesh.pod(f"{model}/1/0")["state"] == "failed", f"{model} is known to have failed")
    answer = mesh.api.post(f"/predictions/{model}", json={"number": 1})
    assert (answer.status_code, answer.headers["penstock-reason"]) == (503, "no_pod_ready")
    assert f"{model}/1" in answer.json()["message"]
    assert "failed" in answer.json()["message"]
    assert "retry-after" in answer.headers
    assert NEVER_STARTS[model] in mesh.said.line(f"gateway: pod {model}/1/0 failed: ").text


@pytest.mark.parametrize("model", NEVER_STARTS)
def test_readiness_tells_which_model_has_no_pod(model: str, mesh: MeshUnderTest) -> None:
    of_model = mesh.api.get(f"/readyz/{model}")
    assert (of_model.status_code, of_model.json()) == (503, {"name": model, "ready": False})
    whole = mesh.api.get("/readyz")
    assert whole.status_code == 503
    assert any(told.startswith(f"{model}/1: ") for told in whole.json()["waiting_for"])
    assert mesh.api.get("/readyz/digits").status_code == 200


def test_a_hostile_archive_leaves_nothing_behind(mesh: MeshUnderTest) -> None:
    mesh.said.line("gateway: pod hostile/1/0 failed: ")
    assert not [path for path in mesh.state.rglob("x") if path.is_file()]


def test_a_poisoned_row_fails_alone_among_its_batch_mates(mesh: MeshUnderTest) -> None:
    numbers = [-index if index % POISON_EVERY == 1 else index for index in range(NUMBERS)]
    requests = [request_bytes(mesh, "/predictions/squares", b'{"number": %d}' % number) for number in numbers]

    def check(index: int, status: int, body: bytes) -> bool:
        number = numbers[index]
        if number < 0:
            return status == 500 and b"ArithmeticError: %d is poison" % number in body
        return status == 200 and re.search(rb'"square": (\d+)', body) is not None and str(number**2).encode() in body

    load = closed_loop(
        mesh.inference,
        connections=SENDERS,
        duration_s=60.0,
        make_request=lambda index: requests[index],
        check=check,
        options=LoadOptions(max_requests=NUMBERS, keeps_headers=True),
    )
    records = uvloop.run(load)
    assert len(records) == NUMBERS
    assert [record for record in records if not record.is_right] == []
    poisoned = [record for record in records if numbers[record.index] < 0]
    assert {record.headers[b"penstock-reason"] for record in poisoned} == {b"handler_failed"}
    # Without batches of several rows, nobody would have had a poisoned mate.
    assert max(_batch_rows(record) for record in records if record.status == 200) > 1


def _batch_rows(record: Record) -> int:
    rows = re.search(rb"batch=(\d+)", record.headers[b"penstock-usage"])
    assert rows is not None
    return int(rows[1])


def test_a_handler_that_returns_the_wrong_count_is_refused_as_such(mesh: MeshUnderTest) -> None:
    answer = mesh.api.post("/predictions/squares", json={"number": 3, "twice": True})
    assert (answer.status_code, answer.headers["penstock-reason"]) == (500, "bad_output")
    assert "2" in answer.json()["message"]
    assert mesh.api.post("/predictions/squares", json={"number": 3}).json() == {"square": 9}


def test_the_model_that_works_goes_on_beside_all_the_others(mesh: MeshUnderTest) -> None:
    make_request, check = traffic(mesh, known_digits(mesh))

    async def both() -> list[Record]:
        digits = open_loop(mesh.inference, rate_per_s=100.0, duration_s=2.0, make_request=make_request, check=check)
        failing = closed_loop(
            mesh.inference,
            connections=len(ARCHIVES),
            duration_s=2.0,
            make_request=lambda index: request_bytes(
                mesh, f"/predictions/{[*ARCHIVES][index % len(ARCHIVES)]}", b'{"number": -1}'
            ),
            check=lambda index, status, body: status in (500, 503),
        )
        good, refused = await asyncio.gather(digits, failing)
        assert all(record.is_right for record in refused), summarize(refused)
        return good

    records = uvloop.run(both())
    summary = summarize(records)
    assert (summary.right, summary.by_outcome[Outcome.WHOLE]) == (200, 200), summary
