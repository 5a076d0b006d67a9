"""Tally: what settled requests meant, counted by kind and bucket; what they meant to objectives follows from that.

Settling adds one to a bucket of one series. The buckets' edges include the thresholds of the model's objectives, so
that a whole bucket is good, bad or ignored, and objectives need no count of their own on the way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from gateway.control.messages import LimitUses, RequestCounts, SloEvents
from gateway.dataplane.usage import NOT_TOLD, NOTHING_USED, Usage
from gateway.decide.decision import Decision
from gateway.decide.route import INFERENCES
from policies.snapshot import Objective
from telemetry.slo.classify import classify, edges_for, worst
from telemetry.slo.events import EventCount, Meaning

# Kinds of requests in one second. Beyond, tenants are no more told apart: there are at most a few hundred kinds then.
MAX_SERIES = 4096
OTHER_TENANTS = "other"
# Limits that are told apart in one second; what others did is counted under one name.
MAX_LIMITS = 1000
OTHER_LIMITS = "other"

Kind = tuple[str, str, str, str, int, str, bool]
"""Model, version, tenant, tier, status, reason, and whether it was an inference, which alone objectives count."""


class Meanings:
    """What each bucket of a model's requests with one status means.

    Attributes:
        by_objective: one meaning per bucket, for each objective of the model.
        outcomes: per bucket, the worst of all objectives; "" without one.
    """

    __slots__ = ("by_objective", "outcomes")

    def __init__(self, objectives: Sequence[Objective], edges_s: Sequence[float], status: int) -> None:
        longest_of = [*edges_s, float("inf")]
        self.by_objective = [
            [classify(objective, status, longest_s) for longest_s in longest_of] for objective in objectives
        ]
        self.outcomes = [
            str(worst(meanings)) if objectives else ""
            for meanings in (list(zip(*self.by_objective, strict=True)) or [()] * len(longest_of))
        ]


class _Series:
    __slots__ = (
        "body_bytes",
        "buckets",
        "device_us",
        "edges_s",
        "exemplar_s",
        "exemplar_trace",
        "meanings",
        "outcomes",
        "sum_s",
        "tokens",
    )

    def __init__(self, edges_s: tuple[float, ...], meanings: Meanings) -> None:
        self.edges_s = edges_s
        self.meanings = meanings
        self.outcomes = meanings.outcomes
        self.buckets = [0] * (len(edges_s) + 1)
        self.sum_s = 0.0
        self.exemplar_s = 0.0
        self.exemplar_trace = ""
        self.device_us = 0
        self.body_bytes = 0
        self.tokens = 0


class Tallies:
    """One worker's counts since they were last taken.

    Args:
        objectives: by model.
    """

    def __init__(self, objectives: Mapping[str, tuple[Objective, ...]]) -> None:
        self._objectives = objectives
        self._edges_s: dict[str, tuple[float, ...]] = {model: edges_for(own) for model, own in objectives.items()}
        self._usual_edges_s = edges_for(())
        self._meanings: dict[tuple[str, int, bool], Meanings] = {}
        self._series: dict[Kind, _Series] = {}

    def add(
        self,
        decision: Decision,
        status: int,
        reason: str,
        duration_s: float,
        kept_trace: str,
        usage: Usage = NOTHING_USED,
    ) -> str:
        """Count one settled request, and return what it meant: ``good``, ``bad``, ``ignored`` or "".

        Args:
            kept_trace: id of its trace when that is kept, "" otherwise.
            usage: what it used; device time that no pod told counts as none.
        """
        is_inference = decision.api in INFERENCES
        kind = (decision.model, decision.version, decision.tenant, decision.tier, status, reason, is_inference)
        series = self._series.get(kind) or self._open(kind)
        bucket = bisect_left(series.edges_s, duration_s)
        series.buckets[bucket] += 1
        series.sum_s += duration_s
        if kept_trace:
            series.exemplar_s = duration_s
            series.exemplar_trace = kept_trace
        if usage is not NOTHING_USED:
            series.body_bytes += usage.request_bytes + usage.response_bytes
            series.tokens += usage.tokens
            if usage.device_us != NOT_TOLD:
                series.device_us += usage.device_us
        return series.outcomes[bucket]

    def take(self) -> tuple[dict[str, tuple[float, ...]], tuple[RequestCounts, ...], tuple[SloEvents, ...]]:
        """Return edges by model, requests and events since the last time, and begin anew."""
        taken, self._series = self._series, {}
        edges_s = {kind[0]: series.edges_s for kind, series in taken.items()}
        requests = tuple(
            RequestCounts(
                *kind[:6],
                tuple(one.buckets),
                one.sum_s,
                one.exemplar_s,
                one.exemplar_trace,
                one.device_us,
                one.body_bytes,
                one.tokens,
            )
            for kind, one in taken.items()
        )
        return edges_s, requests, self._events(taken)

    def _events(self, taken: Mapping[Kind, _Series]) -> tuple[SloEvents, ...]:
        counts: defaultdict[tuple[str, str, str, str], EventCount] = defaultdict(EventCount)
        for (model, version, _, tier, _, _, is_inference), series in taken.items():
            objectives = self._counted_by(model, is_inference)
            for objective, meanings in zip(objectives, series.meanings.by_objective, strict=True):
                counts[objective.name, model, version, tier] += _summed(meanings, series.buckets)
        return tuple(SloEvents(*key, events.good, events.bad, events.ignored) for key, events in counts.items())

    def _open(self, kind: Kind) -> _Series:
        model, version, _, tier, status, reason, is_inference = kind
        if len(self._series) >= MAX_SERIES:
            kind = (model, version, OTHER_TENANTS, tier, status, reason, is_inference)
            if kind in self._series:
                return self._series[kind]
        edges_s = self._edges_s.get(model, self._usual_edges_s)
        meanings = self._meanings.get((model, status, is_inference))
        if meanings is None:
            meanings = Meanings(self._counted_by(model, is_inference), edges_s, status)
            self._meanings[model, status, is_inference] = meanings
        series = self._series[kind] = _Series(edges_s, meanings)
        return series

    def _counted_by(self, model: str, is_inference: bool) -> tuple[Objective, ...]:
        return self._objectives.get(model, ()) if is_inference else ()


class LimitUseCounts:
    """What limits did to one worker's requests since that was last taken."""

    def __init__(self) -> None:
        self._refused: dict[str, int] = {}
        self._observed: dict[str, int] = {}

    def add(self, decision: Decision) -> None:
        """Count the limits that refuse a request, and those that would if they were enforced."""
        if decision.refusal is not None and decision.refusal.limits:
            _count_each(self._refused, decision.refusal.limits)
        if decision.observed:
            _count_each(self._observed, decision.observed)

    def take(self) -> LimitUses:
        """Return the counts, and begin anew."""
        taken = LimitUses(self._refused, self._observed)
        self._refused, self._observed = {}, {}
        return taken


def _count_each(counts: dict[str, int], limits: Iterable[str]) -> None:
    for limit in limits:
        name = limit if limit in counts or len(counts) < MAX_LIMITS else OTHER_LIMITS
        counts[name] = counts.get(name, 0) + 1


def _summed(meanings: Sequence[Meaning], buckets: Sequence[int]) -> EventCount:
    by_meaning = dict.fromkeys(Meaning, 0)
    for meaning, count in zip(meanings, buckets, strict=True):
        by_meaning[meaning] += count
    return EventCount(by_meaning[Meaning.GOOD], by_meaning[Meaning.BAD], by_meaning[Meaning.IGNORED])
