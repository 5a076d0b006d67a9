"""Reading counters over HTTP: from the supervisor and from sidecars, over restarts, silences and nonsense."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import msgspec
import pytest

from telemetry.hub.measured import reader
from telemetry.hub.measured.desk import CountedSteps
from telemetry.hub.measured.fold import WHOLE
from telemetry.hub.measured.point_file import PointFile, read
from telemetry.hub.measured.reader import CounterReader, read_targets
from telemetry.hub.measured.steps import LEVELS
from telemetry.hub.mesh import Mesh


class Counting(HTTPServer):
    """Shows counters, as the supervisor or a sidecar does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.text = ""
        self.status = 200

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Counting)
        body = self.server.text.encode()
        self.send_response(self.server.status if self.path == "/metrics" else 404)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@pytest.fixture
def servers() -> Iterator[tuple[Counting, Counting]]:
    both = (Counting(), Counting())
    threads = [threading.Thread(target=server.serve_forever) for server in both]
    for thread in threads:
        thread.start()
    yield both
    for server, thread in zip(both, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


class Desk:
    """A hub's reader in a directory of its own."""

    def __init__(self, directory: Path, supervisor: Counting, sidecar: Counting) -> None:
        self.directory = directory
        self.supervisor = supervisor
        targets = [
            {"targets": [sidecar.address], "labels": {"penstock_sidecar": "m/1/0"}},
            {"targets": ["127.0.0.1:1"], "labels": {"penstock_sidecar": "gateway"}},
        ]
        (directory / "prometheus-targets.json").write_bytes(msgspec.json.encode(targets))
        self.publish(1)

    def publish(self, pid: int, started_s: float | None = None) -> None:
        """Say where a supervisor listens that began a moment ago."""
        started = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(started_s or time.time()))
        mesh = {
            "management": "http://127.0.0.1:1",
            "token": "t",
            "metrics": f"http://{self.supervisor.address}",
            "state_dir": str(self.directory),
            "pid": pid,
            "started_at": started,
        }
        (self.directory / "mesh.json").write_bytes(msgspec.json.encode(mesh))

    def run(self, scene: Callable[[CounterReader, CountedSteps], Awaitable[None]]) -> None:
        """Play a scene with a hub that begins with it."""

        async def whole() -> None:
            mesh = Mesh(self.directory / "mesh.json")
            counters = CounterReader(mesh, PointFile(self.directory))
            try:
                await scene(counters, CountedSteps(self.directory, counters))
            finally:
                await counters.close()
                await mesh.close()

        asyncio.run(whole())


@pytest.fixture
def desk(tmp_path: Path, servers: tuple[Counting, Counting]) -> Desk:
    servers[0].text, servers[1].text = requests(5), pods(4)
    return Desk(tmp_path, *servers)


def requests(count: int) -> str:
    labels = 'model="m",version="1",code_class="2xx"'
    return f'penstock_request_duration_seconds_bucket{{{labels},le="+Inf"}} {count}\n'


def pods(batches: int) -> str:
    labels = 'model="m",version="1",stage="inference"'
    return (
        f'penstock_stage_duration_seconds_bucket{{{labels},le="+Inf"}} {batches}\n'
        f"penstock_stage_duration_seconds_sum{{{labels}}} {batches * 0.5}\n"
        f'penstock_device_busy_seconds_total{{model="m",version="1",device="cpu"}} {batches * 0.5}\n'
    )


def counted(steps: CountedSteps) -> tuple[int, int]:
    """Return the requests and the batches of the last hour."""
    found = steps.one("m", "", "1h")["summed"]
    return found["requests"], sum(part["count"] for part in found["parts"])


class Clock:
    """What the reader takes for the time: a wall clock that is set, and one that nobody sets."""

    def __init__(self) -> None:
        self.set_by_s = self.gone_s = 0.0

    def time(self) -> float:
        return time.time() + self.set_by_s + self.gone_s

    def monotonic(self) -> float:
        return time.monotonic() + self.gone_s


