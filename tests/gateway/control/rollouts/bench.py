"""A keeper of rollouts on a true store and a true audit log, with a clock, pods and workers that a test moves."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import cast

from gateway.control.audit.log import AuditLog
from gateway.control.audit.record import Record
from gateway.control.desired import PodPlace
from gateway.control.messages import ArmEvents, BadKey, Releases, RequestCounts, Tally, TrialEvents
from gateway.control.pod_table import PodRecord, PodTable
from gateway.control.rollouts.keeper import Rollout, RolloutKeeper, Surroundings
from gateway.control.rollouts.store import FILE_NAME
from gateway.control.slo_counts import SloCounts
from gateway.control.worker_process import WorkerProcess
from gateway.decide.rollouts.moments import LOOKS_IN_A_MOMENT
from gateway.decide.rollouts.progress import Progress
from gateway.decide.stage import Stage
from model_pod.wire.status import PodState
from policies.snapshot.generation import Snapshot
from policies.snapshot.mesh import Mesh
from policies.snapshot.release import Canary, CanaryStep, Feedback, Judge
from policies.snapshot.route import Route, Version
from policies.snapshot.slos import Objective

T0 = 1_800_000_000.0
NONE = ArmEvents()
WORKER = cast(WorkerProcess, None)
STEPS = (CanaryStep(0.05, hold_s=60.0, at_least=100), CanaryStep(0.25, hold_s=60.0, at_least=100), CanaryStep(1.0))
CANARY = Canary("first", "2", STEPS, Judge("1"))
OBJECTIVE = Objective("digits-availability", "vision", 30 * 86_400.0, 0.99, 500, model="digits")


def snapshot(canary: Canary | None = CANARY, generation: int = 1) -> Snapshot:
    """Return a policy with one route."""
    versions = {name: Version(name) for name in "123"}
    route = Route(
        "digits", "vision", versions, "1", slo=("digits-availability",), canary=canary, feedback=Feedback("/label")
    )
    return Snapshot(generation, "d", Mesh("demo"), routes={"digits": route}, objectives={OBJECTIVE.name: OBJECTIVE})


def pods(ready: dict[str, int]) -> PodTable:
    """Return two pods of each version, of which so many are ready."""
    table: PodTable = {}
    for version, count in ready.items():
        for index in range(2):
            place = PodPlace(f"digits/{version}/{index}", "digits", version, f"unix:/{version}{index}", None)
            state = PodState.READY if index < count else PodState.STARTING
            table[place.name, place.address] = PodRecord(place, state)
    return table


class Bench:
    """One supervisor's rollouts; another bench on the same directory is the next supervisor, or a second one.

    Attributes:
        told: what workers were told, and the revision that the file had at that moment.
        same: shadows that are called the same.
    """

    def __init__(self, state: Path, now_s: float = T0) -> None:
        self.state = state
        self.now_s = now_s
        self.said: list[str] = []
        self.told: list[tuple[Stage, ...]] = []
        self.kept_when_told: list[int] = []
        self.same: set[str] = set()
        self.counts = SloCounts()
        self.ready = {"1": 2, "2": 2, "3": 2}
        self.audit = AuditLog(state, self.said.append)
        around = Surroundings(lambda: self.pods, lambda: self.counts, lambda _model, name: name in self.same)
        self.keeper = RolloutKeeper(state, around, self._tell, self.audit, self.said.append, lambda: self.now_s)

    @property
    def pods(self) -> PodTable:
        """Two of each version, of which so many are ready."""
        return pods(self.ready)

    def _tell(self, releases: Releases) -> None:
        self.told.append(releases.stages)
        self.kept_when_told.append(self.kept_revision())

    def kept_revision(self) -> int:
        """Return the revision that the file has."""
        with closing(sqlite3.connect(self.state / FILE_NAME)) as connection:
            found = connection.execute("SELECT revision FROM rollout WHERE model = 'digits'").fetchone()
        return 0 if found is None else int(found[0])

    @property
    def rollout(self) -> Rollout:
        """The one of digits."""
        return self.keeper.rollouts["digits"]

    @property
    def progress(self) -> Progress:
        """Where it stands."""
        return self.rollout.progress

    @property
    def stage(self) -> Stage:
        """What workers were told last."""
        (stage,) = self.told[-1]
        return stage

    async def look(self, after_s: float = 1.0) -> None:
        """Let time pass, and look."""
        self.now_s += after_s
        await self.keeper.look()

    def trial(
        self,
        stable: ArmEvents = NONE,
        canary: ArmEvents = NONE,
        keys: tuple[BadKey, ...] = (),
        stage: Stage | None = None,
    ) -> None:
        """Let a worker tell of requests in the stage that it was told last, or in another."""
        self.keeper.said(WORKER, TrialEvents(stage or self.stage, stable, canary, keys))

    def answered(self, version: str, count: int, device_us: int = 2000) -> None:
        """Let a worker tell of requests that a version answered."""
        counts = RequestCounts("digits", version, "demo", "gold", 200, "", (count, 0), 0.1, device_us=count * device_us)
        self.keeper.said(WORKER, Tally(int(self.now_s), {"digits": (1.0,)}, (counts,), (), {}))

    def breaks(self, keys: int, start: int = 0, *, in_canary: bool = True) -> None:
        """Let as many keys have a bad request each, one after the other."""
        event = ArmEvents(1, 1, 0)
        for n in range(start, start + keys):
            self.trial(*((NONE, event) if in_canary else (event, NONE)), (BadKey(n, in_canary, f"{n:032x}"),))
            for _ in range(LOOKS_IN_A_MOMENT):
                self.rollout.gathering.looked(self.now_s)

    def records(self) -> list[Record]:
        """Return what is in the audit log of rollouts, the oldest first."""
        found = [one.record for one in self.audit.newest(100)[0]]
        return [one for one in reversed(found) if one.action.startswith("canary.")]

    async def stop(self) -> None:
        """End as a supervisor that drains."""
        await self.keeper.stop()
        self.audit.close()
