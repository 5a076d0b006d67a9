"""Classify: what an event means to an objective; of requests in buckets of durations, all of a bucket mean the same."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from policies.snapshot.slos import Objective
from telemetry.slo.events import Meaning

# The caller left before it was answered. Nobody saw whether the answer would have been good; but that it did not come
# within the time that was promised, they saw.
CALLER_LEFT: Final = 499
# Upper edges of buckets of durations. Source: 1-2-5 steps, and the default boundaries of OpenTelemetry's HTTP
# conventions (0.25, 2.5) from which existing dashboards read.
USUAL_EDGES_S: Final = (
    *(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5),
    *(1.0, 2.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_WORST_FIRST: Final = (Meaning.BAD, Meaning.GOOD, Meaning.IGNORED)


def classify(
    objective: Objective, status: int, duration_s: float, first_byte_s: float | None = None, *, is_cold: bool = False
) -> Meaning:
    """Return what one request means to an objective about requests.

    A caller that left is ignored if it left in time, whatever statuses are named; if it waited longer, its request is
    bad, unless its status is named among those that are ignored. So is one that met a cold start, to an objective that
    says so.

    Args:
        status: what the caller got; 499 when it left before.
        duration_s: until the last byte was sent, or until the caller left.
        first_byte_s: until the first byte of the answer's body; None where that was with the last, or never.
        is_cold: no pod was ready for it when it came.
    """
    if objective.pod:
        is_as_promised = not is_cold
    elif objective.first_byte_within_s is not None:
        is_as_promised = (duration_s if first_byte_s is None else first_byte_s) <= objective.first_byte_within_s
    else:
        is_as_promised = objective.within_s is None or duration_s <= objective.within_s
    if status == CALLER_LEFT or (objective.pod and is_cold):
        is_named = status in (objective.ignore_status or ())
        return Meaning.IGNORED if is_as_promised or is_named else Meaning.BAD
    if _is_ignored(objective, status):
        return Meaning.IGNORED
    is_answered_well = status < objective.status_below or bool(objective.pod)
    return Meaning.GOOD if is_answered_well and is_as_promised else Meaning.BAD


def classify_load(objective: Objective, took_s: float, *, is_loaded: bool) -> Meaning:
    """Return what one load of a pod means to an objective about loads; a failed one is bad."""
    assert objective.loads_within_s is not None  # noqa: S101 - it is about loads
    return Meaning.GOOD if is_loaded and took_s <= objective.loads_within_s else Meaning.BAD


def worst(meanings: Iterable[Meaning]) -> Meaning:
    """Return what a request means to several objectives at once: bad if to one of them, else good if to one."""
    found = set(meanings)
    return next((meaning for meaning in _WORST_FIRST if meaning in found), Meaning.IGNORED)


def edges_for(objectives: Iterable[Objective]) -> tuple[float, ...]:
    """Return the edges of buckets in which each threshold of these objectives is one, so that no bucket is in doubt."""
    limits_s = {
        limit_s for one in objectives for limit_s in (one.within_s, one.first_byte_within_s) if limit_s is not None
    }
    return tuple(sorted(limits_s.union(USUAL_EDGES_S)))


def _is_ignored(objective: Objective, status: int) -> bool:
    if objective.ignore_status is None:
        return 400 <= status < 500
    return status in objective.ignore_status
