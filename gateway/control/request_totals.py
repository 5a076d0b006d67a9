"""Settled requests since the supervisor's start, by kind and by duration, as Prometheus reads them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from math import inf

from msgspec import Struct

from gateway.control.busy_tenants import BusyTenants
from gateway.control.cost_totals import Cost
from gateway.control.messages import RequestCounts
from gateway.control.series_room import SeriesRoom

# Every bucket is a series; so are the one without an upper edge, the sum and the count.
_BESIDE_EDGES = 3
# Device time, bytes and tokens.
_OF_A_COST = 3
# How long the counts of a model or version that the policy no longer has are shown after its last request.
_FORGET_AFTER_S = 3600.0


class RequestKind(Struct, frozen=True):
    """Labels of ``penstock_requests_total``."""

    model: str
    version: str
    tenant: str
    code_class: str
    reason: str


class DurationKind(Struct, frozen=True):
    """Labels of ``penstock_request_duration_seconds``."""

    model: str
    version: str
    code_class: str


class ChargedKind(Struct, frozen=True):
    """Labels of ``penstock_charged_device_seconds_total`` and its like."""

    model: str
    version: str
    tenant: str


class Exemplar(Struct, frozen=True):
    """One request whose trace is kept; ``at_s`` is when it was told, in seconds since the epoch."""

    duration_s: float
    trace_id: str
    at_s: float


class Durations:
    """One histogram.

    Attributes:
        buckets: not cumulative; the last is above every edge.
        exemplars: the latest of each bucket that has one.
    """

    def __init__(self, edges_s: tuple[float, ...]) -> None:
        self.edges_s = edges_s
        self.buckets = [0] * (len(edges_s) + 1)
        self.sum_s = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    @property
    def count(self) -> int:
        """How many requests it has."""
        return sum(self.buckets)

    def add(self, counts: RequestCounts, edges_s: Sequence[float], now_s: float) -> None:
        """Add requests that were counted by these edges."""
        for bucket, count in enumerate(regridded(counts.buckets, edges_s, self.edges_s)):
            self.buckets[bucket] += count
        self.sum_s += counts.sum_s
        if counts.exemplar_trace:
            self._show(Exemplar(counts.exemplar_s, counts.exemplar_trace, now_s))

    def use_edges(self, edges_s: tuple[float, ...]) -> None:
        """Go on with other edges."""
        self.buckets = regridded(self.buckets, self.edges_s, edges_s)
        self.edges_s = edges_s
        shown, self.exemplars = self.exemplars, {}
        for exemplar in shown.values():
            self._show(exemplar)

    def _show(self, exemplar: Exemplar) -> None:
        self.exemplars[bisect_left(self.edges_s, exemplar.duration_s)] = exemplar


def regridded(buckets: Sequence[int], edges_s: Sequence[float], to_s: Sequence[float]) -> list[int]:
    """Return counts by other edges: each goes to the first that is not below its own.

    So every cumulative count is exact at an edge that both have, and none is ever too large.
    """
    if edges_s == to_s:
        return list(buckets)
    counts = [0] * (len(to_s) + 1)
    for edge_s, count in zip((*edges_s, inf), buckets, strict=True):
        counts[bisect_left(to_s, edge_s)] += count
    return counts


class RequestTotals:
    """Counts of all workers that were ever told.

    Attributes:
        by_class: every request by class of its status, without any bound on names.
        charged: what requests cost, of those that cost anything.
    """

    def __init__(self, room: SeriesRoom) -> None:
        self.by_class: dict[str, int] = {}
        self.requests: dict[RequestKind, int] = {}
        self.durations: dict[DurationKind, Durations] = {}
        self.charged: dict[ChargedKind, Cost] = {}
        self._room = room
        self._tenants = BusyTenants()
        self._edges_s: Mapping[str, tuple[float, ...]] = {}
        self._last_s: dict[tuple[str, str], float] = {}

    @property
    def refused(self) -> int:
        """How often a count found no room for its series."""
        return self._room.refused

    def add(self, counts: RequestCounts, edges_s: tuple[float, ...], now_s: float) -> bool:
        """Add what a worker settled; whether its version has room, and what finds none is counted there."""
        code_class = class_of(counts.status)
        requests = sum(counts.buckets)
        self.by_class[code_class] = self.by_class.get(code_class, 0) + requests
        self._last_s[counts.model, counts.version] = now_s
        tenant = self._tenants.label(counts.tenant, requests)
        kind = RequestKind(counts.model, counts.version, tenant, code_class, counts.reason)
        if kind in self.requests or self._room.take(1):
            self.requests[kind] = self.requests.get(kind, 0) + requests
        durations = self._durations(DurationKind(counts.model, counts.version, code_class), edges_s)
        if counts.device_us or counts.body_bytes or counts.tokens:
            self._charge(ChargedKind(counts.model, counts.version, tenant), counts)
        if durations is None:
            return False
        durations.add(counts, edges_s, now_s)
        return True

    def _charge(self, kind: ChargedKind, counts: RequestCounts) -> None:
        if kind in self.charged or self._room.take(_OF_A_COST):
            self.charged.setdefault(kind, Cost()).add(counts)

    def _durations(self, kind: DurationKind, edges_s: tuple[float, ...]) -> Durations | None:
        known = self.durations.get(kind)
        own_s = self._edges_s.get(kind.model, edges_s)
        if known is None and self._room.take(len(own_s) + _BESIDE_EDGES):
            known = self.durations[kind] = Durations(own_s)
        return known

    def use_edges(self, edges_s: Mapping[str, tuple[float, ...]]) -> None:
        """Go on with the edges that models have from now on; other models go on with those they had."""
        self._edges_s = edges_s
        for kind, durations in self.durations.items():
            wanted = edges_s.get(kind.model, durations.edges_s)
            self._room.give(len(durations.edges_s) - len(wanted))
            durations.use_edges(wanted)

    def tidy(self, in_policy: Collection[tuple[str, str]], now_s: float) -> None:
        """Forget tenants that are no longer among the busiest, and models and versions that are gone and silent."""
        lost = self._tenants.rank()
        # Refusals before a version was known are the model's, and those before a model was known nobody's.
        there = {("", ""), *in_policy, *((model, "") for model, _ in in_policy)}
        gone = {
            version
            for version, last_s in self._last_s.items()
            if version not in there and now_s - last_s > _FORGET_AFTER_S
        }
        if not lost and not gone:
            return
        for kind in [one for one in self.requests if one.tenant in lost or (one.model, one.version) in gone]:
            del self.requests[kind]
            self._room.give(1)
        for charged in [one for one in self.charged if one.tenant in lost or (one.model, one.version) in gone]:
            del self.charged[charged]
            self._room.give(_OF_A_COST)
        for durable in [one for one in self.durations if (one.model, one.version) in gone]:
            self._room.give(len(self.durations.pop(durable).edges_s) + _BESIDE_EDGES)
        for version in gone:
            del self._last_s[version]


def class_of(status: int) -> str:
    """Return the class of a status, such as ``2xx``."""
    return f"{status // 100}xx"
