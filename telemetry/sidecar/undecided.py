"""Holds what may still be kept for the sake of a trace, for a while and within bounds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

from msgspec import Struct

from telemetry.records import Frame, Record
from telemetry.sidecar.judgement import Kept
from telemetry.span import Span

HOLD_S = 10.0
"""For what comes when a request is over; by then everybody knows of it who has a say."""
HOLD_SPANS_S = 130.0
"""For spans that others make while a request goes on: of one that takes two minutes the record is here by then."""
CAPACITY = 16_384
"""Records, and as many spans: 10 s of 1,600 requests per second."""
RECORDS_BYTES = 32 * 2**20
SPANS_BYTES = 16 * 2**20


class Recorded(Struct, frozen=True):
    """A record and where it came in: its frame without records."""

    origin: Frame
    record: Record


@dataclass(eq=False, slots=True)
class Held:
    """A record, or spans of one trace that somebody else made.

    Attributes:
        traces: any of these that is kept keeps it.
        trace_id: its own trace, which is kept with it.
        size_bytes: what it takes, about.
        why: it would be kept by itself, where nobody knows better.
    """

    matter: Recorded | tuple[Span, ...]
    traces: frozenset[str]
    trace_id: str
    size_bytes: int
    why: Kept | None = None

    @property
    def weight(self) -> int:
        """How many things it is."""
        return len(self.matter) if isinstance(self.matter, tuple) else 1


class Undecided:
    """What is held, oldest first and by trace."""

    def __init__(self) -> None:
        self._numbers = count()
        # Each has a bound of its own: whoever sends many spans drives no records out.
        self._records = _Line(HOLD_S, RECORDS_BYTES)
        self._spans = _Line(HOLD_SPANS_S, SPANS_BYTES)
        self._of_trace: dict[str, dict[int, Held]] = {}

    @property
    def weight(self) -> int:
        """How many records and spans are held."""
        return self._records.weight + self._spans.weight

    def hold(self, held: Held, now_s: float) -> Iterator[Held]:
        """Hold one more; yield what has to be given up for it: the oldest, or itself when it is beyond a bound."""
        line = self._line(held)
        if not line.may_hold(held):
            yield held
            return
        while not line.has_room(held):
            yield self._finish(line.oldest())
        number = next(self._numbers)
        line.add(number, held, now_s)
        for trace_id in held.traces:
            self._of_trace.setdefault(trace_id, {})[number] = held

    def release(self, trace_id: str) -> list[Held]:
        """Return, once, what waited for this trace."""
        return [self._finish(number) for number in tuple(self._of_trace.get(trace_id, ()))]

    def expired(self, now_s: float) -> Iterator[Held]:
        """Yield, once, what has waited long enough, and the spans of a trace whose last record has."""
        while self._records.is_due(now_s):
            record = self._finish(self._records.oldest())
            yield record
            yield from self._left_alone(record.trace_id)
        while self._spans.is_due(now_s):
            yield self._finish(self._spans.oldest())

    def _left_alone(self, trace_id: str) -> list[Held]:
        """Give up, and return, the spans of a trace of which no record waits; a batch is a record of its own trace."""
        own = {number: held for number, held in self._of_trace.get(trace_id, {}).items() if held.trace_id == trace_id}
        if any(number in self._records for number in own):
            return []
        return [self._finish(number) for number in own]

    def _line(self, held: Held) -> _Line:
        return self._spans if isinstance(held.matter, tuple) else self._records

    def _finish(self, number: int) -> Held:
        line = self._records if number in self._records else self._spans
        held = line.remove(number)
        for trace_id in held.traces:
            waiting = self._of_trace[trace_id]
            del waiting[number]
            if not waiting:
                del self._of_trace[trace_id]
        return held


class _Line:
    """What is held for one length of time, by number."""

    def __init__(self, hold_s: float, capacity_bytes: int) -> None:
        self._hold_s = hold_s
        self._capacity_bytes = capacity_bytes
        self._held: OrderedDict[int, tuple[float, Held]] = OrderedDict()
        self._size_bytes = 0
        self.weight = 0

    def __contains__(self, number: int) -> bool:
        return number in self._held

    def may_hold(self, held: Held) -> bool:
        """Whether there is room for this where there is nothing else."""
        return held.weight <= CAPACITY and held.size_bytes <= self._capacity_bytes

    def has_room(self, held: Held) -> bool:
        """Whether there is room for this now."""
        return self.weight + held.weight <= CAPACITY and self._size_bytes + held.size_bytes <= self._capacity_bytes

    def add(self, number: int, held: Held, now_s: float) -> None:
        """Hold this, the youngest."""
        self._held[number] = (now_s + self._hold_s, held)
        self.weight += held.weight
        self._size_bytes += held.size_bytes

    def remove(self, number: int) -> Held:
        """Return what is held by this number, and hold it no more."""
        _, held = self._held.pop(number)
        self.weight -= held.weight
        self._size_bytes -= held.size_bytes
        return held

    def is_due(self, now_s: float) -> bool:
        """Whether the oldest has waited long enough."""
        return bool(self._held) and self._held[self.oldest()][0] <= now_s

    def oldest(self) -> int:
        """Return the number of what is held longest."""
        return next(iter(self._held))
