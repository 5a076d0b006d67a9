"""Remembers which traces were kept lately, and lists for the pods' sidecars those that they cannot know of."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from msgspec import Struct

from telemetry.sidecar.judgement import Kept

REMEMBERED_S = 60.0
REMEMBERED = 16_384
LISTED = 4096
# So soon a trace is not listed again; long before readers forget it.
AGAIN_AFTER_S = 10.0
JOINED = 100
"""Requests that a trace brings along; a caller may put all it sends into one."""


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


@dataclass(slots=True)
class _KeptTrace:
    why: Kept
    noted_s: float
    joined: int = 0


class KeptTraces:
    """The traces of which something was kept in the last minute; beyond the bound the oldest are forgotten."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, _KeptTrace] = OrderedDict()

    def note(self, trace_id: str, why: Kept, now_s: float) -> None:
        """Remember a trace for another minute; why it was kept first stays."""
        self._traces.setdefault(trace_id, _KeptTrace(why, now_s)).noted_s = now_s
        self._traces.move_to_end(trace_id)
        while self._traces and (len(self._traces) > REMEMBERED or self._oldest_s() < now_s - REMEMBERED_S):
            self._traces.popitem(last=False)

    def why(self, trace_id: str) -> Kept | None:
        """Return why a trace was kept, None when it was not."""
        known = self._traces.get(trace_id)
        return known.why if known else None

    def joins(self, trace_id: str) -> bool:
        """Whether one more request may be kept for the sake of a trace that is remembered."""
        known = self._traces[trace_id]
        known.joined += 1
        return known.joined <= JOINED

    def _oldest_s(self) -> float:
        return next(iter(self._traces.values())).noted_s


class KeepList:
    """Numbered traces, for readers that ask what is new.

    Args:
        first: the first number. It is to be larger than every number of the process before, so that a reader of
            that one misses nothing of this one.
    """

    def __init__(self, first: int) -> None:
        self._next = first
        self._listed: OrderedDict[str, tuple[int, float, Keep]] = OrderedDict()

    def add(self, keep: Keep, now_s: float) -> None:
        """List a trace, once more if that was long ago; beyond the bound the oldest goes."""
        known = self._listed.get(keep.trace_id)
        if known is not None and now_s < known[1] + AGAIN_AFTER_S:
            return
        self._listed[keep.trace_id] = (self._next, now_s, keep)
        self._listed.move_to_end(keep.trace_id)
        self._next += 1
        if len(self._listed) > LISTED:
            self._listed.popitem(last=False)

    def after(self, number: int, now_s: float) -> Keeps:
        """Return what was listed since a reader was told ``number``, of the last minute."""
        oldest_s = now_s - REMEMBERED_S
        new = (keep for of, at_s, keep in self._listed.values() if of >= number and at_s >= oldest_s)
        return Keeps(self._next, tuple(new))
