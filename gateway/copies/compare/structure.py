"""Structure: how many values of two JSON trees are not the same, and where the first of them is."""

from __future__ import annotations

import math
from typing import Any

from gateway.copies.compare.labels import same_value
from gateway.copies.compare.leaves import MAX_ELEMENTS, Tolerance, tolerance_of
from gateway.copies.compare.numbers import times_allowed
from gateway.copies.compare.outcome import Outcome, above, unlike
from gateway.copies.compare.pointers import pointer_of
from gateway.copies.compare.trees import Tensor

_NUMBERS = frozenset({float, int})
_PLAIN = frozenset({bool, float, int, str, type(None)})


def structure(stable: Any, shadow: Any, allowed: float | None, atol: float | None, rtol: float | None) -> Outcome:
    """Compare JSON values: the same keys, types and lengths, the same text, and numbers within a tolerance.

    Unit: values that are not the same; an object's missing key, another type and a list of another length count as one.
    Default: differ above 0. Numbers are alike within ``atol + rtol * |stable's|``, by default as FP32 allows, or the
    datatype of the tensor that they are in; ``true`` is no number. The first difference is told.
    """
    walk = _Walk(atol, rtol)
    try:
        walk.compare(stable, shadow, ())
    except _TooMuch:
        return unlike("too large")
    # Where none may differ, how far a number is out of its tolerance tells more than how many there are.
    distance = above(walk.count, allowed) if allowed else walk.farthest
    return Outcome(distance, float(walk.count), None, walk.first)


class _TooMuch(Exception):
    """There is more of it than is compared."""


class _Walk:
    """A walk through two trees side by side.

    Attributes:
        count: values that are not the same.
        first: JSON Pointer to the first of them.
        farthest: the largest number of times that a number is out of its tolerance; infinite for anything else.
    """

    __slots__ = ("_atol", "_json", "_left", "_rtol", "count", "farthest", "first")

    def __init__(self, atol: float | None, rtol: float | None) -> None:
        self._atol, self._rtol = atol, rtol
        self._json = self._tolerance("")
        self._left = MAX_ELEMENTS
        self.count = 0
        self.first = ""
        self.farthest = 0.0

    def compare(self, stable: Any, shadow: Any, path: tuple[str, ...]) -> None:
        """Count what is not the same below ``path``."""
        kind, other = type(stable), type(shadow)
        if kind is other and kind in _PLAIN and stable == shadow:
            return
        if kind is dict and other is dict:
            self._objects(stable, shadow, path)
        elif kind is list and other is list:
            self._lists(stable, shadow, path)
        elif kind is Tensor and other is Tensor:
            self._tensors(stable, shadow, path)
        elif kind in _NUMBERS and other in _NUMBERS:
            self._number(stable, shadow, path, self._json)
        elif not same_value(stable, shadow):
            self._not_same(path, math.inf)

    def _objects(self, stable: dict[str, Any], shadow: dict[str, Any], path: tuple[str, ...]) -> None:
        self._into(len(stable))
        for key, value in stable.items():
            if key in shadow:
                self.compare(value, shadow[key], (*path, key))
            else:
                self._not_same((*path, key), math.inf)
        for key in shadow.keys() - stable.keys():
            self._not_same((*path, key), math.inf)

    def _lists(self, stable: list[Any], shadow: list[Any], path: tuple[str, ...]) -> None:
        self._into(len(stable))
        if len(stable) != len(shadow):
            self._not_same(path, math.inf)
            return
        for at, (left, right) in enumerate(zip(stable, shadow, strict=True)):
            # Most items of most lists: told apart here, since a call and a path for each would be all that is done.
            if type(left) is type(right) and type(left) in _PLAIN and left == right:
                continue
            self.compare(left, right, (*path, str(at)))

    def _tensors(self, stable: Tensor, shadow: Tensor, path: tuple[str, ...]) -> None:
        if (stable.datatype, stable.shape, len(stable.elements)) != (
            shadow.datatype,
            shadow.shape,
            len(shadow.elements),
        ):
            self._not_same(path, math.inf)
            return
        self._into(len(stable.elements))
        tolerance = self._tolerance(stable.datatype)
        for at, (left, right) in enumerate(zip(stable.elements, shadow.elements, strict=True)):
            if left == right:
                continue
            if type(left) in _NUMBERS and type(right) in _NUMBERS:
                self._number(left, right, (*path, str(at)), tolerance)
            elif not same_value(left, right):
                self._not_same((*path, str(at)), math.inf)

    def _number(self, stable: float, shadow: float, path: tuple[str, ...], tolerance: Tolerance) -> None:
        times = times_allowed(stable, shadow, tolerance)
        if times > 1.0:
            self._not_same(path, times)

    def _not_same(self, path: tuple[str, ...], times: float) -> None:
        if not self.count:
            self.first = pointer_of(path)
        self.count += 1
        self.farthest = max(self.farthest, times)

    def _into(self, items: int) -> None:
        self._left -= items
        if self._left < 0:
            raise _TooMuch

    def _tolerance(self, datatype: str) -> Tolerance:
        allowed = tolerance_of(datatype)
        return Tolerance(
            allowed.atol if self._atol is None else self._atol, allowed.rtol if self._rtol is None else self._rtol
        )


def _kind(tensor: Tensor) -> tuple[str, tuple[int, ...], int]:
    return tensor.datatype, tensor.shape, len(tensor.elements)
