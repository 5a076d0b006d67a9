"""Counts what workers tell of settled requests, and decides which alerts fire.

Counts stay under the name of their objective and model. An objective whose target changes is judged by it at once, over
all that was counted; one that takes other requests for good counts so from then on, and what was counted stays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import floor

from msgspec import Struct

from gateway.control.cost_totals import CostTotals
from gateway.control.limit_totals import LimitTotals
from gateway.control.messages import SLOT_S, RequestCounts, SloEvents, Tally
from gateway.control.recent_models import RecentModels
from gateway.control.request_totals import RequestTotals
from gateway.control.series_room import SeriesRoom
from gateway.control.slo_alerts import AlertStates
from gateway.control.slo_counts import Fate, Pair, SloCounts
from gateway.control.slo_kept import AlertKey, Changes, Remembered, Series, SlotRow
from gateway.control.slo_words import fires, is_gone, is_over, still_fires
from policies.snapshot import BurnAlert, Objective, Snapshot, objectives_by_model
from telemetry.slo.classify import edges_for
from telemetry.slo.evaluate import Evaluation, evaluate
from telemetry.slo.events import EventCount

Dropped = tuple[str, str]
"""What was not counted or not told, and why."""

_RECORDS = "records"
_MALFORMED: Dropped = ("requests", "malformed")
_UNKNOWN: Dropped = ("slo_events", "unknown_objective")
_NOT_APART: Dropped = ("slo_events", "series_full")
_TOO_LATE: Dropped = ("slo_events", "too_late")
_NOT_RESTORED: Dropped = ("slo_series", "series_full")
_NO_SERIES: Dropped = ("series", "full")
# Of an objective that the policy no longer has: it may come back.
_KEEP_UNKNOWN_S = 30 * 86_400.0
# How long events are counted for the objectives of the generation before: workers commit each at its time, and tell
# once a second.
_LEAVE_AFTER_S = 10.0
# What Prometheus reads of an objective beside its alerts and windows: three outcomes, and what is left.
_OF_EACH = 4

Objectives = Mapping[str, tuple[Objective, ...]]
"""By model."""


class Judged(Struct, frozen=True):
    """One objective of one model, and what is to be said of it."""

    objective: Objective
    model: str
    evaluation: Evaluation


class SloEngine:
    """The objectives in force, and all that was counted.

    Args:
        started_s: of the supervisor, seconds since the epoch.
    """

    def __init__(self, started_s: float) -> None:
        self.counts = SloCounts()
        self.totals = RequestTotals(SeriesRoom())
        self.costs = CostTotals(started_s)
        self.limits = LimitTotals()
        self.recent = RecentModels(started_s)
        self.alerts = AlertStates()
        self._objectives: Objectives = {}
        self._expected: Objectives = {}
        self._leaving: list[tuple[float, Objectives]] = []
        self._versions: frozenset[tuple[str, str]] = frozenset()
        self._shown: frozenset[Pair] = frozenset()
        self._not_shown = 0
        self._judged_in_slot: tuple[int, list[Judged]] | None = None
        self._dropped = dict.fromkeys((_MALFORMED, _UNKNOWN, _NOT_APART, _NOT_RESTORED, _TOO_LATE), 0)
        self._records_lost: dict[int, dict[str, int]] = {}
        self._records_lost_by_ended: dict[str, int] = {}

    @property
    def objectives(self) -> Objectives:
        """The objectives in force by model."""
        return self._objectives

    @property
    def dropped(self) -> dict[Dropped, int]:
        """What was not counted or not told, since the supervisor's start."""
        records = dict(self._records_lost_by_ended)
        for lost in self._records_lost.values():
            _add_each(records, lost)
        told = {(_RECORDS, why): count for why, count in records.items()}
        return self._dropped | {_NO_SERIES: self.totals.refused + self._not_shown} | told

    def expect(self, snapshot: Snapshot) -> None:
        """Count by this generation too: workers may go over to it at any moment."""
        self._expected = objectives_by_model(snapshot)

    def follow(self, snapshot: Snapshot, now_s: float) -> None:
        """Count and judge by this generation; every stable version has its counts from now on, be they 0.

        For some seconds, what is told of the generation before is counted too, and then expected no more.
        """
        self._leaving.append((now_s + _LEAVE_AFTER_S, self._objectives))
        self._objectives, self._expected = objectives_by_model(snapshot), {}
        self._judged_in_slot = None
        self._versions = frozenset((r.model, version) for r in snapshot.routes.values() for version in r.versions)
        self._show_what_fits()
        self.totals.use_edges({model: edges_for(own) for model, own in self._objectives.items()})
        for model, objectives in self._objectives.items():
            for objective in objectives:
                for tier in snapshot.tiers if "tier" in objective.by else ("",):
                    self.counts.open(_series(objective, model, snapshot.routes[model].stable, tier))

    def _show_what_fits(self) -> None:
        """Choose the objectives that metrics have room for: their number is the policy's, and no request's doing."""
        room = SeriesRoom()
        self._shown = frozenset(
            (one.name, model)
            for model, own in self._objectives.items()
            for one in own
            if room.take(len(one.alerts) + len(windows(one)) + _OF_EACH)
        )
        self._not_shown += room.refused

    def is_shown(self, slo: str, model: str) -> bool:
        """Whether metrics have room for an objective; also one that is judged no more is not shown."""
        return (slo, model) in self._shown

    def restore(self, remembered: Remembered) -> int:
        """Add what was kept to what was counted meanwhile, and return how many series found no room."""
        in_policy = {(one.name, model) for model, own in self._objectives.items() for one in own}
        refused = self.counts.restore(remembered.series, in_policy)
        self._dropped[_NOT_RESTORED] += refused
        self.alerts.restore(remembered)
        self._judged_in_slot = None
        return refused

    def still_firing(self, remembered: Remembered, now_s: float) -> list[str]:
        """Return an event line for each alert of the policy that fires by what was kept, and not by what is known."""
        own, known = self.alerts.firing(), self._alert_keys()
        return [
            still_fires(subject(key.slo, key.model), key.name, since_s, now_s)
            for key, since_s in remembered.firing.items()
            if key in known and key not in own
        ]

    def _alert_keys(self) -> set[AlertKey]:
        return {
            alert_key(one, model, at) for model, own in self._objectives.items() for one in own for at in one.alerts
        }

    def take(self, worker: int, tally: Tally, now_s: float) -> None:
        """Count what a worker settled."""
        self._records_lost[worker] = tally.dropped
        for counts in tally.requests:
            self._take_requests(tally, counts, now_s)
        for events in tally.events:
            self._take_events(tally.slot_s, events, now_s)

    def worker_gone(self, worker: int) -> None:
        """Keep what a worker that ended had lost."""
        _add_each(self._records_lost_by_ended, self._records_lost.pop(worker, {}))

    def _take_requests(self, tally: Tally, counts: RequestCounts, now_s: float) -> None:
        edges_s = tally.edges_s.get(counts.model)
        if edges_s is None or len(counts.buckets) != len(edges_s) + 1:
            self._dropped[_MALFORMED] += sum(counts.buckets)
        elif any(counts.buckets):
            self.costs.add(counts)
            if self.totals.add(counts, edges_s, now_s):
                self.recent.add(tally.slot_s, counts, edges_s, now_s)

    def _take_events(self, slot_s: int, told: SloEvents, now_s: float) -> None:
        events = EventCount(told.good, told.bad, told.ignored)
        objective = self._find(told)
        if objective is None:
            self._drop(_UNKNOWN, events)
            return
        match self.counts.add(_series(objective, told.model, told.version, told.tier), slot_s, events, now_s):
            case Fate.NOT_APART:
                self._drop(_NOT_APART, events)
            case Fate.TOO_LATE:
                self._drop(_TOO_LATE, events)

    def _find(self, told: SloEvents) -> Objective | None:
        for objectives in (self._objectives, self._expected, *(left for _, left in reversed(self._leaving))):
            for objective in objectives.get(told.model, ()):
                if objective.name == told.slo:
                    return objective
        return None

    def _drop(self, what: Dropped, events: EventCount) -> None:
        self._dropped[what] += events.total + events.ignored

    def judged(self, now_s: float) -> Iterator[Judged]:
        """Say of every objective of every model what is to be said now."""
        for model, objectives in self._objectives.items():
            for objective in objectives:
                yield Judged(objective, model, evaluate(objective, self.counts.of(objective.name, model), now_s))

    def judged_in_slot(self, now_s: float) -> list[Judged]:
        """Say it once in a slot, for those who ask at any time and often; what is newer they hear in the next."""
        slot = floor(now_s / SLOT_S)
        if self._judged_in_slot is None or self._judged_in_slot[0] != slot:
            self._judged_in_slot = slot, list(self.judged(now_s))
        return self._judged_in_slot[1]

    def judge_alerts(self, now_s: float) -> list[str]:
        """Decide at the end of a slot which alerts fire, and return an event line for each change.

        The slot that has just begun is left out: a window is whole slots.
        """
        at_s = floor(now_s / SLOT_S) * SLOT_S
        lines = [line for judged in self.judged(at_s) for line in self._judge(judged, at_s)]
        ended = self.alerts.end_others(self._alert_keys(), at_s)
        lines += [is_gone(subject(key.slo, key.model), key.name, at_s - since_s) for key, since_s in ended.items()]
        return lines

    def _judge(self, judged: Judged, at_s: float) -> Iterator[str]:
        about = subject(judged.objective.name, judged.model)
        found = judged.evaluation
        for alert, verdict in zip(judged.objective.alerts, found.verdicts, strict=True):
            key = alert_key(judged.objective, judged.model, alert)
            since_s = self.alerts.of(key).since_s
            if not self.alerts.judge(key, verdict, at_s):
                continue
            if verdict.fires:
                yield fires(about, alert, verdict, found.remaining_ratio, found.exhaustion_s)
            else:
                yield is_over(about, alert.name, at_s - (since_s or at_s))

    def tidy(self, now_s: float) -> None:
        """Forget what the policy no longer has and nobody asked for in a long time."""
        self._leaving = [(until_s, left) for until_s, left in self._leaving if 0.0 < until_s - now_s <= _LEAVE_AFTER_S]
        self.totals.tidy(self._versions, now_s)
        self.counts.forget([series for series, last_s in self.counts.last_s() if self._is_over(series, last_s, now_s)])

    def _is_over(self, series: Series, last_s: float, now_s: float) -> bool:
        objectives = self._objectives.get(series.model, ())
        objective = next((one for one in objectives if one.name == series.slo), None)
        if objective is not None and (not series.version or (series.model, series.version) in self._versions):
            return False
        keep_s = _KEEP_UNKNOWN_S if objective is None else objective.period_s
        return now_s - last_s > keep_s

    def take_changes(self, now_s: float) -> Changes:
        """Return what must be kept."""
        return Changes(self.counts.take_changed(), self.alerts.firing(), tuple(self.alerts.transitions), now_s)

    def not_kept(self, slots: tuple[SlotRow, ...]) -> None:
        """Note that these could not be kept, so that they are tried again."""
        self.counts.mark(slots)


def windows(objective: Objective) -> list[float]:
    """Return the windows of an objective's alerts, the shortest first."""
    return sorted({length_s for alert in objective.alerts for length_s in (alert.long_s, alert.short_s)})


def subject(slo: str, model: str) -> str:
    """Return how event lines name an objective of a model."""
    return f"slo {slo} of {model}"


def alert_key(objective: Objective, model: str, alert: BurnAlert) -> AlertKey:
    """Return the name of an alert among all."""
    return AlertKey(objective.name, model, alert.severity, alert.name)


def _series(objective: Objective, model: str, version: str, tier: str) -> Series:
    by = objective.by
    return Series(objective.name, model, version if "version" in by else "", tier if "tier" in by else "")


def _add_each(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
