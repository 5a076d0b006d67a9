"""What is counted of one part of an input or output: distributions, classes and oddities of many rows, and no row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from telemetry.stats.sketch import Sketch, is_sound, merged

INPUT: Final = "input"
OUTPUT: Final = "output"
SIDES: Final = (INPUT, OUTPUT)
# Of a number its value; of many numbers their mean, spread and count, and of an output's their largest; of text its
# length; of bytes, lists and objects their size.
MEASURES: Final = ("value", "mean", "std", "top", "length", "size")
NAN, INFINITE, OUT_OF_RANGE, EMPTY = "nan", "infinite", "out_of_range", "empty"
FLAGS: Final = (NAN, INFINITE, OUT_OF_RANGE, EMPTY)
MISSING, NOTHING = "missing", "null"
TENSORS: Final = ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64")
FLOATS: Final = ("fp16", "fp32", "fp64")
KINDS: Final = frozenset((MISSING, NOTHING, "truth", "number", "text", "bytes", "list", "object", *TENSORS, *FLOATS))
OTHER: Final = "other"
NUMBERED_CLASSES: Final = 256
"""Classes that are numbers are told apart below this."""
MAX_CLASSES: Final = NUMBERED_CLASSES + 64 + 3
CLASS_LETTERS: Final = 200
PATH_LETTERS: Final = 4200
_MOST_ROWS: Final = 2**53


class Field(Struct, frozen=True, array_like=True):
    """What some rows had at one place.

    Attributes:
        rows: that were summarised.
        unread: that were drawn and not summarised: too large, or too many at once.
        measures: a sketch for each of ``MEASURES`` that some row had.
        classes: rows by class: a number's, a truth's, the largest of several scores', or a text that policy names.
        kinds: rows by what was found there.
        flags: rows by what was odd about them.
    """

    rows: int = 0
    unread: int = 0
    measures: dict[str, Sketch] = {}
    classes: dict[str, int] = {}
    kinds: dict[str, int] = {}
    flags: dict[str, int] = {}


def added_up(fields: Iterable[Field]) -> Field:
    """Return what the rows of all of them had together."""
    parts = tuple(fields)
    if len(parts) == 1:
        return parts[0]
    names = {name for part in parts for name in part.measures}
    return Field(
        rows=sum(part.rows for part in parts),
        unread=sum(part.unread for part in parts),
        measures={
            name: merged(part.measures[name] for part in parts if name in part.measures) for name in sorted(names)
        },
        classes=_sum(part.classes for part in parts),
        kinds=_sum(part.kinds for part in parts),
        flags=_sum(part.flags for part in parts),
    )


def is_field(field: Field) -> bool:
    """Whether a field that somebody tells of is within all bounds."""
    counts = (field.rows, field.unread, *field.classes.values(), *field.kinds.values(), *field.flags.values())
    return (
        all(0 <= count <= _MOST_ROWS for count in counts)
        and field.measures.keys() <= set(MEASURES)
        and field.kinds.keys() <= KINDS
        and field.flags.keys() <= set(FLAGS)
        and len(field.classes) <= MAX_CLASSES
        and all(len(name) <= CLASS_LETTERS for name in field.classes)
        and all(is_sound(sketch) for sketch in field.measures.values())
    )


def _sum(many: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for counts in many:
        total.update(counts)
    return dict(total)
