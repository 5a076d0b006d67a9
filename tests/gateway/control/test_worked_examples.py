"""Ten worked examples of burn-rate alerts: the engine of a mesh says at the end of each minute what fractions say.

The oracle knows nothing of slots, of our alerts or of our arithmetic: it sums lists of events and compares fractions
with the SRE workbook's table, which is written out here. Its spans are those of the table that Prometheus' rules are
tried with too, so the engine and the rules agree to the very evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate

import pytest
from msgspec import Struct
from msgspec.structs import replace

from deploy.prometheus.scenarios import Scenario, Span
from gateway.control.messages import SloEvents, Tally
from gateway.control.slo_engine import SloEngine
from policies.snapshot.slos import Objective
from telemetry.slo.evaluate import Evaluation
from tests.deploy.prometheus.table import S1, S2, S5, S8, S10, TABLE, objective
from tests.gateway.control.objectives import ROUTE, SNAPSHOT, START_S

MINUTE_S, HOUR, DAY, PERIOD = 60, 60, 1440, 30 * 1440
# Severity, factor, and both windows in minutes.
WORKBOOK = {
    "page fast": (Fraction("14.4"), 60, 5),
    "page slow": (Fraction(6), 360, 30),
    "ticket fast": (Fraction(3), DAY, 120),
    "ticket slow": (Fraction(1), 3 * DAY, 360),
}
# What the finest slots of every window that alerts look at still tell apart.
FINE = 3 * DAY
Minute = tuple[int, int]
"""Good and bad events."""


class Course:
    """Traffic by the minute: 30 days of history at the first minute's rate, and then the scenario.

    A scenario whose history is part of it (S6, S10) has none before.
    """

    def __init__(self, scenario: Scenario) -> None:
        first = scenario.stretches[0]
        before = PERIOD - scenario.before if scenario.before else 0
        own = [(one.good, one.bad) for one in scenario.stretches for _ in range(one.steps)]
        self.minutes: list[Minute] = [(first.good, first.bad)] * before + own
        self.before = before + scenario.before
        self._good = [0, *accumulate(good for good, _ in self.minutes)]
        self._bad = [0, *accumulate(bad for _, bad in self.minutes)]

    @property
    def length(self) -> int:
        """Minutes after the history."""
        return len(self.minutes) - self.before

    def window(self, at: int, length: int) -> Minute:
        """Sum the minutes of a window that ends with one after the history."""
        end = self.before + at
        start = max(0, end - length)
        return self._good[end] - self._good[start], self._bad[end] - self._bad[start]

    def burn(self, at: int, length: int, budget: Fraction) -> Fraction:
        """Return bad of all over the budget; 0 of nothing."""
        good, bad = self.window(at, length)
        return Fraction(bad, good + bad) / budget if good + bad else Fraction(0)

    def fires(self, name: str, at: int, budget: Fraction) -> bool:
        """Whether both windows burn faster than the factor."""
        factor, long, short = WORKBOOK[name]
        return all(self.burn(at, length, budget) > factor for length in (long, short))


class Judge:
    """The engine of a mesh, told what workers would tell, minute by minute."""

    def __init__(self, own: Objective, course: Course) -> None:
        self.engine, self.own, self.course = SloEngine(START_S), own, course
        route = replace(ROUTE, slo=(own.name,))
        self.engine.follow(replace(SNAPSHOT, routes={"digits": route}, objectives={own.name: own}), START_S)
        self._start_s = int(START_S) + 40 * 86_400
        for at, length in self._history():
            good, bad = course.window(at, length)
            self._tell(at - length, good, bad, at)

    def _history(self) -> Iterator[tuple[int, int]]:
        """Yield the ends and lengths of parts of the history: hours, and minutes where those are told apart."""
        at = -self.course.before
        while at < 0:
            length = HOUR if at < -FINE - HOUR else 1
            yield at + length, length
            at += length

    def _tell(self, minute: int, good: int, bad: int, now: int) -> None:
        at_s = self._start_s + minute * MINUTE_S
        if good or bad:
            told = SloEvents(self.own.name, "digits", "1", "gold", good, bad, 0)
            self.engine.take(1, Tally(at_s, {}, (), (told,), {}), self._start_s + now * MINUTE_S)

    def minute(self, at: int) -> set[str]:
        """Tell what happened in a minute, judge at its end, and return what fires."""
        self._tell(at - 1, *self.course.minutes[self.course.before + at - 1], at)
        self.engine.judge_alerts(self.now_s(at))
        return {key.name for key in self.engine.alerts.firing()}

    def now_s(self, at: int) -> float:
        return float(self._start_s + at * MINUTE_S)

    def says(self, at: int) -> Evaluation:
        """Return what is to be said at the end of a minute that was told."""
        (judged,) = self.engine.judged(self.now_s(at))
        return judged.evaluation


def spans_of(firing: list[set[str]], name: str) -> list[Span]:
    """Return when an alert fired, of what fired at the end of each minute, the first being minute 1."""
    states = [False, *(name in one for one in firing)]
    changes = [at for at in range(1, len(states)) if states[at] != states[at - 1]]
    ends = [*changes[1::2], None] if len(changes) % 2 else changes[1::2]
    return [Span(begin, end) for begin, end in zip(changes[::2], ends, strict=True)]


class Run(Struct, frozen=True):
    """What the engine said of a scenario: what fired at the end of each minute, and all at the end of some."""

    firing: list[set[str]]
    said: dict[int, Evaluation]


@lru_cache
def run(scenario: Scenario, target: float) -> Run:
    """Judge a scenario once, whatever is asked of it."""
    course = Course(scenario)
    judge, wanted = Judge(objective(NAME, target), course), {*POINTS.get(scenario, {}), course.length}
    firing, said = [], {}
    for at in range(1, course.length + 1):
        firing.append(judge.minute(at))
        if at in wanted:
            said[at] = judge.says(at)
    return Run(firing, said)


NAME = "digits-availability"
# Burn rates by window in minutes, what is left of the budget, and in how many hours it ends.
Point = tuple[dict[int, float], float | None, float | None]
POINTS: dict[Scenario, dict[int, Point]] = {
    S1: {
        4: ({5: 16.0, 60: 1.3333}, None, None),
        43: ({60: 14.3333}, None, None),
        44: (
            {5: 20.0, 30: 20.0, 60: 14.6667, 120: 7.3333, 360: 2.4444, 1440: 0.6111, 4320: 0.2037},
            0.979630,
            48.091,
        ),
        60: ({60: 20.0}, 0.972222, 35.0),
        62: ({5: 12.0, 60: 19.3333}, None, None),
    },
    S5: {
        1: ({5: 200.0, 60: 16.6667}, None, None),
        10: ({5: 1000.0, 60: 166.6667}, 0.768519, 3.32),
        15: ({5: 0.0, 60: 166.6667}, None, None),
    },
}
CASES = [*TABLE, (S10, 0.999, None)]
# Of the period, whose slots are hours: it may begin with an hour of which a part is too old.
A_SLOT = 1 / (30 * 24)


def named(scenario: Scenario) -> str:
    return scenario.name.partition(":")[0]


@pytest.mark.parametrize(("scenario", "target", "expected"), CASES, ids=[named(scenario) for scenario, _, _ in CASES])
def test_the_engine_fires_in_the_minutes_that_fractions_say(
    scenario: Scenario, target: float, expected: dict[str, list[Span]] | None
) -> None:
    course, firing = Course(scenario), run(scenario, target).firing
    names, budget = [alert.name for alert in objective(NAME, target).alerts], 1 - Fraction(str(target))
    right = [{name for name in names if course.fires(name, at, budget)} for at in range(1, course.length + 1)]
    assert [at for at, (mine, wanted) in enumerate(zip(firing, right, strict=True), 1) if mine != wanted] == []
    assert expected is None or {name: spans_of(firing, name) for name in names} == expected


@pytest.mark.parametrize(
    ("scenario", "at"),
    [(scenario, at) for scenario, points in POINTS.items() for at in points],
    ids=lambda value: named(value) if isinstance(value, Scenario) else str(value),
)
def test_burn_rates_what_is_left_and_when_it_ends_are_those_of_the_example(scenario: Scenario, at: int) -> None:
    burns, left, ends_in_h = POINTS[scenario][at]
    said = run(scenario, 0.999).said[at]
    assert burns_of(said).items() >= burns.items()
    if left is not None and ends_in_h is not None:
        assert said.remaining_ratio == pytest.approx(left, abs=(1 - left) * A_SLOT + 5e-7)
        assert said.exhaustion_s == pytest.approx(ends_in_h * 3600, rel=2 * A_SLOT)


def burns_of(said: Evaluation) -> dict[int, float]:
    return {int(burn.window_s // 60): round(burn.burn_rate, 4) for burn in said.burn}


def test_silence_as_in_s8_burns_nothing_and_that_is_a_number() -> None:
    (said,) = run(S8, 0.999).said.values()
    assert {burns for window, burns in burns_of(said).items() if window <= 120} == {0.0}
    assert said.burn[0].events.total == 0


def test_what_is_left_in_s10_is_by_events_and_not_by_time() -> None:
    good, bad = Course(S10).window(Course(S10).length, PERIOD)
    exactly = float(1 - Fraction(bad, good + bad) / Fraction("0.001"))
    assert run(S10, 0.999).said[Course(S10).length].remaining_ratio == exactly
    assert round(exactly, 4) == 0.5025


def test_a_factor_that_is_a_little_off_would_be_found() -> None:
    """The examples begin and end where the next minute would be wrong."""
    course, own = Course(S2), objective(NAME)
    wrong = replace(own, alerts=tuple(replace(alert, factor=alert.factor * 1.002) for alert in own.alerts))
    judge = Judge(wrong, course)
    firing = [judge.minute(at) for at in range(1, 311)]
    assert spans_of(firing, "page slow") == [Span(310, None)]
