"""Decides what the embedded engine would say of made-up traffic, step by step: the oracle of the rules' tests."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from math import ceil

from msgspec import Struct

from policies.snapshot.slos import Objective
from telemetry.slo.alerts import alerts_of, judge_any
from telemetry.slo.events import EventCount


class Stretch(Struct, frozen=True):
    """Steady traffic for some steps, with so many good and bad events in each."""

    steps: int
    good: int
    bad: int = 0


class Scenario(Struct, frozen=True):
    """Traffic as it might be.

    Attributes:
        before: steps of the stretches that are history: what is asked for begins with the first step after them.
    """

    name: str
    stretches: tuple[Stretch, ...]
    before: int = 0

    @property
    def steps(self) -> int:
        """How long it is."""
        return sum(stretch.steps for stretch in self.stretches)


class Span(Struct, frozen=True, order=True):
    """An alert fires from a step on until, and without, another; None when it still does at the end."""

    begins: int
    ends: int | None


def totals(scenario: Scenario) -> list[EventCount]:
    """Return all events up to the end of each step; the first is of step 0, before any."""
    each = [EventCount(one.good, one.bad) for one in scenario.stretches for _ in range(one.steps)]
    return list(accumulate(each, initial=EventCount()))


def window(counted: list[EventCount], at: int, steps: int) -> EventCount:
    """Return the events of the last steps up to and with one."""
    return counted[at] - counted[max(0, at - steps)]


def spans(objective: Objective, scenario: Scenario, step_s: int) -> dict[str, list[Span]]:
    """Return when each alert fires, in steps after the history."""
    counted = totals(scenario)
    period = ceil(objective.period_s / step_s)
    found: dict[str, list[Span]] = {}
    for alert in alerts_of(objective):
        long, short = ceil(alert.long_s / step_s), ceil(alert.short_s / step_s)
        firing = [
            judge_any(alert, objective, *(window(counted, at, steps) for steps in (period, long, short))).fires
            for at in range(1, scenario.steps + 1)
        ]
        found[alert.name] = [
            Span(span.begins - scenario.before, None if span.ends is None else span.ends - scenario.before)
            for span in _runs(firing)
        ]
    return found


def _runs(firing: Iterable[bool]) -> list[Span]:
    runs: list[Span] = []
    began: int | None = None
    for at, fires in enumerate(firing, start=1):
        if fires and began is None:
            began = at
        elif not fires and began is not None:
            runs.append(Span(began, at))
            began = None
    return runs if began is None else [*runs, Span(began, None)]


def edges(found: dict[str, list[Span]], last: int) -> list[int]:
    """Return the steps around which something changes: the one before and the one at each beginning and end."""
    changes = {at for spans in found.values() for span in spans for at in (span.begins, span.ends) if at is not None}
    return sorted({step for at in changes for step in (at - 1, at) if 1 <= step <= last} | {last})


def firing_at(found: dict[str, list[Span]], at: int) -> list[str]:
    """Return the alerts that fire at a step."""
    return [
        name
        for name, spans in found.items()
        if any(span.begins <= at and (span.ends is None or at < span.ends) for span in spans)
    ]
