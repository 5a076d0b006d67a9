"""Series as sidecars tell them: what is true now, how fast counters grow, and small curves of the past."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from msgspec import Struct

from telemetry.hub.shown.fleet_answers import Line, Past

RATE_STEPS = 4
"""Rates are over so many steps: a minute."""
_SPARK_HEADROOM = 1.1


class Spark(Struct, frozen=True):
    """A small curve in a square of 100: lines of points, with gaps where nothing was read."""

    lines: tuple[str, ...]
    title: str


class Series:
    """What one sidecar told, by metric.

    Attributes:
        step_s: from one value to the next.
        steps: in the longest of them.
    """

    def __init__(self, past: Past) -> None:
        self.step_s = past.step_s
        self.steps = max((len(line.values) - 1 for line in past.series), default=0)
        self._of: dict[str, list[Line]] = {}
        for line in past.series:
            if line.values:
                self._of.setdefault(line.metric, []).append(line)

    def lines(self, metric: str, **labels: str) -> list[Line]:
        """Return the series of a metric that have these labels, and perhaps others."""
        every = self._of.get(metric, [])
        return [line for line in every if all(line.labels.get(name) == held for name, held in labels.items())]

    def line(self, metric: str, **labels: str) -> Line | None:
        """Return the first of them; None where there is none."""
        return next(iter(self.lines(metric, **labels)), None)

    def latest(self, metric: str, **labels: str) -> float | None:
        """Return what is true now; None where nothing was read."""
        line = self.line(metric, **labels)
        return line.values[-1] if line is not None else None

    def rate(self, line: Line | None) -> float | None:
        """Return how much a counter grows each second, over the last minute."""
        if line is None:
            return None
        amount, steps = grown(line.values[-RATE_STEPS - 1 :])
        return amount / (steps * self.step_s) if steps and self.step_s > 0 else None


def grown(values: Sequence[float | None]) -> tuple[float, int]:
    """Return by how much a counter grew, and over how many steps that is known; one that went back began anew."""
    amount, steps = 0.0, 0
    for before, after in itertools.pairwise(values):
        if before is None or after is None:
            continue
        amount += after - before if after >= before else after
        steps += 1
    return amount, steps


def spark(values: Sequence[float | None], title: str, top: float | None = None) -> Spark | None:
    """Return a curve from zero; None where there are not two values side by side."""
    known = [each for each in values if each is not None]
    highest = top if top is not None else max(known, default=0.0) * _SPARK_HEADROOM
    lines: list[list[str]] = [[]]
    step = 100 / max(1, len(values) - 1)
    for place, each in enumerate(values):
        if each is None:
            lines.append([])
        else:
            height = min(1.0, max(0.0, each / highest)) if highest > 0 else 0.0
            lines[-1].append(f"{place * step:.1f},{100 - 100 * height:.1f}")
    drawn = tuple(" ".join(line) for line in lines if len(line) > 1)
    return Spark(drawn, title) if drawn else None
