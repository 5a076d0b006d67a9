"""Counts what a pod's answers and loads meant to its model's objectives, and says how fast its error budgets burn.

They are the pod's own, since its sidecar started: what callers saw is counted by the gateway. Both together tell
whether one pod is to blame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.snapshot.slos import Objective
from policies.units import duration_text
from telemetry.conventions import POD_SLO_BURN_RATE
from telemetry.records import Frame, PodLoad, PodRequest
from telemetry.sidecar.samples import Sample
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.classify import classify, classify_load
from telemetry.slo.events import ONE, Meaning
from telemetry.slo.windows import Slots

SERIES = 64
"""Pairs of a version and an objective that are counted; each takes 170 KiB, and a sidecar has one version."""

Series = tuple[str, str, str]
"""Model, version and objective."""


class BurnRates:
    """Events of the sidecar's pod by objective."""

    def __init__(self) -> None:
        self._objectives: Mapping[str, Sequence[Objective]] = {}
        self._slots: dict[Series, Slots] = {}

    def heed(self, objectives: Mapping[str, Sequence[Objective]]) -> None:
        """Count by these objectives from now on; what was counted for others is forgotten."""
        self._objectives = objectives
        named = {(model, objective.name) for model, of_model in objectives.items() for objective in of_model}
        self._slots = {series: slots for series, slots in self._slots.items() if (series[0], series[2]) in named}

    def count(self, frame: Frame, record: PodRequest, wall_s: float) -> None:
        """Count one answer.

        Args:
            wall_s: now, seconds since the epoch.
        """
        model, version = frame.source.model, frame.source.version
        for objective in self._objectives.get(model, ()):
            # Of a first byte the record says nothing.
            if objective.events == "requests" and objective.first_byte_within_s is None:
                took_s = record.ended_s - record.started_s
                meaning = classify(objective, record.status, took_s, is_cold=record.cold)
                self._add((model, version, objective.name), frame, record.ended_s, meaning, wall_s)

    def count_load(self, frame: Frame, record: PodLoad, wall_s: float) -> None:
        """Count one load of the pod."""
        model, version = frame.source.model, frame.source.version
        for objective in self._objectives.get(model, ()):
            if objective.events == "loads":
                took_s = record.ended_s - record.started_s
                meaning = classify_load(objective, took_s, is_loaded=not record.message)
                self._add((model, version, objective.name), frame, record.ended_s, meaning, wall_s)

    def _add(self, series: Series, frame: Frame, ended_s: float, meaning: Meaning, wall_s: float) -> None:
        slots = self._of(series)
        if slots is not None:
            slots.add(frame.wall_offset_ns * 1e-9 + ended_s, ONE[meaning], wall_s)

    def samples(self, wall_s: float) -> Iterator[Sample]:
        """Yield the burn rate of each window that an alert of the objective looks at."""
        for (model, version, name), slots in self._slots.items():
            objective = next(one for one in self._objectives[model] if one.name == name)
            windows_s = {window_s for alert in objective.alerts for window_s in (alert.short_s, alert.long_s)}
            for window_s in sorted(windows_s):
                rate = burn_rate(slots.count(window_s, wall_s), objective.target)
                yield Sample(POD_SLO_BURN_RATE, (model, version, name, duration_text(window_s)), rate)

    def _of(self, series: Series) -> Slots | None:
        if series not in self._slots and len(self._slots) < SERIES:
            self._slots[series] = Slots()
        return self._slots.get(series)
