"""Classify: what a settled request means to an objective, one by one or by buckets of durations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from typing import Final

from policies.snapshot import Objective
from telemetry.slo.events import EventCount, Meaning

# The caller left before it was answered: nobody saw whether it would have been good.
CALLER_LEFT: Final = 499
# Upper edges of buckets of durations. Source: 1-2-5 steps, and the default boundaries of OpenTelemetry's HTTP
# conventions (0.25, 2.5) from which existing dashboards read.
USUAL_EDGES_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5),
    *(1.0, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_WORST_FIRST: Final = (Meaning.BAD, Meaning.GOOD, Meaning.IGNORED)


def classify(objective: Objective, status: int, duration_s: float) -> Meaning:
    """Return what one request means.

    Args:
        status: what the caller got; 499 when it left before.
        duration_s: until the last byte was sent.
    """
    if _is_ignored(objective, status):
        return Meaning.IGNORED
    is_in_time = objective.within_s is None or duration_s <= objective.within_s
    return Meaning.GOOD if status < objective.status_below and is_in_time else Meaning.BAD


def worst(meanings: Iterable[Meaning]) -> Meaning:
    """Return what a request means to several objectives at once: bad if to one of them, else good if to one."""
    found = set(meanings)
    return next((meaning for meaning in _WORST_FIRST if meaning in found), Meaning.IGNORED)


def edges_for(objectives: Iterable[Objective]) -> tuple[float, ...]:
    """Return the edges of buckets in which each threshold of these objectives is one, so that no bucket is in doubt."""
    thresholds_s = {objective.within_s for objective in objectives if objective.within_s is not None}
    return tuple(sorted(thresholds_s.union(USUAL_EDGES_S)))


def classify_buckets(objective: Objective, status: int, edges_s: Sequence[float], buckets: Sequence[int]) -> EventCount:
    """Return what requests with one status mean, known only by buckets of their durations.

    A bucket is in time if its upper edge is. Where the objective's threshold is not among the edges, the bucket that it
    parts counts as too slow: an objective is never better for what is not known.

    Args:
        edges_s: upper edges, ascending; an edge belongs to the bucket below it.
        buckets: requests up to each edge, not cumulative, and at last those above all: one more than edges.
    """
    counts = dict.fromkeys(Meaning, 0)
    for longest_s, count in zip((*edges_s, inf), buckets, strict=True):
        counts[classify(objective, status, longest_s)] += count
    return EventCount(counts[Meaning.GOOD], counts[Meaning.BAD], counts[Meaning.IGNORED])


def _is_ignored(objective: Objective, status: int) -> bool:
    if status == CALLER_LEFT:
        return True
    if objective.ignore_status is None:
        return 400 <= status < 500
    return status in objective.ignore_status
