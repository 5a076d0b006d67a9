"""Decides which records are kept at once and why; the others may still be kept for the sake of a trace's other half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from policies.snapshot.slos import Objective
from telemetry.records import GatewayCopy, GatewayRequest, PodBatch, PodLoad, PodRequest, Record
from telemetry.sampling import in_share, is_slow, share
from telemetry.sidecar.recent import Pace, RecentDurations

# Errors and slow requests beyond this are themselves a crowd, of which a consistent share is kept.
EXCEPTIONS_PER_S = 20.0
OWN_TRACES_PER_S = 20.0
# A share is of ids that chance chose. A caller may choose others, so there is a bound that looks at no id besides.
AT_MOST = 2.0
MODELS = 256
"""Models of which durations are remembered; of others only objectives tell what is slow."""
REMEMBERED_S = 5.0
"""So long a p99 holds before it is worked out anew."""


class Kept(StrEnum):
    """Why a trace is kept: the values of ``penstock.kept``."""

    SHARE = "share"
    ERROR = "error"
    BAD = "bad"
    SLOW = "slow"
    LINKED = "linked"


class Judge:
    """What one sidecar decides by: the objectives, and what has been usual lately."""

    def __init__(self) -> None:
        self._within_s: dict[str, float] = {}
        self._usual: dict[str, _Usual] = {}
        self._exceptions = _Ration(EXCEPTIONS_PER_S)
        self._own_traces = _Ration(OWN_TRACES_PER_S)

    def heed(self, objectives: Mapping[str, Sequence[Objective]]) -> None:
        """Judge by these objectives from now on."""
        limits = {
            model: [o.within_s for o in of_model if o.within_s is not None] for model, of_model in objectives.items()
        }
        self._within_s = {model: min(within_s) for model, within_s in limits.items() if within_s}

    def judge(self, record: Record, model: str, now_s: float) -> Kept | None:
        """Return why a record is kept by itself; None when that is left to its trace.

        Args:
            model: of the record; "" when there is none.
        """
        match record:
            case PodLoad():
                return Kept.ERROR if record.message else Kept.SHARE
            case PodBatch():
                return None  # for the sake of its members
            case GatewayCopy():  # for the sake of the request that was copied
                return Kept.SHARE if record.sampled else None
        is_late = self._is_slow(model, record.ended_s - record.started_s, record.status, now_s)
        if record.sampled:
            return Kept.SHARE
        why = _why_exceptional(record, is_late)
        return why if why and self._exceptions.takes(record.trace_id, now_s) else None

    def judge_trace(self, trace_id: str, now_s: float) -> Kept | None:
        """Return why a trace is kept that begins in a process of its own, such as a handler's thread."""
        return Kept.SHARE if self._own_traces.takes(trace_id, now_s) else None

    def _is_slow(self, model: str, duration_s: float, status: int, now_s: float) -> bool:
        """Whether an answer came late; a refusal is quick, and says nothing of how long answers take."""
        if status >= 400:
            return False
        within_s = self._within_s.get(model)
        usual = self._usual.get(model)
        if usual is None:
            if len(self._usual) >= MODELS:
                return is_slow(duration_s, None, within_s)
            usual = self._usual[model] = _Usual()
        return is_slow(duration_s, usual.p99_before_s(duration_s, now_s), within_s)


class _Ration:
    """Takes so many per second of those that come, and beyond that a consistent share.

    Args:
        per_s: about; never more than ``AT_MOST`` times as many in one second.
    """

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._came = Pace()
        self._taken = Pace()

    def takes(self, trace_id: str, now_s: float) -> bool:
        """Count one that comes, and say whether it is taken."""
        self._came.add(now_s)
        is_taken = self._taken.so_far(now_s) < AT_MOST * self._per_s and in_share(
            trace_id, share(self._per_s, self._came.per_s(now_s))
        )
        if is_taken:
            self._taken.add(now_s)
        return is_taken


class _Usual:
    """How long a model's requests take."""

    def __init__(self) -> None:
        self._durations = RecentDurations()
        self._p99_s: float | None = None
        self._again_s = 0.0

    def p99_before_s(self, duration_s: float, now_s: float) -> float | None:
        """Return the p99 of the requests before this one, and count this one."""
        if now_s >= self._again_s:
            self._p99_s = self._durations.p99_s(now_s)
            self._again_s = now_s + REMEMBERED_S
        self._durations.add(duration_s, now_s)
        return self._p99_s


def _why_exceptional(record: GatewayRequest | PodRequest, is_late: bool) -> Kept | None:
    attempts = record.attempts if isinstance(record, GatewayRequest) else ()
    if record.status >= 500 or any(attempt.reason or attempt.status >= 500 for attempt in attempts):
        return Kept.ERROR
    if is_late:
        return Kept.SLOW
    return Kept.BAD if isinstance(record, GatewayRequest) and record.outcome == "bad" else None
