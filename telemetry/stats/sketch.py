"""Numbers kept as how many lay where: buckets of equal ratio, as OpenTelemetry's exponential histograms have them.

A bucket of scale ``s`` is ``2 ** 2 ** -s`` times as wide as its lower end, and two of it are one of scale ``s - 1``. So
the edges are the same for everybody and for ever, two sketches add up exactly in any order, and no number can be read
out of one more precisely than its bucket: 0.5 % at the finest.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec import Struct

FINEST_SCALE = 7
COARSEST_SCALE = 3
"""9 % wide; where these are still too many, the smallest numbers count as zero."""
MAX_BUCKETS = 160
LOWEST_OCTAVE, HIGHEST_OCTAVE = -64, 63
"""Numbers nearer to zero than 2**-64 are zero, and those beyond 2**64 count as just below it."""


class Sketch(Struct, frozen=True, array_like=True):
    """How many numbers lay where; only finite ones are in it.

    Attributes:
        scale: of its buckets, ``COARSEST_SCALE`` to ``FINEST_SCALE``.
        octave: numbers nearer to zero than two to the power of this are counted as zero.
        positive, negative: count by bucket; bucket ``i`` holds what is from ``2 ** (i / 2 ** scale)`` on.
    """

    scale: int = FINEST_SCALE
    octave: int = LOWEST_OCTAVE
    zeros: int = 0
    positive: dict[int, int] = {}
    negative: dict[int, int] = {}

    @property
    def count(self) -> int:
        return self.zeros + sum(self.positive.values()) + sum(self.negative.values())


class Bar(NamedTuple):
    """One bucket that holds something.

    Attributes:
        place: orders buckets of one scale, the lowest numbers first.
        middle: a number inside it.
        held: how many numbers it holds.
    """

    place: tuple[int, int]
    middle: float
    held: int


def sketched(numbers: Iterable[float]) -> Sketch:
    """Return the sketch of some numbers; what is not finite is left out."""
    zeros = 0
    positive: Counter[int] = Counter()
    negative: Counter[int] = Counter()
    for number in numbers:
        if not math.isfinite(number):
            continue
        bucket = _bucket(abs(number)) if number else None
        if bucket is None:
            zeros += 1
        elif number > 0:
            positive[bucket] += 1
        else:
            negative[bucket] += 1
    return _fitted(FINEST_SCALE, LOWEST_OCTAVE, zeros, positive, negative)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    """Return the sketch of all numbers together: the same whatever the order, and whatever was merged before."""
    parts = tuple(sketches)
    if len(parts) == 1:
        return parts[0]
    scale = min((part.scale for part in parts), default=FINEST_SCALE)
    octave = max((part.octave for part in parts), default=LOWEST_OCTAVE)
    zeros = sum(part.zeros for part in parts)
    sides: tuple[Counter[int], Counter[int]] = (Counter(), Counter())
    for part in parts:
        for side, buckets in zip(sides, (part.positive, part.negative), strict=True):
            for bucket, count in buckets.items():
                side[bucket >> (part.scale - scale)] += count
    return _fitted(scale, octave, zeros, *sides)


def alike(first: Sketch, second: Sketch) -> tuple[Sketch, Sketch]:
    """Return two sketches with buckets of one width, so that their bars can be compared by place."""
    scale, octave = min(first.scale, second.scale), max(first.octave, second.octave)
    return _coarser(first, scale, octave), _coarser(second, scale, octave)


def bars(sketch: Sketch) -> Iterator[Bar]:
    """Yield the buckets that hold something, the lowest numbers first."""
    for bucket in sorted(sketch.negative, reverse=True):
        yield Bar((-1, -bucket), -_middle(bucket, sketch.scale), sketch.negative[bucket])
    if sketch.zeros:
        yield Bar((0, 0), 0.0, sketch.zeros)
    for bucket in sorted(sketch.positive):
        yield Bar((1, bucket), _middle(bucket, sketch.scale), sketch.positive[bucket])


def quantile(sketch: Sketch, share: float) -> float:
    """Return the number that ``share`` of the others are not above, to the width of a bucket; 0 of an empty sketch."""
    rank, seen, last = share * sketch.count, 0, 0.0
    for bar in bars(sketch):
        seen, last = seen + bar.held, bar.middle
        if seen >= rank:
            break
    return last


def mean(sketch: Sketch) -> float:
    """Return the mean to the width of a bucket; 0 of an empty sketch."""
    count = sketch.count
    return sum(bar.middle * bar.held for bar in bars(sketch)) / count if count else 0.0


def is_sound(sketch: Sketch) -> bool:
    """Whether a sketch that somebody else made is one that this module could have made."""
    if not COARSEST_SCALE <= sketch.scale <= FINEST_SCALE or not LOWEST_OCTAVE <= sketch.octave <= HIGHEST_OCTAVE:
        return False
    if len(sketch.positive) + len(sketch.negative) > MAX_BUCKETS or sketch.zeros < 0:
        return False
    lowest, beyond = sketch.octave << sketch.scale, (HIGHEST_OCTAVE + 1) << sketch.scale
    return all(
        lowest <= bucket < beyond and 0 < count < 2**53
        for buckets in (sketch.positive, sketch.negative)
        for bucket, count in buckets.items()
    )


def _bucket(size: float) -> int | None:
    """Return the finest bucket of a positive number; None where that is as good as zero."""
    bucket = math.floor(math.log2(size) * (1 << FINEST_SCALE))
    if bucket < LOWEST_OCTAVE << FINEST_SCALE:
        return None
    return min(bucket, ((HIGHEST_OCTAVE + 1) << FINEST_SCALE) - 1)


def _middle(bucket: int, scale: int) -> float:
    return float(2.0 ** ((bucket + 0.5) / (1 << scale)))


def _coarser(sketch: Sketch, scale: int, octave: int) -> Sketch:
    shift = sketch.scale - scale
    sides = [_shifted(buckets, shift) for buckets in (sketch.positive, sketch.negative)]
    return _raised(scale, octave, sketch.zeros, *sides)


def _fitted(scale: int, octave: int, zeros: int, positive: Mapping[int, int], negative: Mapping[int, int]) -> Sketch:
    """Return a sketch of at most ``MAX_BUCKETS``: wider ones first, and then without the smallest numbers."""
    sketch = _raised(scale, octave, zeros, positive, negative)
    while len(sketch.positive) + len(sketch.negative) > MAX_BUCKETS:
        if sketch.scale > COARSEST_SCALE:
            sketch = _coarser(sketch, sketch.scale - 1, sketch.octave)
        else:
            lowest = min(bucket >> sketch.scale for bucket in (*sketch.positive, *sketch.negative))
            sketch = _coarser(sketch, sketch.scale, lowest + 1)
    return sketch


def _raised(scale: int, octave: int, zeros: int, positive: Mapping[int, int], negative: Mapping[int, int]) -> Sketch:
    """Return a sketch in which what is below ``octave`` counts as zero."""
    least = octave << scale
    small = sum(count for side in (positive, negative) for bucket, count in side.items() if bucket < least)
    sides = ({bucket: count for bucket, count in side.items() if bucket >= least} for side in (positive, negative))
    return Sketch(scale, octave, zeros + small, *sides)


def _shifted(buckets: Mapping[int, int], shift: int) -> Mapping[int, int]:
    if not shift:
        return buckets
    wider: Counter[int] = Counter()
    for bucket, count in buckets.items():
        wider[bucket >> shift] += count
    return wider
