"""Which queued requests run now, which are too late, and when to look again; knows no clock, device or socket."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, Protocol, TypeVar

from model_pod.protocols.exchange import BatchKey


class Queued(Protocol):
    """What batching has to know of a queued request."""

    @property
    def batch_key(self) -> BatchKey: ...
    @property
    def row_count(self) -> int: ...
    @property
    def enqueued_s(self) -> float: ...
    @property
    def deadline_s(self) -> float: ...


Request = TypeVar("Request", bound=Queued)


@dataclass(frozen=True, slots=True)
class BatchingPolicy:
    """How large a batch may be, and how long it may wait to become so.

    Attributes:
        max_rows: most rows in a batch, at least 1.
        max_wait_s: longest wait for a batch to fill while the device is busy; 0 never waits.
    """

    max_rows: int
    max_wait_s: float


class Plan(NamedTuple, Generic[Request]):
    """What to do now.

    Attributes:
        expired: requests whose deadline has passed; they are never run.
        batch: what to run now, in order; empty when nothing should start yet.
        look_again_s: when a new plan is due if nothing else happens before; infinity when nothing waits.
    """

    expired: tuple[Request, ...]
    batch: tuple[Request, ...]
    look_again_s: float


def plan_batch(queued: Iterable[Request], policy: BatchingPolicy, engine_idle: bool, now_s: float) -> Plan[Request]:
    """Choose the next batch: the oldest live request and those that can join it, in the order they came.

    The oldest request always leads, so nothing starves; a request that does not fit any more ends the batch, so
    requests with equal keys never overtake each other.

    Args:
        queued: in order of arrival; no request has more rows than ``policy.max_rows``.
    """
    expired: list[Request] = []
    alive: list[Request] = []
    for request in queued:
        (expired if request.deadline_s <= now_s else alive).append(request)
    if not alive:
        return Plan(tuple(expired), (), math.inf)
    batch, is_full = _joinable(alive, policy.max_rows)
    ready_at_s = alive[0].enqueued_s + policy.max_wait_s
    if engine_idle or is_full or now_s >= ready_at_s:  # never wait while the device is idle
        return Plan(tuple(expired), batch, now_s)
    return Plan(tuple(expired), (), min(ready_at_s, _earliest_deadline_s(alive)))


def plan_expiry(queued: Collection[Request], now_s: float) -> Plan[Request]:
    """Find what is too late, while nothing can be started anyway."""
    expired = tuple(request for request in queued if request.deadline_s <= now_s)
    return Plan(expired, (), _earliest_deadline_s(request for request in queued if request.deadline_s > now_s))


def _joinable(alive: list[Request], max_rows: int) -> tuple[tuple[Request, ...], bool]:
    """Return what can run with the oldest request, and whether waiting could not add to it."""
    key = alive[0].batch_key
    batch: list[Request] = []
    rows_left = max_rows
    for request in alive:
        if request.batch_key != key:
            continue
        if request.row_count > rows_left:
            return tuple(batch), True
        batch.append(request)
        rows_left -= request.row_count
        if rows_left == 0:
            return tuple(batch), True
    return tuple(batch), False


def _earliest_deadline_s(requests: Iterable[Queued]) -> float:
    return min((request.deadline_s for request in requests), default=math.inf)
