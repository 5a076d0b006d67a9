"""What there is to say of drift: read from what the sidecars keep, and judged when somebody asks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from gateway.control.events import Say
from policies.snapshot.generation import Snapshot, drift_by_model
from telemetry.drift.files import DIRECTORY, VersionFiles
from telemetry.drift.reports import DriftReport


class DriftDesk:
    """Judges the versions of every model that is watched.

    Args:
        state: the mesh's state directory.
        in_force: returns the policy in force.
        labels: returns late labels by model and what became of them.
    """

    def __init__(
        self,
        state: Path,
        in_force: Callable[[], Snapshot],
        say: Say,
        wall_s: Callable[[], float] = time.time,
        labels: Callable[[], Mapping[str, Mapping[str, int]]] = dict,
    ) -> None:
        self._files = VersionFiles(state / DIRECTORY, self._say_trouble)
        self._in_force = in_force
        self._say = say
        self._wall_s = wall_s
        self._labels = labels
        self._reading = asyncio.Lock()
        self._trouble = ""

    async def report(self, model: str | None = None, is_brief: bool = False) -> DriftReport:
        """Return what is to be said of one model, or of all of them.

        Args:
            is_brief: without distributions and the past, and soon: with very many versions, what was found lately.
        """
        snapshot = self._in_force()
        watched = {name: drift for name, drift in drift_by_model(snapshot).items() if model is None or name == model}
        served = {name: frozenset(snapshot.routes[name].versions) for name in watched}
        async with self._reading:
            judge = self._files.brief if is_brief else self._files.report
            # Some megabytes may have to be read.
            report = await asyncio.to_thread(judge, watched, served, self._wall_s())
        counted = self._labels()
        labels = {name: dict(counted[name]) for name in snapshot.routes if name in counted and model in (None, name)}
        return replace(report, labels=labels)

    def _say_trouble(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._say(f"drift: {trouble}")
        self._trouble = trouble
