"""Decides where things lie along an axis, and where its ticks are."""

from __future__ import annotations

import math

from msgspec import Struct

from telemetry.hub.shown.formats import duration, percent

_TICKS = 5
_STEPS = (1.0, 2.0, 5.0, 10.0)


class Bar(Struct, frozen=True):
    """A stretch of an axis; ``x`` and ``width`` are per cent of it, as SVG takes them."""

    x: str
    width: str


class Tick(Struct, frozen=True):
    """A place on an axis, in per cent of its length, and what stands there."""

    at: str
    text: str


def bar(start: float, length: float, whole: float) -> Bar:
    """Return where a stretch lies on an axis from 0 to ``whole``; what lies outside is cut off."""
    if whole <= 0:
        return Bar("0%", "100%")
    left, right = (min(1.0, max(0.0, at / whole)) for at in (start, start + length))
    return Bar(percent(left), percent(right - left))


def time_ticks(length_s: float) -> tuple[Tick, ...]:
    """Return ticks at round lengths of time, from 0 on; at most six."""
    if length_s <= 0:
        return (Tick("0%", duration(0.0)),)
    scale = 10.0 ** math.floor(math.log10(length_s / _TICKS))
    step_s = next(step * scale for step in _STEPS if length_s / (step * scale) <= _TICKS)
    return tuple(_tick(index * step_s, length_s) for index in range(int(length_s / step_s) + 1))


def _tick(at_s: float, length_s: float) -> Tick:
    return Tick(percent(at_s / length_s), "0" if at_s == 0 else duration(at_s))


class LogScale(Struct, frozen=True):
    """An axis on which equal factors are equally long, from one power of ten to another."""

    low: int
    high: int

    def at(self, number: float) -> float:
        """Return where a positive number lies, from 0 at the low end to 1."""
        return (math.log10(number) - self.low) / (self.high - self.low)

    def ticks(self) -> tuple[tuple[float, float], ...]:
        """Return each power of ten with where it lies."""
        return tuple((10.0**power, self.at(10.0**power)) for power in range(self.low, self.high + 1))


def log_scale(smallest: float, largest: float) -> LogScale:
    """Return the scale that holds both positive numbers, one power of ten long at least."""
    low = math.floor(math.log10(smallest))
    return LogScale(low, max(low + 1, math.ceil(math.log10(largest))))
