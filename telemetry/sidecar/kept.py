"""Remembers which traces were kept lately, and lists for the pods' sidecars those that they cannot know of."""

from __future__ import annotations

from collections import OrderedDict, deque

from msgspec import Struct

from telemetry.sidecar.judgement import Kept

REMEMBERED_S = 60.0
REMEMBERED = 16_384
LISTED = 4096


class Keep(Struct, frozen=True, array_like=True):
    """A trace that is kept, and why."""

    trace_id: str
    why: Kept


class Keeps(Struct, frozen=True):
    """What ``GET /keep?after=N`` answers.

    Attributes:
        next: what to ask after the next time.
    """

    next: int
    traces: tuple[Keep, ...]


class KeptTraces:
    """The traces that were kept in the last minute; beyond the bound the oldest are forgotten."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, tuple[Kept, float]] = OrderedDict()

    def note(self, trace_id: str, why: Kept, now_s: float) -> None:
        """Remember a trace; why it was kept first stays."""
        self._traces.setdefault(trace_id, (why, now_s))
        while self._traces and (len(self._traces) > REMEMBERED or self._oldest_s() < now_s - REMEMBERED_S):
            self._traces.popitem(last=False)

    def why(self, trace_id: str) -> Kept | None:
        """Return why a trace was kept, None when it was not."""
        known = self._traces.get(trace_id)
        return known[0] if known else None

    def _oldest_s(self) -> float:
        return next(iter(self._traces.values()))[1]


class KeepList:
    """Numbered traces, for readers that ask what is new.

    Args:
        first: the first number. It is to be larger than every number of the process before, so that a reader of
            that one misses nothing of this one.
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._listed: deque[tuple[int, float, Keep]] = deque(maxlen=LISTED)

    def add(self, keep: Keep, now_s: float) -> None:
        """List one more trace; beyond the bound the oldest goes."""
        self._listed.append((self._next, now_s, keep))
        self._next += 1

    def after(self, number: int, now_s: float) -> Keeps:
        """Return what was listed since a reader was told ``number``, of the last minute."""
        oldest_s = now_s - REMEMBERED_S
        new = (keep for of, at_s, keep in self._listed if of >= number and at_s >= oldest_s)
        return Keeps(self._next, tuple(new))
