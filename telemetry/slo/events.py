"""EventCount: how many events were good, bad or ignored for one objective."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from msgspec import Struct


class Meaning(StrEnum):
    """What one event, such as a request, means to one objective."""

    GOOD = "good"
    BAD = "bad"
    IGNORED = "ignored"


class EventCount(Struct, frozen=True, gc=False):
    """Events by what they meant; counts are added, and divided last."""

    good: int = 0
    bad: int = 0
    ignored: int = 0

    @property
    def total(self) -> int:
        """Events that count: the ignored ones say nothing."""
        return self.good + self.bad

    def __add__(self, other: EventCount) -> EventCount:
        return EventCount(self.good + other.good, self.bad + other.bad, self.ignored + other.ignored)

    def __sub__(self, other: EventCount) -> EventCount:
        return EventCount(self.good - other.good, self.bad - other.bad, self.ignored - other.ignored)

    def __bool__(self) -> bool:
        return bool(self.good or self.bad or self.ignored)


NO_EVENTS = EventCount()
ONE: Final[Mapping[Meaning, EventCount]] = {
    Meaning.GOOD: EventCount(good=1),
    Meaning.BAD: EventCount(bad=1),
    Meaning.IGNORED: EventCount(ignored=1),
}
