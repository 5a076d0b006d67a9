"""Counts what a pod's answers meant to its model's objectives, and says how fast its error budgets burn.

They are the pod's own, since its sidecar started: what callers saw is counted by the gateway. Both together tell
whether one pod is to blame.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from policies.snapshot import Objective
from policies.units import duration_text
from telemetry.conventions import POD_SLO_BURN_RATE
from telemetry.records import Frame, PodRequest
from telemetry.sidecar.samples import Sample
from telemetry.slo.burn_rate import burn_rate
from telemetry.slo.classify import classify
from telemetry.slo.events import EventCount, Meaning
from telemetry.slo.windows import Slots

SERIES = 64
"""Pairs of a version and an objective that are counted; each takes 170 KiB, and a sidecar has one version."""

_ONE = {
    Meaning.GOOD: EventCount(good=1),
    Meaning.BAD: EventCount(bad=1),
    Meaning.IGNORED: EventCount(ignored=1),
}

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
            slots = self._of((model, version, objective.name))
            if slots is not None:
                meaning = classify(objective, record.status, record.ended_s - record.started_s)
                slots.add(frame.wall_offset_ns * 1e-9 + record.ended_s, _ONE[meaning], wall_s)

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
