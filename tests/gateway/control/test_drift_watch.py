"""Workers are told of drift where samples are kept on it, and only when it changes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.control.drift_desk import DriftDesk
from gateway.control.drift_watch import DriftWatch
from gateway.control.messages import Drifting
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.route import Route
from policies.snapshot.samples import Sampling
from telemetry.drift.reports import DriftReport, VersionReport

DRIFTS = VersionReport("digits", "1", "drifts", "1", 0.0, 0.0, 0, 3600.0, 0.2, ())
STEADY = replace(DRIFTS, version="2", says="steady")
ON_DRIFT = Sampling(("/a",), triggers=("drift",))


def generation(samples: Sampling | None) -> Snapshot:
    routes = {"digits": Route("digits", "us", {}, "1", samples=samples), "letters": Route("letters", "us", {}, "1")}
    return Snapshot(1, "", Mesh("m"), routes=routes)


def test_what_drifts_is_told_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports = [DriftReport(0.0, (STEADY,)), DriftReport(1.0, (DRIFTS, STEADY)), DriftReport(2.0, (DRIFTS,))]
    policy = [generation(ON_DRIFT)]
    told: list[Drifting] = []
    desk = DriftDesk(tmp_path, lambda: policy[-1], lambda _: None)
    asked: list[str | None] = []

    async def report(_: DriftDesk, model: str | None = None) -> DriftReport:
        asked.append(model)
        return reports.pop(0)

    monkeypatch.setattr(DriftDesk, "report", report)

    async def look() -> None:
        watch = DriftWatch(desk, lambda: policy[-1], told.append)
        for _ in range(3):
            await watch.look()
        policy.append(generation(Sampling(("/a",), rate=1.0)))
        await watch.look()

    asyncio.run(look())
    assert told == [Drifting((("digits", "1"),)), Drifting(())]
    assert asked == ["digits"] * 3, "no model is judged on which no samples are kept"
