"""Callers who leave and deadlines that pass reach the pod: what still waits there is never run."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.system.conftest import Figure
from tests.system.digits import request_bytes
from tests.system.mesh import SOON_S, MeshUnderTest, eventually, running_mesh
from tests.system.models import EVERY_MODEL, add_models, handler_archive, own_store

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

PATIENCE_MS = 60_000
# One row a batch; each run is written down before it begins, and lasts for as long as runs are held.
SLOW = """
import os
import time

def handle(data, context):
    if data is None:
        return None
    ledger = os.open({ledger!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for row in data:
        os.write(ledger, row["body"] + b"\\n")
    os.close(ledger)
    while os.path.exists({held!r}):
        time.sleep(0.01)
    return [row["body"].decode() for row in data]
"""


@dataclass(frozen=True, slots=True)
class SlowModel:
    """A model that takes its time, and the names of the requests that it began to run."""

    mesh: MeshUnderTest
    ledger: Path
    held: Path

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let no run end meanwhile."""
        self.held.touch()
        try:
            yield
        finally:
            self.held.unlink()

    def begun(self) -> list[str]:
        """Return the requests that were run, in order."""
        return self.ledger.read_text().split() if self.ledger.exists() else []

    def pod(self) -> tuple[int, int]:
        """Return how many rows of the pod run and how many wait."""
        pod = self.mesh.pod("slow/1/0")
        return pod["running_rows"], pod["queued_rows"]

    def occupy(self, name: str) -> list[Asked]:
        """Give the device two requests: one runs, and one lies ready behind it, past recall."""
        runs = Asked(self, f"{name}-runs")
        eventually(lambda: f"{name}-runs" in self.begun(), "the first request runs")
        ready = Asked(self, f"{name}-lies-ready")
        time.sleep(0.6)  # as long as it takes to get there, many times over
        return [runs, ready]


class Asked:
    """A request on a connection of its own, sent and not yet answered."""

    def __init__(self, model: SlowModel, name: str, **headers: str) -> None:
        self.name = name
        self.sent_s = time.monotonic()
        self._statuses: list[int] = []
        address = urlsplit(model.mesh.inference)
        self._connection = socket.create_connection((address.hostname, address.port), timeout=SOON_S)
        fields = {"content-type": "application/octet-stream", "connection": "close"}
        fields["penstock-timeout-ms"] = str(PATIENCE_MS)
        fields |= {field.replace("_", "-"): value for field, value in headers.items()}
        self._connection.sendall(request_bytes(model.mesh, "/predictions/slow", name.encode(), headers=fields))

    def leave(self) -> None:
        """Hang up without an answer."""
        self._connection.close()

    def answer(self) -> tuple[int, str]:
        """Return the status and everything else that came."""
        with self._connection as connection, connection.makefile("rb") as file:
            text = file.read().decode()
        status = re.match(r"HTTP/1\.1 (\d+)", text)
        assert status is not None, "the connection ended without an answer"
        return int(status[1]), text


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory, model_store: Path) -> Iterator[SlowModel]:
    home = tmp_path_factory.mktemp("cancel")
    ledger, held = home / "begun.txt", home / "held"
    with running_mesh(home, own_store(model_store, home), policies=EVERY_MODEL) as mesh:
        archive = handler_archive(SLOW.format(ledger=str(ledger), held=str(held)))
        add_models(mesh, {"slow": archive}, batching="batching: {max_rows: 1}\n")
        mesh.said.line("gateway: pod slow/1/0 is ready")
        yield SlowModel(mesh, ledger, held)


def test_a_request_that_is_abandoned_while_it_waits_is_never_run(slow: SlowModel) -> None:
    with slow.holding():
        occupying = slow.occupy("abandon")
        abandoned = Asked(slow, "abandoned")
        eventually(lambda: slow.pod()[1] == 1, "it waits in the pod's queue")
        abandoned.leave()
        eventually(lambda: slow.pod()[1] == 0, "it has left the pod's queue")
        follower = Asked(slow, "follower")
    assert [asked.answer()[0] for asked in (*occupying, follower)] == [200, 200, 200]
    assert slow.begun()[-3:] == ["abandon-runs", "abandon-lies-ready", "follower"]
    assert "abandoned" not in slow.begun()


def test_a_request_whose_deadline_passes_while_it_waits_is_told_so_and_never_run(
    slow: SlowModel, figure: Figure
) -> None:
    with slow.holding():
        occupying = slow.occupy("deadline")
        late = Asked(slow, "late", penstock_timeout_ms="100")
        status, text = late.answer()
        took_s = time.monotonic() - late.sent_s
    assert status == 504
    assert "penstock-reason: deadline_exceeded" in text
    assert took_s >= 0.098  # the gateway's loop counts whole milliseconds
    figure("deadline of 100 ms: answered 504 after", f"{took_s * 1e3:.0f} ms")
    follower = Asked(slow, "follower-of-late")
    assert [asked.answer()[0] for asked in (*occupying, follower)] == [200, 200, 200]
    assert "late" not in slow.begun()


def test_a_caller_who_leaves_does_not_disturb_those_beside_it(slow: SlowModel) -> None:
    before = len(slow.begun())
    with slow.holding():
        patient = [Asked(slow, f"patient-{index}") for index in range(3)]
        hasty = [Asked(slow, f"hasty-{index}") for index in range(5)]
        eventually(lambda: sum(slow.pod()) >= 4, "they wait in the pod")
        for asked in hasty:
            asked.leave()
    answers = [asked.answer() for asked in patient]
    assert [status for status, _ in answers] == [200, 200, 200]
    assert [text.rsplit("\r\n", 1)[1] for _, text in answers] == [asked.name for asked in patient]
    ran = slow.begun()[before:]
    assert len(ran) == len(set(ran))
    assert {asked.name for asked in patient} <= set(ran)
