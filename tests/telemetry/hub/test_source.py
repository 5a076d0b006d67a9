"""What the API and the pages answer of objectives: asked of a supervisor over a true connection, judged here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from telemetry.hub import source as hub_source
from telemetry.hub.measured.desk import CountedSteps
from telemetry.hub.measured.point_file import PointFile
from telemetry.hub.measured.reader import CounterReader
from telemetry.hub.mesh import Mesh
from telemetry.hub.reader import Reader
from telemetry.hub.sidecars import Sidecars
from telemetry.hub.source import HubSource
from tests.fakes.fleet import facts
from tests.fakes.hub import alerts_past, counted_slots, objective
from tests.telemetry.hub.test_mesh import Supervisor, published, supervisor
from tests.telemetry.hub.test_trace_files import nobody

__all__ = ["supervisor"]  # a fixture
SLOTS = "/admin/slo/slots?slo=fast&model=digits"
PAST = {"slo": "fast", "last": "6h"}


def with_source(directory: Path, at: Supervisor, use: Callable[[HubSource], Awaitable[None]]) -> None:
    at.answers["/admin/slo"] = (200, msgspec.json.encode({"slos": [objective()]}))

    async def run() -> None:
        mesh = Mesh(published(directory, at.url))
        counters = CounterReader(mesh, PointFile(directory))
        counted = CountedSteps(directory, counters)
        source = HubSource(Reader(directory, nobody), mesh, counted, Sidecars(None), facts)
        try:
            await mesh.ask()
            await use(source)
        finally:
            source.close()
            await counters.close()
            await mesh.close()

    asyncio.run(run())


def test_telemetry_tells_what_the_gateway_dropped_too(tmp_path: Path, supervisor: Supervisor) -> None:
    async def use(source: HubSource) -> None:
        assert (await source.telemetry())["supervisor"] == [{"what": "copies", "why": "away", "count": 7}]

    with_source(tmp_path, supervisor, use)


def test_a_fault_is_simulated_for_the_objective_that_the_mesh_tells_of(tmp_path: Path, supervisor: Supervisor) -> None:
    async def use(source: HubSource) -> None:
        answer = await source.simulation({"slo": "fast", "bad_share": "2%", "for": "1h"})
        assert (answer["model"], answer["error"]) == ("digits", "")
        assert len(answer["courses"][0]["fires"]) == 1

    with_source(tmp_path, supervisor, use)


def test_the_past_is_what_the_mesh_counted(tmp_path: Path, supervisor: Supervisor) -> None:
    supervisor.answers[SLOTS] = (200, msgspec.json.encode(counted_slots()))

    async def use(source: HubSource) -> None:
        answer = await source.simulation(PAST)
        assert len(answer["courses"][0]["fires"]) == 1
        assert answer["command"] == "penstock slo simulate fast --last 6h --model digits"

    with_source(tmp_path, supervisor, use)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((404, b"{}"), "The gateway answers 404"),
        ((200, b'{"levels": 5}'), "Expected"),
        ((200, b"no"), "else than JSON"),
    ],
)
def test_a_past_that_is_not_told_is_said(
    tmp_path: Path, supervisor: Supervisor, answer: tuple[int, bytes], why: str
) -> None:
    supervisor.answers[SLOTS] = answer

    async def use(source: HubSource) -> None:
        told = await source.simulation(PAST)
        assert told["courses"] == []
        assert why in told["error"]

    with_source(tmp_path, supervisor, use)


def test_only_so_many_simulations_wait(tmp_path: Path, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_source, "SIMULATIONS", 2)

    async def use(source: HubSource) -> None:
        query = {"slo": "fast", "for": "10m"}
        told = await asyncio.gather(*(source.simulation(query) for _ in range(4)))
        assert [one["error"] for one in told[:2]] == ["", ""]
        assert all("Too many simulations" in one["error"] for one in told[2:])
        assert (await source.simulation(query))["error"] == ""

    with_source(tmp_path, supervisor, use)


def test_alerts_are_passed_on_and_what_is_old_is_said(tmp_path: Path, supervisor: Supervisor) -> None:
    past: dict[str, Any] = {key: alerts_past()[key] for key in ("at_s", "receivers", "alerts")}
    supervisor.answers["/admin/slo/alerts"] = (200, msgspec.json.encode(past))

    async def use(source: HubSource) -> None:
        assert await source.alerts() == past | {"is_known": True, "error": ""}
        supervisor.answers["/admin/slo/alerts"] = (503, b"")
        old = await source.alerts()
        assert old["alerts"] == past["alerts"]
        assert "answers 503" in old["error"]

    with_source(tmp_path, supervisor, use)


def test_changes_are_steps_and_policies_and_none_while_nobody_tells(tmp_path: Path, supervisor: Supervisor) -> None:
    async def use(source: HubSource) -> None:
        assert await source.changes_of("digits") == {"changes": []}
        detail = {"digest": "d", "changes": ["route digits: stable 1 -> 2"]}
        record = {"at": "2027-01-15T08:00:00.000Z", "action": "policy.in_force", "to_generation": 4, "detail": detail}
        supervisor.answers["/admin/audit?limit=200"] = (200, msgspec.json.encode({"records": [record]}))
        (change,) = (await source.changes_of("digits"))["changes"]
        assert change == {"at_s": 1.8e9, "kind": "policy", "text": "policy 4: route digits: stable 1 -> 2"}

    with_source(tmp_path, supervisor, use)
