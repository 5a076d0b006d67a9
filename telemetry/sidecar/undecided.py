"""Holds what may still be kept for the sake of a trace, for a while and within a bound."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from msgspec import Struct

from telemetry.records import Frame, Record
from telemetry.span import Span

HOLD_S = 10.0
CAPACITY = 16_384
"""Records and spans that are held, about 16 MB: 10 s of 1,600 requests per second."""


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
        is_done: it is kept or given up, and waits no longer.
    """

    matter: Recorded | tuple[Span, ...]
    traces: frozenset[str]
    trace_id: str
    is_done: bool = False

    @property
    def weight(self) -> int:
        """How much of the bound it takes."""
        return len(self.matter) if isinstance(self.matter, tuple) else 1


class Undecided:
    """What is held, oldest first and by trace."""

    def __init__(self) -> None:
        self._queue: deque[tuple[float, Held]] = deque()
        self._of_trace: dict[str, list[Held]] = {}
        self.weight = 0

    def hold(self, held: Held, now_s: float) -> Iterator[Held]:
        """Hold one more; yield what has to be given up for it: the oldest, or itself when it is beyond the bound."""
        if held.weight > CAPACITY:
            yield held
            return
        while self.weight + held.weight > CAPACITY:
            yield from self._give_up_oldest()
        self._queue.append((now_s + HOLD_S, held))
        self.weight += held.weight
        for trace_id in held.traces:
            self._of_trace.setdefault(trace_id, []).append(held)

    def release(self, trace_id: str) -> list[Held]:
        """Return, once, what waited for this trace."""
        waited = [held for held in self._of_trace.get(trace_id, ()) if not held.is_done]
        for held in waited:
            self._finish(held)
        return waited

    def expired(self, now_s: float) -> Iterator[Held]:
        """Yield, once, what has waited long enough."""
        while self._queue and (self._queue[0][0] <= now_s or self._queue[0][1].is_done):
            yield from self._give_up_oldest()

    def _give_up_oldest(self) -> Iterator[Held]:
        _, held = self._queue.popleft()
        if not held.is_done:
            self._finish(held)
            yield held

    def _finish(self, held: Held) -> None:
        held.is_done = True
        self.weight -= held.weight
        for trace_id in held.traces:
            waiting = self._of_trace[trace_id]
            waiting.remove(held)
            if not waiting:
                del self._of_trace[trace_id]
