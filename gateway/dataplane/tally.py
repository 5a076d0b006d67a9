"""Tally: what settled requests meant, counted by kind and bucket; what they meant to objectives follows from that.

Settling adds one to a bucket of one series. The buckets' edges include the thresholds of the model's objectives, so
that a whole bucket is good, bad or ignored, and objectives need no count of their own on the way.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import add
from typing import Final

from gateway.control.messages import LimitUses, RequestCounts, SloEvents
from gateway.dataplane.usage import NOT_TOLD, NOTHING_USED, Usage
from gateway.decide.decision import Decision
from gateway.decide.route import INFERENCES
from policies.snapshot.slos import Objective
from telemetry.slo.classify import classify, edges_for, worst
from telemetry.slo.events import EventCount, Meaning

# Kinds of requests in one second. Beyond, tenants are no more told apart: there are at most a few hundred kinds then.
MAX_SERIES = 4096
OTHER_TENANTS = "other"
# Limits that are told apart in one second; what others did is counted under one name.
MAX_LIMITS = 1000
OTHER_LIMITS = "other"

# Requests that objectives do not count, those that they do, and of these the ones that met a cold start.
NO_INFERENCE, INFERENCE, COLD_INFERENCE = 0, 1, 2

Kind = tuple[str, str, str, str, int, str, int]
"""Model, version, tenant, tier, status, reason, and what objectives see in it, such as ``INFERENCE``."""


class Meanings:
    """What each bucket of a model's requests with one status means.

    Attributes:
        names: of the objectives.
        by_objective: one meaning per bucket, for each objective of the model.
        by_first_byte: of each of them, whether the bucket is that of the first byte, where this was not the last too.
        outcomes: per bucket, the worst of all objectives; "" without one.
    """

    __slots__ = ("by_first_byte", "by_objective", "names", "outcomes")

    def __init__(
        self, objectives: Sequence[Objective], edges_s: Sequence[float], status: int, *, is_cold: bool = False
    ) -> None:
        self.names = [objective.name for objective in objectives]
        longest_of = [*edges_s, float("inf")]
        self.by_objective = [
            [classify(objective, status, longest_s, is_cold=is_cold) for longest_s in longest_of]
            for objective in objectives
        ]
        self.by_first_byte = [objective.first_byte_within_s is not None for objective in objectives]
        self.outcomes = [
            str(worst(meanings)) if objectives else ""
            for meanings in (list(zip(*self.by_objective, strict=True)) or [()] * len(longest_of))
        ]

    def outcome(self, bucket: int, first_byte_bucket: int) -> str:
        """Return the worst that a request means whose first byte came in another bucket than its last."""
        return str(
            worst(
                meanings[first_byte_bucket if is_first else bucket]
                for meanings, is_first in zip(self.by_objective, self.by_first_byte, strict=True)
            )
        )


class Series:
    """Requests of one kind since they were last taken.

    Attributes:
        is_taken: somebody has taken what it counted; what comes is another one's to count.
        moved: what is to be added to ``buckets`` to have them by first byte; None where they are the same.
    """

    __slots__ = (
        "body_bytes",
        "buckets",
        "device_us",
        "edges_s",
        "exemplar_s",
        "exemplar_trace",
        "is_taken",
        "meanings",
        "moved",
        "outcomes",
        "sum_s",
        "tokens",
    )

    def __init__(self, edges_s: tuple[float, ...], meanings: Meanings) -> None:
        self.edges_s = edges_s
        self.meanings = meanings
        self.outcomes = meanings.outcomes
        self.buckets = [0] * (len(edges_s) + 1)
        self.moved: list[int] | None = None
        self.sum_s = 0.0
        self.exemplar_s = 0.0
        self.exemplar_trace = ""
        self.device_us = 0
        self.body_bytes = 0
        self.tokens = 0
        self.is_taken = False

    def add(self, duration_s: float, kept_trace: str) -> str:
        """Count one, and return what it meant: ``good``, ``bad``, ``ignored`` or "".

        Args:
            kept_trace: id of its trace when that is kept, "" otherwise.
        """
        bucket = bisect_left(self.edges_s, duration_s)
        self.buckets[bucket] += 1
        self.sum_s += duration_s
        if kept_trace:
            self.exemplar_s = duration_s
            self.exemplar_trace = kept_trace
        return self.outcomes[bucket]

    def add_streamed(self, duration_s: float, first_byte_s: float, kept_trace: str) -> str:
        """Count one whose answer came as it was made, and return what it meant."""
        outcome = self.add(duration_s, kept_trace)
        if True not in self.meanings.by_first_byte:
            return outcome
        bucket, first_byte_bucket = (bisect_left(self.edges_s, length_s) for length_s in (duration_s, first_byte_s))
        self.moved = self.moved or [0] * len(self.buckets)
        self.moved[bucket] -= 1
        self.moved[first_byte_bucket] += 1
        return self.meanings.outcome(bucket, first_byte_bucket)

    def add_buckets(self, other: Series) -> None:
        """Count in whose meanings are the same; of them only what they meant is known from here."""
        self.buckets = list(map(add, self.buckets, other.buckets))
        if other.moved is not None:
            self.moved = list(map(add, self.moved or [0] * len(self.buckets), other.moved))

    def events(self) -> list[EventCount]:
        """Return what they meant, for each objective of the model."""
        by_first_byte = self.buckets if self.moved is None else list(map(add, self.buckets, self.moved))
        return [
            _summed(meanings, by_first_byte if is_first else self.buckets)
            for meanings, is_first in zip(self.meanings.by_objective, self.meanings.by_first_byte, strict=True)
        ]


NO_SERIES: Final = Series((), Meanings((), (), 200))
NO_SERIES.is_taken = True


class Tallies:
    """One worker's counts since they were last taken.

    Args:
        objectives: by model; those about something else than requests are left out.
    """

    def __init__(self, objectives: Mapping[str, tuple[Objective, ...]]) -> None:
        self._objectives = {
            model: tuple(one for one in own if one.events == "requests") for model, own in objectives.items()
        }
        self._edges_s: dict[str, tuple[float, ...]] = {model: edges_for(own) for model, own in objectives.items()}
        self._usual_edges_s = edges_for(())
        self._meanings: dict[tuple[str, int, int], Meanings] = {}
        self._series: dict[Kind, Series] = {}

    def add(
        self,
        decision: Decision,
        status: int,
        reason: str,
        duration_s: float,
        kept_trace: str,
        usage: Usage = NOTHING_USED,
        first_byte_s: float | None = None,
        *,
        is_cold: bool = False,
    ) -> str:
        """Count one settled request, and return what it meant: ``good``, ``bad``, ``ignored`` or "".

        Args:
            kept_trace: id of its trace when that is kept, "" otherwise.
            usage: what it used; device time that no pod told counts as none.
            first_byte_s: how long its answer's first byte took; None where that came with the last, or never.
            is_cold: no pod was ready for it when it came.
        """
        seen_as = NO_INFERENCE
        if decision.api in INFERENCES:
            seen_as = COLD_INFERENCE if is_cold else INFERENCE
        series = self.series(
            (decision.model, decision.version, decision.tenant, decision.tier, status, reason, seen_as)
        )
        outcome = (
            series.add(duration_s, kept_trace)
            if first_byte_s is None
            else series.add_streamed(duration_s, first_byte_s, kept_trace)
        )
        if usage is not NOTHING_USED:
            series.body_bytes += usage.request_bytes + usage.response_bytes
            series.tokens += usage.tokens
            if usage.device_us != NOT_TOLD:
                series.device_us += usage.device_us
        return outcome

    def series(self, kind: Kind) -> Series:
        """Return where requests of a kind are counted, until they are taken."""
        return self._series.get(kind) or self._open(kind)

    def take(self) -> tuple[dict[str, tuple[float, ...]], tuple[RequestCounts, ...], tuple[SloEvents, ...]]:
        """Return edges by model, requests and events since the last time, and begin anew."""
        taken, self._series = self._series, {}
        for series in taken.values():
            series.is_taken = True
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

    def _events(self, taken: Mapping[Kind, Series]) -> tuple[SloEvents, ...]:
        # Requests of thousands of tenants may mean the same: their buckets are summed before they are read.
        alike: dict[tuple[str, str, str, Meanings], Series] = {}
        for (model, version, _, tier, _, _, _), series in taken.items():
            key = (model, version, tier, series.meanings)
            sums = alike.get(key)
            if sums is None:
                sums = alike[key] = Series(series.edges_s, series.meanings)
            sums.add_buckets(series)
        counts: defaultdict[tuple[str, str, str, str], EventCount] = defaultdict(EventCount)
        for (model, version, tier, meanings), sums in alike.items():
            for name, events in zip(meanings.names, sums.events(), strict=True):
                counts[name, model, version, tier] += events
        return tuple(SloEvents(*key, events.good, events.bad, events.ignored) for key, events in counts.items())

    def _open(self, kind: Kind) -> Series:
        model, version, _, tier, status, reason, seen_as = kind
        if len(self._series) >= MAX_SERIES:
            kind = (model, version, OTHER_TENANTS, tier, status, reason, seen_as)
            if kind in self._series:
                return self._series[kind]
        edges_s = self._edges_s.get(model, self._usual_edges_s)
        meanings = self._meanings.get((model, status, seen_as))
        if meanings is None:
            is_cold = seen_as == COLD_INFERENCE
            meanings = Meanings(self._counted_by(model, seen_as), edges_s, status, is_cold=is_cold)
            self._meanings[model, status, seen_as] = meanings
        series = self._series[kind] = Series(edges_s, meanings)
        return series

    def _counted_by(self, model: str, seen_as: int) -> tuple[Objective, ...]:
        return self._objectives.get(model, ()) if seen_as != NO_INFERENCE else ()


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
