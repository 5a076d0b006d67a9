"""Keeps an hour of what was read, a value each 15 s, for whoever draws it; bounded, whatever processes come and go."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable

from msgspec import Struct

from telemetry.sidecar.histogram import Histogram
from telemetry.sidecar.samples import Sample

STEP_S = 15.0
POINTS = 240
SERIES = 512
_PID = "pid"

Name = tuple[str, tuple[tuple[str, str], ...]]


class Line(Struct, frozen=True):
    """One series.

    Attributes:
        labels: without the process's number: what was started anew goes on in the same series.
        values: the oldest first, the newest is of the end; None where there was nothing to read.
    """

    metric: str
    labels: dict[str, str]
    values: list[float | None]


class Told(Struct, frozen=True):
    """What ``GET /machine`` answers.

    Attributes:
        step_s: from one value to the next.
        ends_s: when the newest values were read, as seconds since 1970; 0 before the first.
        left_out: series that found no room at the newest reading.
    """

    step_s: float
    ends_s: float
    left_out: int
    series: list[Line]


class History:
    """The last hour; counters are kept as they are, and whoever draws them takes differences."""

    def __init__(self) -> None:
        self._lines: OrderedDict[Name, list[float | None]] = OrderedDict()
        self._step = -math.inf
        self._ends_s = 0.0
        self._left_out = 0

    def take(self, samples: Iterable[Sample], now_s: float, wall_s: float) -> None:
        """Take what is true now, if it is time for another value.

        Args:
            now_s: monotonic.
            wall_s: seconds since 1970.
        """
        step = math.floor(now_s / STEP_S)
        if step <= self._step:
            return
        # A machine that slept leaves a gap, not a line across it.
        skipped = min(POINTS, step - int(self._step) - 1) if self._ends_s else 0
        self._step, self._ends_s = step, wall_s
        values = _summed(samples)
        for name, line in list(self._lines.items()):
            line.extend([None] * skipped)
            line.append(values.pop(name, None))
            del line[:-POINTS]
            if all(value is None for value in line):
                del self._lines[name]
        room = SERIES - len(self._lines)
        for name in list(values)[:room]:
            self._lines[name] = [values[name]]
        self._left_out = max(0, len(values) - room)

    def told(self, last: int = POINTS) -> Told:
        """Return the last hour, or so many of its newest values; what has none of these is not there."""
        named = ((name, values[-last:]) for name, values in self._lines.items())
        lines = [
            Line(metric, dict(labels), values)
            for (metric, labels), values in named
            if any(value is not None for value in values)
        ]
        return Told(STEP_S, self._ends_s, self._left_out, lines)


def _summed(samples: Iterable[Sample]) -> dict[Name, float]:
    """Return the values by name; processes of one name, as a worker and its successor, are one."""
    values: dict[Name, float] = {}
    for sample in samples:
        if isinstance(sample.value, Histogram):
            continue
        labels = zip(sample.metric.labels, sample.labels, strict=True)
        name = (sample.metric.name, tuple((key, value) for key, value in labels if key != _PID))
        values[name] = values.get(name, 0.0) + sample.value
    return values
