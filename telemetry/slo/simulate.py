"""Simulate: when each alert of an objective would begin and end if so many requests were bad for so long.

Or if it had judged what was counted: the past, by another target or by other factors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final

from msgspec import Struct

from policies.snapshot.slos import Objective
from telemetry.slo.alerts import Alert, Tier, Verdict, alerts_of, judge_any, windows
from telemetry.slo.budget import remaining_ratio
from telemetry.slo.burn_rate import budget_share
from telemetry.slo.evaluate import Counted
from telemetry.slo.events import EventCount
from telemetry.slo.windows import LEVELS

# As often as alerts are judged while the fault, or its end, is news; later once a minute, as days are counted.
JUDGED_EVERY_S: Final = LEVELS[0].slot_s
FINE_S: Final = LEVELS[0].reach_s
COARSE_S: Final = LEVELS[1].slot_s
_QUIET: Final = Verdict(False, 0.0, 0.0)


class Fault(Struct, frozen=True):
    """So large a share of all requests is bad for so long, after a past without any that is as long as every window.

    Attributes:
        bad_share, rate_per_s: as the decimals that were written.
    """

    bad_share: Fraction
    length_s: int
    rate_per_s: Fraction


class Interval(Struct, frozen=True):
    """From when to when an alert fires, in seconds since the fault or what is replayed began.

    None for beyond what was looked at.
    """

    begins_s: int
    ends_s: int | None


class Course(Struct, frozen=True):
    """What one alert does.

    Attributes:
        held_back: why it does not fire at some time although it would by its burn rates; "" for never.
    """

    alert: Alert
    fires: tuple[Interval, ...]
    held_back: str


class Simulation(Struct, frozen=True):
    """What a fault does.

    Attributes:
        courses: of every alert, in their order.
        cost: share of the error budget that it takes; 1 for all of it.
        looked_s: how far was looked.
    """

    courses: tuple[Course, ...]
    cost: float
    looked_s: int


class Replay(Struct, frozen=True):
    """What an objective would have said of a past.

    Attributes:
        courses: of every alert, in their order; one that fired at once began no later than that.
        remaining_ratio: of the budget at the end, below 0 when overspent; None without events.
        every_s: how finely it was judged at the beginning, where it is longest ago.
    """

    courses: tuple[Course, ...]
    remaining_ratio: float | None
    every_s: int


class Traffic:
    """Requests at a steady rate, bad at the steady share of a fault, counted in slots as all requests are.

    A moment is in seconds since the fault began, at the beginning of a slot of any length.
    """

    def __init__(self, fault: Fault) -> None:
        self._fault = fault

    def count(self, window_s: float, now_s: float) -> EventCount:
        """Return the events of all slots that overlap the window which ends now."""
        slot_s = next((level.slot_s for level in LEVELS if window_s <= level.reach_s), LEVELS[-1].slot_s)
        start_s = int((now_s - window_s) // slot_s * slot_s)
        total = self._total(int(now_s)) - self._total(start_s)
        bad = self._bad(int(now_s)) - self._bad(start_s)
        return EventCount(good=total - bad, bad=bad)

    def _total(self, at_s: int) -> int:
        rate = self._fault.rate_per_s
        return at_s * rate.numerator // rate.denominator

    def _bad(self, at_s: int) -> int:
        share = self._fault.bad_share
        return self._total(min(max(at_s, 0), self._fault.length_s)) * share.numerator // share.denominator


def simulate(objective: Objective, fault: Fault) -> Simulation:
    """Judge a fault at the end of each slot, until nothing of it is left in the windows of burn rates."""
    looked_s = fault.length_s + int(max(windows(objective), default=objective.period_s))
    courses = _courses(objective, Traffic(fault), _moments(fault.length_s, looked_s))
    return Simulation(courses, _cost(objective, fault), looked_s)


def replay(objective: Objective, counted: Counted, from_s: int, to_s: int) -> Replay:
    """Judge what was counted at the end of each slot of a past, as finely as it is still known.

    Args:
        to_s: about now, for the finest slots reach back from there.
    """
    moments = list(_past(from_s, to_s))
    courses = _courses(objective, counted, moments, from_s)
    remaining = remaining_ratio(counted.count(objective.period_s, moments[-1]), objective.target) if moments else None
    return Replay(courses, remaining, COARSE_S if from_s < to_s - FINE_S else JUDGED_EVERY_S)


def _past(from_s: int, to_s: int) -> Iterator[int]:
    """Yield the ends of slots: of minutes while only those are known of the shortest windows, then of the finest."""
    at_s = from_s
    while True:
        slot_s = COARSE_S if at_s < to_s - FINE_S else JUDGED_EVERY_S
        at_s += slot_s - at_s % slot_s
        if at_s > to_s:
            return
        yield at_s


def _courses(objective: Objective, counted: Counted, moments: Iterable[int], zero_s: int = 0) -> tuple[Course, ...]:
    """Judge at each moment; what it says is in seconds since ``zero_s``."""
    watched = [_Watched(alert) for alert in alerts_of(objective)]
    for at_s in moments:
        count = _Counts(counted, at_s)
        for one in watched:
            alert = one.alert
            short = count(alert.short_s)
            # Without a bad event in its short window no alert fires: nothing else needs to be looked at.
            verdict = (
                judge_any(alert, objective, count(objective.period_s), count(alert.long_s), short)
                if short.bad
                else _QUIET
            )
            one.heed(verdict, at_s - zero_s)
    return tuple(one.course() for one in watched)


class _Counts:
    """What was counted in windows that end at one moment; each is counted once, if anybody asks."""

    def __init__(self, counted: Counted, at_s: int) -> None:
        self._counted = counted
        self._at_s = at_s
        self._known: dict[float, EventCount] = {}

    def __call__(self, window_s: float) -> EventCount:
        known = self._known.get(window_s)
        if known is None:
            known = self._known[window_s] = self._counted.count(window_s, self._at_s)
        return known


def _moments(length_s: int, looked_s: int) -> Iterator[int]:
    """Yield when to judge: in every slot for as long as the finest ones reach, and then in every minute."""
    at_s = 0
    while at_s < looked_s:
        is_news = at_s < FINE_S or length_s <= at_s < length_s + FINE_S
        at_s += JUDGED_EVERY_S if is_news else COARSE_S - at_s % COARSE_S
        yield at_s


class _Watched:
    """One alert, and what it has done so far."""

    def __init__(self, alert: Alert) -> None:
        self.alert = alert
        self._fires: list[Interval] = []
        self._since_s: int | None = None
        self._held_back = ""

    def heed(self, verdict: Verdict, at_s: int) -> None:
        self._held_back = self._held_back or verdict.held_back
        if verdict.fires and self._since_s is None:
            self._since_s = at_s
        elif not verdict.fires and self._since_s is not None:
            self._fires.append(Interval(self._since_s, at_s))
            self._since_s = None

    def course(self) -> Course:
        going_on = () if self._since_s is None else (Interval(self._since_s, None),)
        return Course(self.alert, (*self._fires, *going_on), self._held_back)


def _cost(objective: Objective, fault: Fault) -> float:
    allowed = budget_share(objective.target) * Fraction(repr(objective.period_s))
    return float(fault.bad_share * fault.length_s / allowed)


def is_foretold(alert: Alert) -> bool:
    """Whether an alert depends on what is left of the budget, which a simulation begins with all of."""
    return alert.tier in (Tier.LIKELY, Tier.EXHAUSTED)
