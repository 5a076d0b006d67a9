"""Reports of a mesh with two models, for tests of what ``penstock top`` makes of them."""

from __future__ import annotations

from dataclasses import replace

from deploy.commands.screens.board import Board, Look, board
from gateway.control.reports import PodReport, StableReport
from gateway.control.slo_reports import ActivityReport, ModelActivityReport, ObjectiveReport, SloReport
from tests.deploy.commands.test_slo import ALERT, REPORT, SLO
from tests.deploy.commands.test_status import POD, STATUS

STABLE = [StableReport("digits", "1", is_ready=True, was_ready=True), StableReport("text", "1", True, True)]
ACTIVITY = ActivityReport(
    at=1000.0,
    span_s=25.0,
    models=[
        ModelActivityReport("digits", "1", 1234.5, 0.012, 0.0031, 0.0184),
        ModelActivityReport("digits", "2", 12.3, 0.0, 0.0029, 1.25),
        ModelActivityReport("text", "1", 0.2, 1.0, None, None),
    ],
)
ENDING = replace(
    SLO, name="text-fast", model="text", status="ticket", remaining_ratio=0.61, is_enough=True, exhaustion_s=7200.0,
    alerts=[replace(ALERT, severity="ticket", name="breach likely", tier="likely", since=400.0)],
)  # fmt: skip


def pod(name: str, **changed: object) -> PodReport:
    """Return a pod that has run 10 batches of 40 rows for a second."""
    model, version, _ = name.split("/")
    told = replace(POD, name=name, model=model, version=version, device_s=1.0, batches=10, batch_rows=40)
    return replace(told, **changed)  # type: ignore[arg-type]  # names are PodReport's


def slo(*objectives: ObjectiveReport) -> SloReport:
    """Return the report of these objectives at the moment 1000."""
    return replace(REPORT, slos=list(objectives))


PODS = [
    pod("digits/1/0"),
    pod("digits/1/1", pid=50),
    pod("digits/2/0", pid=51),
    pod("text/1/0", pid=52, state="failed", message="no such \x1b[31mmodel", queued_rows=None, running_rows=None),
]
BEFORE = Look(10.0, PODS, STABLE, slo(SLO, ENDING), ACTIVITY, STATUS)
NOW = Look(
    12.0,
    [
        replace(PODS[0], device_s=2.0, batches=14, batch_rows=68),
        replace(PODS[1], device_s=3.5, batches=15, batch_rows=50, queued_rows=9),
        replace(PODS[2], pid=99, device_s=0.1, batches=1, batch_rows=1, restarts=1),
        PODS[3],
    ],
    STABLE,
    slo(SLO, ENDING),
    ACTIVITY,
    STATUS,
)


def shown() -> Board:
    """Return what is shown after both looks."""
    return board(BEFORE, NOW)
