"""One row's value at one place -> a few numbers and names about it; the value itself stays here."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from model_pod.wire.inference import WatchedPart
from telemetry.drift.fields import (
    EMPTY,
    FLOATS,
    INFINITE,
    MISSING,
    NAN,
    NOTHING,
    NUMBERED_CLASSES,
    OTHER,
    OUT_OF_RANGE,
    Field,
)
from telemetry.stats.sketch import sketched

# Of more numbers every nth is looked at.
MOST_NUMBERS = 4096
SCORES = range(2, 1025)
"""So many numbers in a row may be scores of classes."""


class _Missing:
    """Nothing is there."""


MISSED = _Missing()


class PartTally:
    """What rows had at one place since it was last taken.

    Args:
        is_output: the largest of several numbers is a class, and nothing at all is odd.
    """

    def __init__(self, part: WatchedPart, is_output: bool) -> None:
        self._part = part
        self._is_output = is_output
        self._classes_known = frozenset(part.classes)
        self._start()

    def _start(self) -> None:
        self._rows = 0
        self._numbers: defaultdict[str, list[float]] = defaultdict(list)
        self._classes: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._flags: Counter[str] = Counter()

    def take(self, unread: int) -> Field:
        """Return what there was, and begin anew.

        Args:
            unread: rows that were drawn and not looked at.
        """
        measures = {name: sketched(numbers) for name, numbers in self._numbers.items()}
        field = Field(self._rows, unread, measures, dict(self._classes), dict(self._kinds), dict(self._flags))
        self._start()
        return field

    def add(self, value: Any) -> None:
        """Count one row's value."""
        self._rows += 1
        flags = set(self._measured(found(value, self._part.path)))
        self._flags.update(flags)

    def _measured(self, value: Any) -> Iterator[str]:
        """Count a value, and yield what is odd about it."""
        match value:
            case _Missing():
                self._kinds[MISSING] += 1
            case None:
                self._kinds[NOTHING] += 1
            case bool():
                self._kinds["truth"] += 1
                self._classes["true" if value else "false"] += 1
            case int() | float():
                self._kinds["number"] += 1
                yield from self._number(value)
            case str():
                self._kinds["text"] += 1
                yield from self._text(value)
            case bytes() | bytearray() | memoryview():
                yield from self._sized("bytes", len(value))
            case dict():
                yield from self._sized("object", len(value))
            case torch.Tensor():
                self._kinds[_kind_of(value.dtype)] += 1
                yield from self._tensor(value)
            case list() | tuple():
                yield from self._list(value)

    def _number(self, value: float) -> Iterator[str]:
        if isinstance(value, int):
            self._count_class(value)
        number = _as_float(value)
        if not math.isfinite(number):
            yield NAN if math.isnan(number) else INFINITE
            return
        self._numbers["value"].append(number)
        if self._is_outside(number, number):
            yield OUT_OF_RANGE

    def _text(self, value: str) -> Iterator[str]:
        self._numbers["length"].append(float(len(value)))
        if self._classes_known:
            self._classes[value if value in self._classes_known else OTHER] += 1
        if self._is_output and not value:
            yield EMPTY

    def _sized(self, kind: str, size: int) -> Iterator[str]:
        self._kinds[kind] += 1
        self._numbers["size"].append(float(size))
        if self._is_output and not size:
            yield EMPTY

    def _list(self, value: Sequence[Any]) -> Iterator[str]:
        yield from self._sized("list", len(value))
        numbers = _numbers_in(value)
        if numbers:
            is_vector = len(numbers) == len(value)
            yield from self._many(numbers[:: _step(len(numbers))], is_vector and len(value) in SCORES)

    def _tensor(self, value: torch.Tensor) -> Iterator[str]:
        count = value.numel()
        if count == 1:
            yield from self._number(value.item())
            return
        self._numbers["size"].append(float(count))
        if count:
            looked_at = value.reshape(-1)[:: _step(count)].to(torch.float64).tolist()
            yield from self._many(looked_at, value.dim() == 1 and count in SCORES)
        elif self._is_output:
            yield EMPTY

    def _many(self, looked_at: Sequence[float], may_be_scores: bool) -> Iterator[str]:
        finite = [number for number in looked_at if math.isfinite(number)]
        if len(finite) < len(looked_at):
            yield from {NAN if math.isnan(number) else INFINITE for number in looked_at if not math.isfinite(number)}
        if not finite:
            return
        mean, least, most = sum(finite) / len(finite), min(finite), max(finite)
        self._numbers["mean"].append(mean)
        # By multiplication, which makes infinity of what is too large; a power would raise.
        squares = sum([(number - mean) * (number - mean) for number in finite])
        self._numbers["std"].append(math.sqrt(squares / len(finite)))
        if self._is_outside(least, most):
            yield OUT_OF_RANGE
        if self._is_output and may_be_scores and len(finite) == len(looked_at):
            self._numbers["top"].append(most)
            self._count_class(looked_at.index(most))

    def _count_class(self, number: int) -> None:
        self._classes[str(number) if 0 <= number < NUMBERED_CLASSES else OTHER] += 1

    def _is_outside(self, least: float, most: float) -> bool:
        low, high = self._part.at_least, self._part.at_most
        return (low is not None and least < low) or (high is not None and most > high)


def found(value: Any, path: str) -> Any:
    """Return what a JSON Pointer leads to, ``MISSED`` where it leads nowhere."""
    for step in path.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list | tuple) and name.isascii() and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            return MISSED
    return value


def answered(content: bytes | bytearray | memoryview) -> Any:
    """Return an answer's body as JSON, as text, or else as bytes."""
    data = bytes(content)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _step(count: int) -> int:
    return math.ceil(count / MOST_NUMBERS)


def _numbers_in(value: Sequence[Any]) -> list[float]:
    """Return all numbers of nested lists; none where there is anything else in them."""
    numbers: list[float] = []
    waiting = [value]
    while waiting:
        for item in waiting.pop():
            if isinstance(item, list | tuple):
                waiting.append(item)
            elif isinstance(item, int | float):
                numbers.append(_as_float(item))
            else:
                return []
    return numbers


def _as_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _kind_of(dtype: torch.dtype) -> str:
    name = str(dtype).removeprefix("torch.")
    return {"float16": FLOATS[0], "float32": FLOATS[1], "float64": FLOATS[2]}.get(name, name)
