"""A version that breaks burns the budget: the page fires when the counts say so, and is over when they say so."""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
import uvloop

from gateway.control.messages import SLOT_S
from tests.fakes.load import LoadOptions, open_loop
from tests.fakes.records import Record
from tests.system.conftest import Figure
from tests.system.digits import known_digits, request_bytes
from tests.system.mesh import MeshUnderTest, eventually, running_mesh
from tests.system.seen import objective

pytestmark = [pytest.mark.system, pytest.mark.timeout(900)]

DEMO = Path(__file__).parents[2] / "policies" / "demo"
# The workbook's page for 30 days (14.4 times in 1 h and 5 min), for a period of 4 days: all windows 7.5 times shorter.
TARGET, FACTOR, LONG_S, SHORT_S = 0.99, 14.4, 480.0, 40.0
SLOS = """\
kind: slos/v1
slos:
  - name: digits-availability
    owner: demo-team
    window: 4d
    good: {status_below: 500}
    chance_below: 0%
    page: [{burn: 14.4, long: 8m, short: 40s}]
    ticket: []
    objective: 99%
"""
RATE_PER_S = 20.0
# The last is as long as it takes the short window to see next to nothing of what was bad, and a slot more.
GOOD_S, BROKEN_S, GOOD_AGAIN_S = 15.0, 15.0, 48.0
# A slot is evaluated when it has closed and every worker has told of it; the line is printed a moment later, which on a
# loaded machine is a long one.
LATE_S = SLOT_S + 12.0


@dataclass(frozen=True, slots=True)
class Event:
    """One answer: the wall's time, and whether it was bad."""

    at_s: float
    is_bad: bool


def route(stable: str) -> str:
    """Return a route whose stable version is the good or the broken one; both are loaded."""
    return (
        "kind: route/v1\nmodel: digits\nowner: demo-team\nslo: [digits-availability]\nversions:\n"
        '  "1": {pods: {launch: {archive: digits-1.mar, device: cpu}}}\n'
        '  "3": {pods: {launch: {archive: digits-broken.mar, device: cpu}}}\n'
        f'stable: "{stable}"\n'
    )


class Hook(BaseHTTPRequestHandler):
    """A webhook: keeps what it is told."""

    told: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        Hook.told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
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
    usual = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:0", (DEMO / "mesh.yaml").read_text())
    mesh_yaml = usual.replace("\nname: demo", f"\nalerts: {{webhooks: [{{url: '{webhook}'}}]}}\nname: demo")
    policies = {"slos.yaml": SLOS, "routes/digits.yaml": route("1"), "mesh.yaml": mesh_yaml}
    with running_mesh(tmp_path_factory.mktemp("alert"), model_store, policies=policies) as running:
        known_digits(running)
        yield running


def burns(events: Sequence[Event], window_s: float, now_s: float) -> bool:
    """Whether the error budget burns faster than the page allows, counted event by event."""
    counted = [event.is_bad for event in events if now_s - window_s <= event.at_s < now_s]
    return bool(counted) and sum(counted) / len(counted) > FACTOR * (1 - TARGET)


def first_boundary(events: Sequence[Event], after_s: float, is_firing: bool) -> float:
    """Return the first slot boundary after a moment at which the counts say that the page fires, or that it is over."""
    boundary_s = math.ceil(after_s / SLOT_S) * SLOT_S
    while (burns(events, LONG_S, boundary_s) and burns(events, SHORT_S, boundary_s)) is not is_firing:
        boundary_s += SLOT_S
        assert boundary_s < events[-1].at_s + SHORT_S + SLOT_S, "the counts never say so"
    return float(boundary_s)


async def load_and_break(mesh: MeshUnderTest) -> list[Record]:
    """Send requests at a steady rate; the stable version breaks meanwhile, and is mended."""
    digits = await asyncio.to_thread(known_digits, mesh)
    requests = [request_bytes(mesh, "/predictions/digits", digit.body) for digit in digits]

    async def edit() -> None:
        for wait_s, stable in ((GOOD_S, "3"), (BROKEN_S, "1")):
            await asyncio.sleep(wait_s)
            (mesh.policies / "routes" / "digits.yaml").write_text(route(stable))

    records, _ = await asyncio.gather(
        open_loop(
            mesh.inference,
            rate_per_s=RATE_PER_S,
            duration_s=GOOD_S + BROKEN_S + GOOD_AGAIN_S,
            make_request=lambda index: requests[index % len(requests)],
            check=lambda index, status, body: status in (200, 500),
            options=LoadOptions(),
        ),
        edit(),
    )
    return records


def test_the_page_fires_and_clears_when_the_counts_say_so(mesh: MeshUnderTest, figure: Figure) -> None:
    began_s = time.time() - time.monotonic()
    records = uvloop.run(load_and_break(mesh))
    assert all(record.is_right for record in records)
    answered = sorted(records, key=lambda record: record.ended_s)
    events = [Event(began_s + record.ended_s, record.status >= 500) for record in answered]
    broke_s = next(event.at_s for event in events if event.is_bad)
    fires_s = first_boundary(events, broke_s, is_firing=True)
    over_s = first_boundary(events, fires_s, is_firing=False)

    fired = mesh.said.line(r"slo digits-availability of digits: page .*fires")
    cleared = mesh.said.line(r"slo digits-availability of digits: page .*is over")
    fired_s, cleared_s = began_s + fired.at_s, began_s + cleared.at_s
    figure(
        "the page of a broken version",
        f"broke at 0 s, fires at {fired_s - broke_s:.1f} s (computed {fires_s - broke_s:.1f} s), "
        f"over at {cleared_s - broke_s:.1f} s (computed {over_s - broke_s:.1f} s)",
    )
    assert -SLOT_S <= fired_s - fires_s <= LATE_S
    assert -SLOT_S <= cleared_s - over_s <= LATE_S
    told = objective(mesh, "digits-availability")
    assert told["bad"] == sum(event.is_bad for event in events)
    assert [one["state"] for one in told["recent"]] == ["resolved", "firing"]  # the newest first
    assert re.search(r"\d+(\.\d+)?x", fired.text)
    eventually(lambda: len(Hook.told) == 2, "the webhook is told of the beginning and the end, and of nothing else")
    assert [one["status"] for one in Hook.told] == ["firing", "resolved"]
    began, ended = (one["alerts"][0] for one in Hook.told)
    assert began["labels"] == ended["labels"]
    assert began["labels"]["alertname"] == "PenstockBudgetBurns"
    assert (began["startsAt"], began["fingerprint"]) == (ended["startsAt"], ended["fingerprint"])
