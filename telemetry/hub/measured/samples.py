"""Reads the samples that are wanted out of an exposition in Prometheus' text format or in OpenMetrics."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from msgspec import Struct

_LABEL = r'[a-zA-Z_]\w*="(?:[^"\\]|\\.)*",?'
_LINE = re.compile(
    rf"(?P<name>[a-zA-Z_:][\w:]*)(?:\{{(?P<labels>(?:{_LABEL})*)\}})? (?P<value>\S+)(?: [-+.\deE]+)?"
    rf"(?: # \{{(?P<shown>(?:{_LABEL})*)\}} (?P<shown_value>\S+)(?: (?P<shown_at>\S+))?)?\s*\Z"
)
_PAIR = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n"}


class Exemplar(Struct, frozen=True):
    """One event of a bucket; ``at_s`` is 0 where it was not told."""

    trace_id: str
    value: float
    at_s: float


class Sample(Struct, frozen=True):
    """One line."""

    name: str
    labels: dict[str, str]
    value: float
    exemplar: Exemplar | None = None


def samples(text: str, wanted: Collection[str]) -> Iterator[Sample]:
    """Yield the samples of these names; a line that cannot be read is passed over."""
    for line in text.split("\n"):
        if _name(line) not in wanted:
            continue
        found = _LINE.match(line)
        sample = _sample(found) if found else None
        if sample is not None:
            yield sample


def _name(line: str) -> str:
    """Return what stands before the labels; most lines are told apart by it alone."""
    before, brace, _ = line.partition("{")
    return before if brace else line.partition(" ")[0]


def _sample(found: re.Match[str]) -> Sample | None:
    try:
        value = float(found["value"])
        shown = _exemplar(found)
    except ValueError:
        return None
    return Sample(found["name"], _labels(found["labels"]), value, shown)


def _exemplar(found: re.Match[str]) -> Exemplar | None:
    trace_id = _labels(found["shown"]).get("trace_id", "")
    if not trace_id:
        return None
    return Exemplar(trace_id, float(found["shown_value"]), float(found["shown_at"] or 0))


def _labels(text: str | None) -> dict[str, str]:
    return {name: _unescaped(value) for name, value in _PAIR.findall(text or "")}


def _unescaped(value: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value) if "\\" in value else value
