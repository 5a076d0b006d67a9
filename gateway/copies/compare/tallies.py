"""Tallies: everything that a comparison has counted, in a form that can be kept."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable

from msgspec import Struct, field

from gateway.copies.compare.outcome import Outcome
from gateway.copies.reports import Difference, SliceReport

# Told apart in reports; the others are "other".
MOST_TENANTS = 50
# Counted apart, so that those that are busy later are found among them.
_COUNTED_TENANTS = 500
OTHER = "other"
_WORST = 20
# What JSON can carry of infinity.
MOST = 1e308
_SIZE_FROM = 256
_SIZE_FACTOR_BITS = 2
# Buckets of times are 5 % wide, so that a quantile is within 2.5 %; from 10 microseconds to 1,000 seconds.
_BUCKET_WIDTH = math.log(1.05)
_SHORTEST_S = 1e-5
_LONGEST_BUCKET = round(math.log(1000.0 / _SHORTEST_S) / _BUCKET_WIDTH)


class OutputTally(Struct):
    """One compared part.

    Attributes:
        absent: answers in which neither side has it; they are not among the compared ones.
        measured: answers that have a number; ``total`` is the sum of their means.
        words: sum of the shares of words that are the same from the start on, of ``worded`` answers.
        noted: answers with a note, ``note`` the last of them.
    """

    compared: int = 0
    differ: int = 0
    unlike: int = 0
    absent: int = 0
    measured: int = 0
    total: float = 0.0
    largest: float = -MOST
    least: float = MOST
    words: float = 0.0
    worded: int = 0
    noted: int = 0
    note: str = ""

    def add(self, outcome: Outcome | None) -> None:
        """Count one answer's outcome."""
        if outcome is None:
            self.absent += 1
            return
        self.compared += 1
        self.differ += outcome.differs
        if outcome.unlike:
            self.unlike += 1
        if outcome.note:
            self.noted += 1
            self.note = outcome.note
        if outcome.words is not None:
            self.worded += 1
            self.words += outcome.words
        if outcome.value is not None:
            self._measure(outcome.value, outcome.value if outcome.mean is None else outcome.mean)

    @property
    def has_number(self) -> bool:
        """Whether any answer had one."""
        return self.largest >= self.least

    def _measure(self, value: float, mean: float) -> None:
        value = finite(value)
        self.largest = max(self.largest, value)
        self.least = min(self.least, value)
        # An infinite difference would be all that a mean tells ever after.
        if math.isfinite(mean):
            self.measured += 1
            self.total += mean


class Counted(Struct):
    """Copies of one slice."""

    compared: int = 0
    differ: int = 0


class Times(Struct):
    """How long answers took, by bucket."""

    buckets: dict[int, int] = field(default_factory=dict)

    def add(self, took_s: float) -> None:
        """Count one answer."""
        bucket = round(math.log(max(took_s, _SHORTEST_S) / _SHORTEST_S) / _BUCKET_WIDTH)
        bucket = min(bucket, _LONGEST_BUCKET)
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1

    def quantile_s(self, share: float) -> float:
        """Return the time within which this share of the answers came; 0.0 of none."""
        left = share * sum(self.buckets.values())
        for bucket in sorted(self.buckets):
            left -= self.buckets[bucket]
            if left <= 0.0:
                return _SHORTEST_S * math.exp(bucket * _BUCKET_WIDTH)
        return 0.0


def finite(value: float) -> float:
    """Return a number that JSON can carry."""
    return max(-MOST, min(MOST, value))


class Slices(Struct):
    """Copies by tenant and by size of the request's body.

    Attributes:
        sizes: by the exponent of the power of four, times 256 bytes, below which they are.
    """

    tenants: dict[str, Counted] = field(default_factory=dict)
    others: Counted = field(default_factory=Counted)
    sizes: dict[int, Counted] = field(default_factory=dict)

    def add(self, tenant: str, request_bytes: int, differs: bool) -> None:
        """Count one copy."""
        step = _size_step(request_bytes)
        for counted in (self._tenant(tenant), self.sizes.setdefault(step, Counted())):
            counted.compared += 1
            counted.differ += differs

    def reports(self) -> tuple[SliceReport, ...]:
        """Return the busiest tenants and all the others, and the sizes in order."""
        by_traffic = sorted(self.tenants.items(), key=lambda item: (-item[1].compared, item[0]))
        rest = [self.others, *(counted for _, counted in by_traffic[MOST_TENANTS:])]
        other = Counted(sum(counted.compared for counted in rest), sum(counted.differ for counted in rest))
        named = [*by_traffic[:MOST_TENANTS], *([(OTHER, other)] if other.compared else [])]
        return (
            *(SliceReport("tenant", name, counted.compared, counted.differ) for name, counted in named),
            *(
                SliceReport("size", size_range(step), counted.compared, counted.differ)
                for step, counted in sorted(self.sizes.items())
            ),
        )

    def _tenant(self, tenant: str) -> Counted:
        known = self.tenants.get(tenant)
        if known is None:
            if len(self.tenants) >= _COUNTED_TENANTS:
                return self.others
            known = self.tenants[tenant] = Counted()
        return known


def _size_step(request_bytes: int) -> int:
    """Return how many times a size of 256 bytes is to be made four times as large until the body is below it."""
    return -(-(request_bytes // _SIZE_FROM).bit_length() // _SIZE_FACTOR_BITS)


def size_range(step: int) -> str:
    """Return a range of sizes as people read it: "1 to 4 KiB"."""
    if step == 0:
        return "below 256 B"
    lower, upper = _SIZE_FROM << _SIZE_FACTOR_BITS * (step - 1), _SIZE_FROM << _SIZE_FACTOR_BITS * step
    return f"{_size(lower)} to {_size(upper)}"


def _size(size_bytes: int) -> str:
    for unit, bits in (("MiB", 20), ("KiB", 10)):
        if size_bytes >> bits:
            return f"{size_bytes >> bits} {unit}"
    return f"{size_bytes} B"


class Worst(Struct):
    """The largest differences, the largest last; of equally large ones the latest."""

    kept: list[Difference] = field(default_factory=list)

    def has_room_for(self, distance: float, at_s: float) -> bool:
        """Whether a difference is among the largest."""
        return len(self.kept) < _WORST or (finite(distance), at_s) >= _rank(self.kept[0])

    def add(self, difference: Difference) -> None:
        """Keep one, and let the least go where there are too many."""
        insort(self.kept, difference, key=_rank)
        del self.kept[:-_WORST]

    def forget_others(self, allows: Callable[[str], bool]) -> None:
        """Let go of those of tenants that are not allowed."""
        self.kept = [difference for difference in self.kept if allows(difference.tenant)]

    def forget_before(self, at_s: float) -> None:
        """Let go of those that are older."""
        self.kept = [difference for difference in self.kept if difference.at_s >= at_s]


def _rank(difference: Difference) -> tuple[float, float]:
    return difference.distance, difference.at_s
