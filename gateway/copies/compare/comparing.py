"""Comparing: two answers of which one should do for the other, part by part, as policy says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from gateway.copies.compare.answer import Answer
from gateway.copies.compare.elements import Unreadable
from gateway.copies.compare.labels import label
from gateway.copies.compare.numbers import absolute, cosine, relative, within
from gateway.copies.compare.outcome import Outcome, unlike
from gateway.copies.compare.pointers import MISSING, part_at
from gateway.copies.compare.probabilities import probabilities, probability
from gateway.copies.compare.ranking import FIRST, ranking
from gateway.copies.compare.structure import structure
from gateway.copies.compare.texts import text
from gateway.copies.compare.trees import read
from policies.snapshot.release import Compare

_OVERLAP = "overlap@"
_EQUAL = "equal"


class Sides(NamedTuple):
    """How two answers compare.

    Attributes:
        differs: in any part, or since exactly one side failed.
        outcomes: one for each part; None where neither side has it, and none at all where there was nothing to compare.
        parts: of both sides, one pair for each outcome.
    """

    differs: bool
    outcomes: tuple[Outcome | None, ...] = ()
    parts: tuple[tuple[Any, Any], ...] = ()


def compare_answers(outputs: Sequence[Compare], stable: Answer, shadow: Answer) -> Sides:
    """Compare two answers.

    A side that failed has no parts: two failures are the same. Where both refuse the request (4xx), they are the same
    too, whatever they say; where one does, it has none of the parts that the other has.
    """
    if stable.is_failed or shadow.is_failed:
        return Sides(stable.is_failed != shadow.is_failed)
    if stable.status // 100 != shadow.status // 100:
        return _nothing_alike(outputs, f"a status of {stable.status} beside {shadow.status}")
    if not 200 <= stable.status < 300:
        return Sides(False)
    try:
        trees = _trees(stable, shadow)
    except Unreadable as why:
        return _nothing_alike(outputs, str(why))
    parts = tuple((part_at(trees[0], how.path), part_at(trees[1], how.path)) for how in outputs)
    outcomes = tuple(compare_parts(how, *sides) for how, sides in zip(outputs, parts, strict=True))
    return Sides(any(outcome is not None and outcome.differs for outcome in outcomes), outcomes, parts)


def compare_parts(how: Compare, stable: Any, shadow: Any) -> Outcome | None:
    """Compare what one pointer names in two answers; None where it names nothing in either."""
    if stable is MISSING or shadow is MISSING:
        return None if stable is shadow else unlike("missing")
    if stable is shadow:
        value = 1.0 if is_likeness(how) else 0.0
        return Outcome(0.0, value, value)
    if how.kind == "label" or how.metric == _EQUAL:
        return label(stable, shadow)
    match how.kind:
        case "number":
            return _numbers(how, stable, shadow)
        case "probabilities":
            measure = probability if how.metric == "abs" else probabilities
            return measure(stable, shadow, how.differ_above)
        case "ranking":
            return ranking(stable, shadow, first_of(how), how.differ_below)
        case "text":
            return text(stable, shadow, how.differ_above)
        case _:
            return structure(stable, shadow, how.differ_above, how.atol, how.rtol)


def is_likeness(how: Compare) -> bool:
    """Whether the metric is larger the more alike two parts are."""
    return how.metric == "cosine" or (how.kind == "ranking" and how.metric != _EQUAL)


def first_of(how: Compare) -> int:
    """Return how many of the first items of a ranking are compared."""
    return int(how.metric.removeprefix(_OVERLAP)) if how.metric.startswith(_OVERLAP) else FIRST


def _numbers(how: Compare, stable: Any, shadow: Any) -> Outcome:
    match how.metric:
        case "rel":
            return relative(stable, shadow, how.differ_above)
        case "cosine":
            return cosine(stable, shadow, how.differ_below)
        case "":
            if how.differ_above is None:
                return within(stable, shadow, how.atol, how.rtol)
    return absolute(stable, shadow, how.differ_above)


def _trees(stable: Answer, shadow: Answer) -> tuple[Any, Any]:
    """Return both trees; the same one for bodies that are the same, so that nothing in it needs comparing."""
    one = read(stable.fields, stable.body)
    return one, one if stable.body == shadow.body else read(shadow.fields, shadow.body)


def _nothing_alike(outputs: Sequence[Compare], why: str) -> Sides:
    return Sides(True, (unlike(why),) * len(outputs), ((MISSING, MISSING),) * len(outputs))
