"""What models did in the last five minutes: rate, share of errors, and how long good answers took."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor

from msgspec import Struct

from gateway.control.messages import SLOT_S, RequestCounts
from gateway.control.request_totals import regridded

SPAN_S = 300
_ERROR_FROM = 500
_GOOD_BELOW = 400


class ModelActivity(Struct, frozen=True):
    """One version, over the last five minutes.

    Attributes:
        error_ratio: share of statuses of 500 and more.
        p50_s, p99_s: of answers below 400; a refusal that is quick makes no model quick. None without such answers.
    """

    model: str
    version: str
    requests_per_s: float
    error_ratio: float
    p50_s: float | None
    p99_s: float | None


class _Counts:
    __slots__ = ("buckets", "edges_s", "errors", "requests")

    def __init__(self, edges_s: tuple[float, ...]) -> None:
        self.requests = 0
        self.errors = 0
        self.edges_s = edges_s
        self.buckets = [0] * (len(edges_s) + 1)

    def add(self, requests: int, errors: int, buckets: Sequence[int], edges_s: Sequence[float]) -> None:
        self.requests += requests
        self.errors += errors
        for bucket, count in enumerate(regridded(buckets, edges_s, self.edges_s)):
            self.buckets[bucket] += count


class RecentModels:
    """Counts by slot and version; slots that are over are forgotten."""

    def __init__(self, started_s: float) -> None:
        self._started_s = started_s
        self._slots: dict[int, dict[tuple[str, str], _Counts]] = {}

    def add(self, slot_s: int, counts: RequestCounts, edges_s: tuple[float, ...], now_s: float) -> None:
        """Add what a worker settled in a slot; nothing that was refused before its version was known."""
        self._started_s = min(self._started_s, now_s)  # of a clock that was set back since
        if not counts.version or not _is_recent(slot_s, now_s):
            return
        if slot_s not in self._slots:
            self._slots = {start: slot for start, slot in self._slots.items() if _is_recent(start, now_s)}
        requests = sum(counts.buckets)
        is_good = counts.status < _GOOD_BELOW
        self._slots.setdefault(slot_s, {}).setdefault((counts.model, counts.version), _Counts(edges_s)).add(
            requests,
            requests if counts.status >= _ERROR_FROM else 0,
            counts.buckets if is_good else [0] * len(counts.buckets),
            edges_s,
        )

    def activity(self, now_s: float, within_s: float = SPAN_S) -> list[ModelActivity]:
        """Return every version that had a request, by name.

        Args:
            within_s: how far back, in whole slots; not further than is remembered.
        """
        totals: dict[tuple[str, str], _Counts] = {}
        for start_s, slot in sorted(self._slots.items()):
            if not _is_recent(start_s, now_s) or start_s <= now_s - within_s:
                continue
            for key, counts in slot.items():
                total = totals.setdefault(key, _Counts(counts.edges_s))
                total.add(counts.requests, counts.errors, counts.buckets, counts.edges_s)
        span_s = max(SLOT_S, min(counted_s(now_s, within_s), now_s - self._started_s))
        return [_activity(key, totals[key], span_s) for key in sorted(totals)]


def counted_s(now_s: float, within_s: float) -> float:
    """Return how far back the slots go that began within this time."""
    if within_s >= SPAN_S:
        return SPAN_S
    return now_s - (floor((now_s - within_s) / SLOT_S) + 1) * SLOT_S


def _is_recent(slot_s: int, now_s: float) -> bool:
    return now_s - SPAN_S < slot_s <= now_s + SLOT_S


def _activity(key: tuple[str, str], counts: _Counts, span_s: float) -> ModelActivity:
    return ModelActivity(
        model=key[0],
        version=key[1],
        requests_per_s=counts.requests / span_s,
        error_ratio=counts.errors / counts.requests,
        p50_s=quantile(0.5, counts.buckets, counts.edges_s),
        p99_s=quantile(0.99, counts.buckets, counts.edges_s),
    )


def quantile(share: float, buckets: Sequence[int], edges_s: Sequence[float]) -> float | None:
    """Return the time within which this share of requests was answered, None without requests.

    Times are taken as evenly spread inside a bucket; of those above the last edge only that edge is known.
    """
    rank = share * sum(buckets)
    if not rank:
        return None
    below, lower_s = 0, 0.0
    for count, upper_s in zip(buckets, edges_s, strict=False):
        if count and below + count >= rank:
            return lower_s + (upper_s - lower_s) * (rank - below) / count
        below, lower_s = below + count, upper_s
    return lower_s
