"""Probabilities: how far apart two distributions over the same classes are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from gateway.copies.compare.leaves import leaves_of, misfit, rows_of
from gateway.copies.compare.outcome import Outcome, above, unlike

# In bits, of at most 1: two classes of 0.5 and 0.5 beside 0.38 and 0.62 are that far apart.
MOST_DIVERGENCE = 0.01
# FP16's softmax of a thousand classes misses 1 by less.
_SUM_WITHIN = 1e-2
MOST_GAP = 0.05
_NUMBERS = frozenset({int, float})

_Row = Sequence[float]


def probabilities(stable: Any, shadow: Any, allowed: float | None) -> Outcome:
    """Compare distributions by the Jensen-Shannon divergence to base 2; of several rows the largest counts.

    Unit: bits, 0 to 1. Default: differ above 0.01. An object is one row, by its keys; a class that one side does not
    name has 0 there. Rows that do not sum to 1 are divided by their sum, and that is noted. Rows that are no
    distribution at all cannot be compared.

    Source: Lin, "Divergence measures based on the Shannon entropy", 1991.
    """
    return _by_rows(stable, shadow, _divergence, MOST_DIVERGENCE if allowed is None else allowed)


def probability(stable: Any, shadow: Any, allowed: float | None) -> Outcome:
    """Compare distributions by the largest difference of one class's probability; of several rows the largest counts.

    Unit: a fraction. Default: differ above 0.05. Rows are taken as ``probabilities`` takes them.
    """
    return _by_rows(stable, shadow, _gap, MOST_GAP if allowed is None else allowed)


def _by_rows(stable: Any, shadow: Any, measure: Callable[[_Row, _Row], float], allowed: float) -> Outcome:
    pairs = _pairs(stable, shadow)
    if isinstance(pairs, Outcome):
        return pairs
    values: list[float] = []
    note = ""
    for left, right in pairs:
        sums = _sum(left), _sum(right)
        if sums[0] is None or sums[1] is None:
            return unlike("no probabilities")
        if max(abs(sums[0] - 1.0), abs(sums[1] - 1.0)) > _SUM_WITHIN:
            note = "rows that did not sum to 1 were divided by their sum"
        values.append(measure([each / sums[0] for each in left], [each / sums[1] for each in right]))
    largest = max(values, default=0.0)
    distance = above(largest, allowed)
    where = f"/{values.index(largest)}" if distance > 1.0 and len(values) > 1 else ""
    return Outcome(distance, largest, sum(values) / max(1, len(values)), where, note=note)


def _pairs(stable: Any, shadow: Any) -> list[tuple[Sequence[Any], Sequence[Any]]] | Outcome:
    if type(stable) is dict and type(shadow) is dict:
        classes = list(stable.keys() | shadow.keys())
        return [([stable.get(name, 0.0) for name in classes], [shadow.get(name, 0.0) for name in classes])]
    misfitting = misfit(leaves_of(stable), leaves_of(shadow))
    if misfitting is not None:
        return misfitting
    rows = rows_of(stable), rows_of(shadow)
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return unlike("of another shape")
    return list(zip(*rows, strict=True))


def _sum(row: Sequence[Any]) -> float | None:
    """Return the sum of a row; None where it is no distribution."""
    if not _NUMBERS.issuperset(map(type, row)):
        return None
    try:
        total = math.fsum(row)
    except (OverflowError, ValueError):
        return None
    return total if row and 0.0 < total < math.inf and min(row) >= 0.0 else None


def _divergence(stable: _Row, shadow: _Row) -> float:
    bits = 0.0
    for one, other in zip(stable, shadow, strict=True):
        twice_the_middle = one + other
        if one > 0.0:
            bits += one * math.log2(2.0 * one / twice_the_middle)
        if other > 0.0:
            bits += other * math.log2(2.0 * other / twice_the_middle)
    # Rounding may leave a little below 0 or above 1.
    return min(1.0, max(0.0, 0.5 * bits))


def _gap(stable: _Row, shadow: _Row) -> float:
    return max(abs(one - other) for one, other in zip(stable, shadow, strict=True))
