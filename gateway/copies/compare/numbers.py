"""Numbers: how far apart two numbers, or two tensors of them, are."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from gateway.copies.compare.leaves import Leaves, Tolerance, leaves_of, misfit, rows_of, tolerance_of
from gateway.copies.compare.outcome import ALIKE, Outcome, above, below, unlike

# Directions that are nearer than this are alike: an embedding's neighbours stay what they were.
LEAST_COSINE = 0.999
# An FP64's largest; JSON has larger ones.
_MAX_NUMBER = sys.float_info.max
_NUMBERS = frozenset({int, float, bool, type(None)})


def within(stable: Any, shadow: Any, atol: float | None, rtol: float | None) -> Outcome:
    """Compare numbers one by one: each is alike within ``atol + rtol * |stable's|``.

    Unit: the model's own; the largest and the mean absolute difference are told. Default: what the datatype allows
    (``leaves.tolerance_of``; of two, the wider). NaN and null beside the same are alike, beside a number they differ.
    """
    sides = _numbers(stable, shadow)
    if isinstance(sides, Outcome):
        return sides
    one, other = sides
    wider = max(tolerance_of(one.datatype), tolerance_of(other.datatype))
    tolerance = Tolerance(wider.atol if atol is None else atol, wider.rtol if rtol is None else rtol)
    differences = _differences(one.elements, other.elements)
    ratios = [
        _ratio(difference, tolerance.atol + tolerance.rtol * abs(left))
        for difference, left in zip(differences, one.elements, strict=True)
    ]
    return _outcome(one, differences, ratios)


def absolute(stable: Any, shadow: Any, allowed: float | None) -> Outcome:
    """Compare numbers by their largest absolute difference.

    Unit: the model's own. Default: differ above what the datatype's ``atol`` allows.
    """
    sides = _numbers(stable, shadow)
    if isinstance(sides, Outcome):
        return sides
    one, other = sides
    limit = tolerance_of(one.datatype).atol if allowed is None else allowed
    differences = _differences(one.elements, other.elements)
    return _outcome(one, differences, [above(difference, limit) for difference in differences])


def relative(stable: Any, shadow: Any, allowed: float | None) -> Outcome:
    """Compare numbers by their largest difference as a share of stable's number; of 0 anything else is infinitely far.

    Unit: a fraction. Default: differ above what the datatype's ``rtol`` allows.
    """
    sides = _numbers(stable, shadow)
    if isinstance(sides, Outcome):
        return sides
    one, other = sides
    limit = tolerance_of(one.datatype).rtol if allowed is None else allowed
    shares = [
        _ratio(difference, abs(left))
        for difference, left in zip(_differences(one.elements, other.elements), one.elements, strict=True)
    ]
    return _outcome(one, shares, [above(share, limit) for share in shares])


def cosine(stable: Any, shadow: Any, allowed: float | None) -> Outcome:
    """Compare vectors by the cosine of the angle between them; of several, each of one row, the least counts.

    Unit: -1 to 1. Default: differ below 0.999. Two vectors of zeros are alike; one beside another has a
    cosine of 0.
    """
    sides = _numbers(stable, shadow)
    if isinstance(sides, Outcome):
        return sides
    one, other = sides
    if not math.isfinite(math.hypot(*one.elements)) or not math.isfinite(math.hypot(*other.elements)):
        return ALIKE._replace(value=1.0, mean=1.0) if one.elements == other.elements else unlike("no direction")
    # Of a tensor beside a list, the tensor knows its rows.
    lengths = [len(row) for row in rows_of(shadow if other.datatype else stable)]
    ends = list(accumulate(lengths))
    cosines = [
        _cosine(one.elements[end - length : end], other.elements[end - length : end])
        for length, end in zip(lengths, ends, strict=True)
    ]
    least = min(cosines, default=1.0)
    distance = below(least, LEAST_COSINE if allowed is None else allowed)
    where = f"/{cosines.index(least)}" if distance > 1.0 and len(cosines) > 1 else ""
    return Outcome(distance, least, _mean(cosines) if cosines else 1.0, where)


def times_allowed(stable: float, shadow: float, tolerance: Tolerance) -> float:
    """Return how many times what is allowed two numbers are apart; infinite for a number no FP64 can hold."""
    try:
        return _ratio(_difference(stable, shadow), tolerance.atol + tolerance.rtol * abs(stable))
    except OverflowError:
        return math.inf


def _cosine(stable: Sequence[float], shadow: Sequence[float]) -> float:
    left, right = math.hypot(*stable), math.hypot(*shadow)
    if left == 0.0 or right == 0.0:
        return 1.0 if left == right else 0.0
    # Each is scaled first, since products of large numbers overflow; rounding may give a little more than 1.
    return min(1.0, sum((one / left) * (other / right) for one, other in zip(stable, shadow, strict=True)))


def _numbers(stable: Any, shadow: Any) -> tuple[Leaves, Leaves] | Outcome:
    """Return both sides' elements, or why they cannot be compared."""
    one, other = leaves_of(stable), leaves_of(shadow)
    misfitting = misfit(one, other)
    if misfitting is not None:
        return misfitting
    types = {*map(type, one.elements), *map(type, other.elements)}
    if not _NUMBERS.issuperset(types):
        return unlike("not numbers")
    if int in types and max(map(abs, filter(None, (*one.elements, *other.elements))), default=0) > _MAX_NUMBER:
        return unlike("too large a number")
    return _without_null(one, types), _without_null(other, types)


def _without_null(side: Leaves, types: set[type]) -> Leaves:
    if type(None) not in types:
        return side
    return side._replace(elements=[math.nan if element is None else element for element in side.elements])


def _differences(stable: Sequence[float], shadow: Sequence[float]) -> list[float]:
    """Return the absolute differences: 0.0 of NaN and NaN, infinite of NaN and a number."""
    differences = [abs(left - right) for left, right in zip(stable, shadow, strict=True)]
    if math.isfinite(sum(differences)):
        return differences
    return [_difference(left, right) for left, right in zip(stable, shadow, strict=True)]


def _difference(stable: float, shadow: float) -> float:
    if stable == shadow or (math.isnan(stable) and math.isnan(shadow)):
        return 0.0
    difference = abs(stable - shadow)
    return math.inf if math.isnan(difference) else difference


def _ratio(difference: float, whole: float) -> float:
    if difference == 0.0:
        return 0.0
    return difference / whole if whole > 0.0 and math.isfinite(difference) else math.inf


def _outcome(side: Leaves, values: list[float], distances: list[float]) -> Outcome:
    if not values:
        return ALIKE
    distance = max(distances)
    where = side.place(distances.index(distance)) if distance > 1.0 else ""
    return Outcome(distance, max(values), _mean(values), where)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