@pytest.mark.parametrize("set_by_s", [-3600.0, 3600.0])
def test_a_clock_that_is_set_changes_no_rate(
    desk: Desk, servers: tuple[Counting, Counting], monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    clock = Clock()
    monkeypatch.setattr(reader, "time", clock)

    async def scene(counters: CounterReader, _: CountedSteps) -> None:
        await counters.look()
        servers[0].text, servers[1].text = requests(105), pods(14)
        clock.set_by_s, clock.gone_s = set_by_s, 10.0
        await counters.look()

    desk.run(scene)
    at_s = clock.time()
    kept = read(desk.directory, LEVELS[0], at_s - 60, at_s + 60, WHOLE)
    (row,) = kept.rows
    assert row.cell.requests == 100
    assert row.cell.pod_s == pytest.approx(10, abs=2)
    assert kept.slots[row.start_s].observed_s == pytest.approx(10, abs=2)


def test_a_young_mesh_is_counted_from_its_beginning(desk: Desk, servers: tuple[Counting, Counting]) -> None:
    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()
        assert (counted(steps), counters.error) == ((5, 4), "")
        servers[0].text, servers[1].text = requests(12), pods(6)
        await counters.look()
        assert counted(steps) == (12, 6)
        (pod,) = counters.pods()
        assert (pod.pod, pod.model, pod.parts[0].mean_s) == ("m/1/0", "m", 0.5)

    desk.run(scene)


def test_a_hub_that_begins_anew_counts_nothing_twice(desk: Desk, servers: tuple[Counting, Counting]) -> None:
    async def first(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()

    async def second(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()
        assert counted(steps)[0] == 5
        servers[0].text = requests(9)
        await counters.look()
        assert counted(steps)[0] == 9

    desk.run(first)
    desk.run(second)


def test_a_supervisor_that_begins_anew_counts_from_nothing(desk: Desk, servers: tuple[Counting, Counting]) -> None:
    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()
        desk.publish(2)
        servers[0].text = requests(7)
        await counters.look()
        assert counted(steps)[0] == 5 + 7

    desk.run(scene)


def test_an_old_mesh_of_which_nothing_is_stored_is_not_counted_into_this_minute(desk: Desk) -> None:
    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        desk.publish(3, time.time() - 7200.0)
        await counters.look()
        assert counted(steps) == (0, 0)
        assert steps.one("m", "", "30d")["summed"]["requests"] == 5  # in its day it is

    desk.run(scene)


def test_silence_is_told_and_leaves_what_was_counted(desk: Desk, servers: tuple[Counting, Counting]) -> None:
    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()
        servers[0].status = 500
        await counters.look()
        assert counters.error == "The gateway answers 500 to who reads its counters."
        assert counted(steps)[0] == 5
        assert steps.all("1h", ())["error"] == counters.error
        (desk.directory / "mesh.json").unlink()
        await counters.look()
        assert "No gateway runs" in counters.error

    desk.run(scene)


def test_counters_that_are_too_many_are_not_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_BYTES", 20)

    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()
        assert "more than 20 bytes" in counters.error

    desk.run(scene)


def test_a_mesh_without_counters_says_so(desk: Desk) -> None:
    told = msgspec.json.decode((desk.directory / "mesh.json").read_bytes())
    (desk.directory / "mesh.json").write_bytes(msgspec.json.encode(told | {"metrics": ""}))

    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        await counters.look()
        assert "mesh.yaml names no listener that serves metrics" in counters.error

    desk.run(scene)


def test_what_the_supervisor_dropped_is_told_as_it_said_last(desk: Desk) -> None:
    def dropped(count: int) -> str:
        return f'{requests(5)}penstock_telemetry_dropped_total{{what="copies",why="away"}} {count}\n'

    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        assert counters.dropped == {}
        for count in (3, 5):
            desk.supervisor.text = dropped(count)
            await counters.look()
        assert counters.dropped == {("copies", "away"): 5}

    desk.run(scene)


def test_an_answer_about_all_models_is_given_again_for_a_while(desk: Desk) -> None:
    async def scene(counters: CounterReader, steps: CountedSteps) -> None:
        assert steps.known("1h") is None
        await counters.look()
        found = steps.all("1h", counters.pods())
        assert steps.known("1h") is found
        assert steps.known("") is found  # the usual span
        assert steps.known("6h") is None

    desk.run(scene)


@pytest.mark.parametrize("text", [b"", b"nonsense", b"{}", b"\xff", b'[{"targets": [], "labels": {}}]'])
def test_targets_that_cannot_be_read_are_none(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "targets.json").write_bytes(text)
    assert read_targets(tmp_path / "targets.json") == {}
    assert read_targets(tmp_path / "nothing.json") == {}
