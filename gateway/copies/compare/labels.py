"""Labels: whether two parts are the same value."""

from __future__ import annotations

import math
from typing import Any

from gateway.copies.compare.leaves import leaves_of, misfit
from gateway.copies.compare.outcome import ALIKE, Outcome
from gateway.copies.compare.trees import Tensor

_DIFFERENT = Outcome(math.inf, 1.0)


def label(stable: Any, shadow: Any) -> Outcome:
    """Compare two labels: exactly, as JSON values, where 2 and 2.0 are the same and true and 1 are not.

    Unit: 0 or 1. Threshold: none, any difference counts. A list of labels is one value; where it differs is told.
    """
    if type(stable) not in (list, Tensor) or type(shadow) not in (list, Tensor):
        return ALIKE if same_value(stable, shadow) else _DIFFERENT
    one, other = leaves_of(stable), leaves_of(shadow)
    misfitting = misfit(one, other)
    if misfitting is not None:
        return misfitting
    if one.elements == other.elements and one.datatype == "BOOL":
        return ALIKE
    for index, (left, right) in enumerate(zip(one.elements, other.elements, strict=True)):
        if not same_value(left, right):
            return _DIFFERENT._replace(where=one.place(index))
    return ALIKE


def same_value(stable: Any, shadow: Any) -> bool:
    """Whether two JSON values are the same; NaN is the same as NaN."""
    if type(stable) is dict and type(shadow) is dict:
        return stable.keys() == shadow.keys() and all(same_value(stable[key], shadow[key]) for key in stable)
    if type(stable) is list and type(shadow) is list:
        return len(stable) == len(shadow) and all(map(same_value, stable, shadow))
    if (type(stable) is bool) != (type(shadow) is bool):
        return False
    return bool(stable == shadow) or (stable != stable and shadow != shadow)
