"""Decides how incidents and changes lie along a stretch of time."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from telemetry.hub.dashboards.happenings import Happening
from telemetry.hub.shown.axis import Bar, bar
from telemetry.hub.shown.formats import date, duration

LISTED = 20
_SHORTEST = 0.004


class Mark(Struct, frozen=True):
    """One of them; ``kind`` is ``page``, ``ticket``, ``deploy`` or ``canary``."""

    kind: str
    bar: Bar
    title: str


class Told(Struct, frozen=True):
    """One line of the list."""

    happening: Happening
    kind: str
    at: str
    lasted: str


class Strip(Struct, frozen=True):
    """All of them along the time, and the latest as a list."""

    marks: tuple[Mark, ...]
    told: tuple[Told, ...]
    left_out: int


def strip(found: Iterable[Happening], from_s: float, to_s: float) -> Strip:
    """Return what happened between two moments, the latest first in the list."""
    several = list(found)
    whole_s = max(1.0, to_s - from_s)
    marks = tuple(
        Mark(kind_of(one), _bar(one, from_s, to_s, whole_s), f"{date(one.at_s)}: {one.text}") for one in several
    )
    told = tuple(Told(one, kind_of(one), date(one.at_s), _lasted(one)) for one in several[:LISTED])
    return Strip(marks, told, max(0, len(several) - LISTED))


def kind_of(one: Happening) -> str:
    """Return how to colour it."""
    return one.severity if one.kind == "incident" else one.kind


def _bar(one: Happening, from_s: float, to_s: float, whole_s: float) -> Bar:
    ends_s = to_s if one.kind == "incident" and one.ends_s is None else one.ends_s or one.at_s
    begins_s = max(from_s, one.at_s)
    return bar(begins_s - from_s, max(ends_s - begins_s, _SHORTEST * whole_s), whole_s)


def _lasted(one: Happening) -> str:
    if one.kind != "incident":
        return ""
    return "goes on" if one.ends_s is None else f"lasted {duration(one.ends_s - one.at_s)}"
