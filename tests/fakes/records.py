"""What a load client saw of each request, and what all of it comes to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Outcome(StrEnum):
    """How an exchange ended, seen from outside."""

    WHOLE = "O1"  # one complete response
    TRUNCATED = "O2"  # a response began, and the client can tell that it is cut
    LOST = "O3"  # connected, yet not one byte came back
    NOT_CONNECTED = "O4"  # refused, reset or timed out before a connection existed


@dataclass(slots=True)
class Record:
    """One request as its client saw it; moments are seconds of the monotonic clock.

    Attributes:
        intended_s: when the schedule wanted it sent; equals ``started_s`` in a closed loop.
        started_s: when it was written, or when connecting for it began if that failed.
        status: 0 unless the outcome is WHOLE.
        is_right: what the caller's check said of a whole answer; False for every other outcome.
        connection_use: how many requests its connection had carried before; 0 on a fresh one, so that
            LOST with 0 is what a queued connection looks like when it is thrown away.
        is_followed: bytes that nobody asked for came after the whole answer; a second answer shows here.
        why: what went wrong in words, "" for WHOLE.
        headers: the response headers the caller asked to keep, by lower-case name.
    """

    index: int
    intended_s: float
    started_s: float
    ended_s: float
    outcome: Outcome
    status: int = 0
    is_right: bool = False
    body_bytes: int = 0
    connection_use: int = 0
    is_followed: bool = False
    why: str = ""
    headers: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def latency_s(self) -> float:
        """Seconds since the intended start, so that a stalled server cannot hide the requests it held up."""
        return self.ended_s - self.intended_s


@dataclass(frozen=True, slots=True)
class Summary:
    """Many records in a few figures.

    Attributes:
        right: whole, and what the check wanted.
        wrong: whole with a status below 400, and not what the check wanted: the one thing that must never be.
        answered_twice: whole answers that were followed by unasked bytes.
        by_status: whole answers by status.
        whys: reasons of exchanges that failed, by count.
        p50_s: median latency of whole answers; NaN without one.
        right_per_s: right answers over the time from the first intended start to the last end of any request.
    """

    count: int
    right: int
    wrong: int
    answered_twice: int
    by_outcome: dict[Outcome, int]
    by_status: dict[int, int]
    whys: dict[str, int]
    p50_s: float
    p99_s: float
    right_per_s: float

    def __str__(self) -> str:
        outcomes = " ".join(f"{outcome}={count}" for outcome, count in self.by_outcome.items())
        statuses = " ".join(f"{status}={count}" for status, count in sorted(self.by_status.items()))
        return (
            f"{self.count} requests ({outcomes}; {statuses}), right {self.right}, wrong {self.wrong}, "
            f"p50 {self.p50_s * 1e3:.2f} ms, p99 {self.p99_s * 1e3:.2f} ms, {self.right_per_s:.0f} right/s"
        )


def summarize(records: Sequence[Record]) -> Summary:
    """Count outcomes and statuses, and take quantiles over whole answers."""
    whole = [record for record in records if record.outcome is Outcome.WHOLE]
    latencies_s = sorted(record.latency_s for record in whole)
    by_outcome = Counter(record.outcome for record in records)
    right = sum(record.is_right for record in whole)
    return Summary(
        count=len(records),
        right=right,
        wrong=sum(not record.is_right and record.status < 400 for record in whole),
        answered_twice=sum(record.is_followed for record in whole),
        by_outcome={outcome: by_outcome[outcome] for outcome in Outcome},
        by_status=dict(Counter(record.status for record in whole)),
        whys=dict(Counter(record.why for record in records if record.why)),
        p50_s=quantile(latencies_s, 0.5),
        p99_s=quantile(latencies_s, 0.99),
        right_per_s=right / span_s if (span_s := _span_s(records)) > 0 else 0.0,
    )


def quantile(ascending: Sequence[float], fraction: float) -> float:
    """Return the smallest value that at least ``fraction`` of the values do not exceed; NaN for none."""
    if not ascending:
        return math.nan
    rank = math.ceil(fraction * len(ascending)) - 1
    return ascending[min(max(rank, 0), len(ascending) - 1)]


def _span_s(records: Sequence[Record]) -> float:
    if not records:
        return 0.0
    return max(record.ended_s for record in records) - min(record.intended_s for record in records)
