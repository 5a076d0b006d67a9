"""Counts settled requests, loads of pods and late labels for objectives, and decides which alerts fire.

Counts stay under the name of their objective and model. An objective whose target changes is judged by it at once, over
all that was counted; one that takes other requests for good counts so from then on, and what was counted stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice, product
from math import floor

from msgspec import Struct
from msgspec.structs import replace

from gateway.control.cost_totals import CostTotals
from gateway.control.limit_totals import LimitTotals
from gateway.control.messages import SLOT_S, RequestCounts, SloEvents, Tally
from gateway.control.recent_models import RecentModels
from gateway.control.request_totals import RequestTotals
from gateway.control.series_room import SeriesRoom
from gateway.control.slo_alerts import AlertStates
from gateway.control.slo_blame import blame
from gateway.control.slo_counts import Fate, Pair, SloCounts
from gateway.control.slo_kept import AlertKey, Changes, Notice, Remembered, Series, SlotRow
from gateway.control.slo_loads import LoadBook
from gateway.control.slo_notices import blamed, notice, notice_of_gone
from gateway.control.slo_past import AlertPast
from gateway.control.slo_words import fires, is_gone, is_over, still_fires
from gateway.copies.messages import LabelEvent
from model_pod.wire.refusals import Refused
from model_pod.wire.status import PodStatus
from policies.snapshot.generation import Snapshot, objectives_by_model
from policies.snapshot.mesh import Mesh
from policies.snapshot.slos import BurnAlert, EventSort, Objective
from telemetry.slo.alerts import Alert, Verdict, alerts_of, windows
from telemetry.slo.attended import Attended
from telemetry.slo.classify import classify_load, edges_for
from telemetry.slo.evaluate import Evaluation, evaluate
from telemetry.slo.events import NO_EVENTS, ONE, EventCount, Meaning

Dropped = tuple[str, str]
"""What was not counted or not told, and why."""

_RECORDS = "records"
_MALFORMED: Dropped = ("requests", "malformed")
_UNKNOWN: Dropped = ("slo_events", "unknown_objective")
_NOT_APART: Dropped = ("slo_events", "series_full")
_TOO_LATE: Dropped = ("slo_events", "too_late")
_UNTOLD: Dropped = ("slo_loads", "untold")
_NOT_RESTORED: Dropped = ("slo_series", "series_full")
_NO_SERIES: Dropped = ("series", "full")
# Of an objective that the policy no longer has: it may come back.
_KEEP_UNKNOWN_S = 30 * 86_400.0
# How long events are counted for the objectives of the generation before: workers commit each at its time, and tell
# once a second.
_LEAVE_AFTER_S = 10.0
# More alerts do not begin or end in one slot of any mesh that people read.
MAX_NEWS = 4096
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
        self.past = AlertPast()
        self.loads = LoadBook()
        self._started_s = started_s
        self.attended = Attended()
        self._mesh = Mesh("")
        self._firing_notices: dict[AlertKey, Notice] = {}
        self._firing_in_slot: tuple[int, list[Notice]] | None = None
        self._news: deque[Notice] = deque(maxlen=MAX_NEWS)
        self._objectives: Objectives = {}
        self._expected: Objectives = {}
        self._leaving: list[tuple[float, Objectives]] = []
        self._versions: frozenset[tuple[str, str]] = frozenset()
        self._shown: frozenset[Pair] = frozenset()
        self._not_shown = 0
        self._judged_in_slot: tuple[int, list[Judged]] | None = None
        self._dropped = dict.fromkeys((_MALFORMED, _UNKNOWN, _NOT_APART, _NOT_RESTORED, _TOO_LATE, _UNTOLD), 0)
        self._records_lost: dict[int, dict[str, int]] = {}
        self._records_lost_by_ended: dict[str, int] = {}

    @property
    def objectives(self) -> Objectives:
        """The objectives in force by model."""
        return self._objectives

    @property
    def mesh(self) -> Mesh:
        """The mesh as policy in force names it."""
        return self._mesh

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
        """Count and judge by this generation; every version has its counts from now on, be they 0.

        Whoever reads counters sees growth alone: what a series begins with, if not 0, is lost there. Stable versions go
        first, should there not be room for all.

        For some seconds, what is told of the generation before is counted too, and then expected no more.
        """
        self._leaving.append((now_s + _LEAVE_AFTER_S, self._objectives))
        self._objectives, self._expected = objectives_by_model(snapshot), {}
        self._mesh = snapshot.mesh
        self._judged_in_slot = self._firing_in_slot = None
        self._versions = frozenset((r.model, version) for r in snapshot.routes.values() for version in r.versions)
        self._show_what_fits()
        self.totals.use_edges({model: edges_for(own) for model, own in self._objectives.items()})
        for is_stable in (True, False):
            for model, objectives in self._objectives.items():
                route = snapshot.routes[model]
                versions = [one for one in route.versions if (one == route.stable) is is_stable]
                self._open(objectives, model, versions, snapshot.tiers)

    def _open(
        self, objectives: Iterable[Objective], model: str, versions: Collection[str], tiers: Collection[str]
    ) -> None:
        for objective, version in product(objectives, versions):
            for tier in tiers if "tier" in objective.by else ("",):
                self.counts.open(_series(objective, model, version, tier))

    def _show_what_fits(self) -> None:
        """Choose the objectives that metrics have room for: their number is the policy's, and no request's doing."""
        room = SeriesRoom()
        self._shown = frozenset(
            (one.name, model)
            for model, own in self._objectives.items()
            for one in own
            if room.take(len(alerts_of(one)) + len(windows(one)) + _OF_EACH)
        )
        self._not_shown += room.refused

    def objective(self, slo: str, model: str) -> Objective:
        """Return an objective of a model.

        Raises:
            Refused: there is none of this name.
        """
        found = next((one for one in self._objectives.get(model, ()) if one.name == slo), None)
        if found is None:
            raise Refused("objective_not_found", f"The model {model[:64]} has no objective {slo[:64]}.")
        return found

    def is_shown(self, slo: str, model: str) -> bool:
        """Whether metrics have room for an objective; also one that is judged no more is not shown."""
        return (slo, model) in self._shown

    def restore(self, remembered: Remembered) -> int:
        """Add what was kept to what was counted meanwhile, and return how many series found no room."""
        in_policy = {(one.name, model) for model, own in self._objectives.items() for one in own}
        refused = self.counts.restore(remembered.series, in_policy)
        self._dropped[_NOT_RESTORED] += refused
        self.alerts.restore(remembered)
        self.past.restore(remembered.episodes)
        self.loads.restore(remembered.loads)
        self.attended.restore(remembered.attended)
        self._judged_in_slot = self._firing_in_slot = None
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
            alert_key(one, model, at) for model, own in self._objectives.items() for one in own for at in alerts_of(one)
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
        else:
            self._count(_series(objective, told.model, told.version, told.tier), slot_s, events, now_s)

    def take_loads(self, model: str, version: str, status: PodStatus, now_s: float, *, is_all_known: bool) -> None:
        """Count the loads that a pod tells of, each once, in the slot in which it ended.

        Args:
            is_all_known: what was counted before this start is known; else only what ended since then is counted.
        """
        news = self.loads.take(status, 0.0 if is_all_known else self._started_s)
        for objective in self._about("loads", model):
            self._dropped[_UNTOLD] += news.untold
            for load in news.loads:
                meaning = classify_load(objective, load.took_s, is_loaded=load.is_loaded)
                self._count(_series(objective, model, version, ""), _slot_of(load.ended_s), ONE[meaning], now_s)

    def take_labels(self, labels: Iterable[LabelEvent], now_s: float) -> None:
        """Count labels that were told, each in the slot in which its request began."""
        counts: dict[tuple[Series, int], EventCount] = {}
        for label in labels:
            one = ONE[Meaning.GOOD if label.is_right else Meaning.BAD]
            for objective in self._about("labels", label.model):
                key = _series(objective, label.model, label.version, label.tier), _slot_of(label.at_s)
                counts[key] = counts.get(key, NO_EVENTS) + one
        for (series, slot_s), events in counts.items():
            self._count(series, slot_s, events, now_s)

    def _about(self, events: EventSort, model: str) -> Iterator[Objective]:
        return (one for one in self._objectives.get(model, ()) if one.events == events)

    def _count(self, series: Series, slot_s: int, events: EventCount, now_s: float) -> None:
        match self.counts.add(series, slot_s, events, now_s):
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
        self._firing_in_slot = None
        lines = [line for judged in self.judged(at_s) for line in self._judge(judged, at_s)]
        ended = self.alerts.end_others(self._alert_keys(), at_s)
        for key, since_s in ended.items():
            self.past.ends(key, at_s)
            self._tell_end(key, since_s, at_s)
        lines += [is_gone(subject(key.slo, key.model), key.name, at_s - since_s) for key, since_s in ended.items()]
        return lines

    def _judge(self, judged: Judged, at_s: float) -> Iterator[str]:
        about = subject(judged.objective.name, judged.model)
        found = judged.evaluation
        for alert, verdict in zip(alerts_of(judged.objective), found.verdicts, strict=True):
            key = alert_key(judged.objective, judged.model, alert)
            since_s = self.alerts.of(key).since_s
            is_new = self.alerts.judge(key, verdict, at_s)
            if verdict.fires:
                self.past.fires(key, alert.tier, self.alerts.of(key).since_s or at_s, verdict.long_burn)
            if not is_new:
                continue
            if verdict.fires:
                self._news.append(self._notice(judged, key, (alert, verdict), at_s))
                yield fires(about, alert, verdict, found.remaining_ratio, found.exhaustion_s)
            else:
                self.past.ends(key, at_s)
                self._notice(judged, key, (alert, verdict), at_s)
                self._tell_end(key, since_s or at_s, at_s)
                yield is_over(about, alert.name, at_s - (since_s or at_s))

    def _notice(self, judged: Judged, key: AlertKey, found: tuple[Alert, Verdict], now_s: float) -> Notice:
        since_s = self.alerts.of(key).since_s or 0.0
        told = notice(self._mesh, judged.objective, key, *found, judged.evaluation, since_s)
        # Whoever is to blame now: an exhausted budget's own window is the whole period.
        lately_s = min((one.short_s for one in judged.objective.alerts), default=found[0].short_s)
        to_blame = blame(self.counts, self.totals.durations, (judged.objective, judged.model), lately_s, now_s)
        self._firing_notices[key] = told = blamed(told, self._mesh, to_blame)
        return told

    def _tell_end(self, key: AlertKey, since_s: float, at_s: float) -> None:
        told = self._firing_notices.pop(key, None) or notice_of_gone(self._mesh, key, since_s)
        self._news.append(replace(told, began_s=since_s, ended_s=at_s))

    def take_news(self) -> list[Notice]:
        """Return what is new of alerts since the last time, oldest first."""
        news = list(self._news)
        self._news.clear()
        return news

    def firing_notices(self, now_s: float) -> list[Notice]:
        """Return the alerts that fire, with what there is to say of them now; it is said once in a slot."""
        slot = floor(now_s / SLOT_S)
        if self._firing_in_slot is None or self._firing_in_slot[0] != slot:
            self._firing_in_slot = slot, list(islice(self._firing_now(now_s), MAX_NEWS))
        return self._firing_in_slot[1]

    def _firing_now(self, now_s: float) -> Iterator[Notice]:
        firing = self.alerts.firing()
        for judged in self.judged_in_slot(now_s) if firing else ():
            for alert, verdict in zip(alerts_of(judged.objective), judged.evaluation.verdicts, strict=True):
                key = alert_key(judged.objective, judged.model, alert)
                if key in firing:
                    yield self._notice(judged, key, (alert, verdict), now_s)

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
        return Changes(
            self.counts.take_changed(),
            self.alerts.firing(),
            tuple(self.alerts.transitions),
            now_s,
            self.attended.times,
            loads=self.loads.counted,
            episodes=self.past.episodes,
        )

    def not_kept(self, slots: tuple[SlotRow, ...]) -> None:
        """Note that these could not be kept, so that they are tried again."""
        self.counts.mark(slots)


def subject(slo: str, model: str) -> str:
    """Return how event lines name an objective of a model."""
    return f"slo {slo} of {model}"


def alert_key(objective: Objective, model: str, alert: BurnAlert | Alert) -> AlertKey:
    """Return the name of an alert among all."""
    return AlertKey(objective.name, model, alert.severity, alert.name)


def _slot_of(at_s: float) -> int:
    return floor(at_s / SLOT_S) * SLOT_S


def _series(objective: Objective, model: str, version: str, tier: str) -> Series:
    by = objective.by
    return Series(objective.name, model, version if "version" in by else "", tier if "tier" in by else "")


def _add_each(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        total[name] = total.get(name, 0) + count
