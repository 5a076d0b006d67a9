"""Outcome: what comparing one part of two answers came to."""

from __future__ import annotations

import math
from typing import NamedTuple


class Outcome(NamedTuple):
    """How one part of two answers differs.

    Attributes:
        distance: how many times the allowed difference it is; above 1.0 it differs.
        value: of the metric; None where it is no number.
        mean: of the metric over the part's elements; None where there is but one.
        where: of the first difference, a JSON Pointer from the part on.
        unlike: why they cannot be compared, "" where they can.
        words: of texts, the share of words that are the same from the start on; None elsewhere.
        note: something about the parts that a reader should know, "" for nothing.
    """

    distance: float
    value: float | None = None
    mean: float | None = None
    where: str = ""
    unlike: str = ""
    words: float | None = None
    note: str = ""

    @property
    def differs(self) -> bool:
        return self.distance > 1.0


ALIKE = Outcome(0.0, 0.0, 0.0)


def unlike(why: str, where: str = "") -> Outcome:
    """Return the outcome of parts that cannot be compared: they differ as much as can be."""
    return Outcome(math.inf, unlike=why, where=where)


def above(value: float, allowed: float) -> float:
    """Return the distance of a metric that is larger the more two parts differ; NaN is as large as can be."""
    if value <= allowed:
        return value / allowed if allowed > 0.0 else 0.0
    return value / allowed if allowed > 0.0 and value == value else math.inf


def below(value: float, allowed: float) -> float:
    """Return the distance of a metric that is at most 1, and smaller the more two parts differ."""
    return above(1.0 - value, 1.0 - allowed) if allowed < 1.0 or value >= 1.0 else math.inf
