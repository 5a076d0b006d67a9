"""What was counted by window of time: kept as long as it is a reference or recent, and added up for judging."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from telemetry.drift.fields import Field, added_up

KEPT = 72
"""So many of the first windows stay, for they may be a reference, so many of the latest, and so many of each place."""
MAX_PLACES = 32
REFERENCE_ROWS = 1000
"""A reference goes on until it has so many rows."""
LATE_S = 5.0
"""So long after its end a window may still get rows: from pods that tell once a second, over files kept every 3 s."""
PERIOD_ROWS = 500
PERIOD_WINDOWS = 24
"""Windows with few rows are judged together: until they have ``PERIOD_ROWS`` or what is needed, and at most so many."""

Place = str
"""``SIDE PATH``: where in a row something was found."""
Windows = dict[int, dict[Place, Field]]
"""By the second of the epoch at which a window begins, in the order in which they were begun.

That order is no clock's: by it windows stay or go, so one that a wrong clock has dated goes like any other.
"""


class Kept(NamedTuple):
    """The windows of one pod; ``window_s`` is how long each is."""

    window_s: float
    windows: Windows


class Dated(NamedTuple):
    """What one place had from one window to another.

    Attributes:
        from_s, until_s: seconds since the epoch.
    """

    from_s: float
    until_s: float
    field: Field


class Reference(NamedTuple):
    """What a place is compared with.

    Attributes:
        dated: None while there is nothing.
        is_learnt: it is complete, and will not change any more.
    """

    dated: Dated | None
    is_learnt: bool


def place_of(side: str, path: str) -> Place:
    """Return the place of a part of inputs or outputs."""
    return f"{side} {path}"


def add(windows: Windows, at_s: float, window_s: float, place: Place, field: Field) -> None:
    """Count what was found at a place into the window of a moment; what need not stay goes."""
    start = int(at_s // window_s * window_s)
    window = windows.get(start)
    if window is None:
        window = windows[start] = {}
        _trim(windows)
    window[place] = added_up((window[place], field)) if place in window else field


def together(many: Iterable[Mapping[int, Mapping[Place, Field]]]) -> Windows:
    """Return the windows of all pods of a version as one."""
    gathered: defaultdict[int, defaultdict[Place, list[Field]]] = defaultdict(lambda: defaultdict(list))
    for windows in many:
        for start, places in windows.items():
            for place, field in places.items():
                gathered[start][place].append(field)
    return {
        start: {place: added_up(fields) for place, fields in places.items()}
        for start, places in sorted(gathered.items())
    }


def reference_of(windows: Windows, place: Place, reference_s: float, window_s: float, now_s: float) -> Reference:
    """Return the first windows in which a place was found: those of ``reference_s``, and on until rows are enough."""
    starts = _starts_of(windows, sorted(windows), place)
    chosen: list[int] = []
    rows = 0
    for start in starts:
        if chosen and start >= starts[0] + reference_s and rows >= REFERENCE_ROWS:
            break
        chosen.append(start)
        rows += windows[start][place].rows
    if not chosen:
        return Reference(None, is_learnt=False)
    until_s = max(chosen[-1] + window_s, starts[0] + reference_s)
    dated = Dated(chosen[0], until_s, added_up(windows[start][place] for start in chosen))
    return Reference(dated, is_learnt=rows >= REFERENCE_ROWS and now_s >= until_s + LATE_S)


def periods_of(
    windows: Windows, place: Place, since_s: float, window_s: float, now_s: float, needed: int = PERIOD_ROWS
) -> list[Dated]:
    """Return what there was at a place since a moment, in periods of one window that is over, or of some thin ones.

    Args:
        needed: so many rows a period has.
    """
    periods: list[Dated] = []
    waiting: list[int] = []
    for start in sorted(windows):
        if start < since_s or start + window_s + LATE_S > now_s or place not in windows[start]:
            continue
        waiting = [one for one in waiting if start - one < PERIOD_WINDOWS * window_s]
        waiting.append(start)
        fields = [windows[one][place] for one in waiting]
        if sum(field.rows for field in fields) >= needed:
            periods.append(Dated(waiting[0], start + window_s, added_up(fields)))
            waiting = []
    return periods


def latest(windows: Windows, place: Place, since_s: float, window_s: float, now_s: float) -> Dated | None:
    """Return what there was at a place lately, however little; not what a clock that was ahead has dated later."""
    starts: Sequence[int] = [
        start for start in sorted(windows) if since_s <= start <= now_s and place in windows[start]
    ]
    if not starts:
        return None
    starts = [start for start in starts if starts[-1] - start < PERIOD_WINDOWS * window_s]
    return Dated(starts[0], starts[-1] + window_s, added_up(windows[start][place] for start in starts))


def _trim(windows: Windows) -> None:
    """Keep the first windows, the latest, and of the places in these the first of each: they may be a reference."""
    for start in _ahead(windows):
        del windows[start]
    starts = list(windows)
    lately = {place: at for at, start in enumerate(starts[-KEPT:]) for place in windows[start]}
    places = sorted(lately, key=lambda place: (-lately[place], place))[:MAX_PLACES]
    first = {place: set(_starts_of(windows, starts, place)) for place in places}
    for start in starts[KEPT:-KEPT]:
        held = {place: field for place, field in windows[start].items() if start in first.get(place, ())}
        if held:
            windows[start] = held
        else:
            del windows[start]


def _ahead(windows: Windows) -> list[int]:
    """Return the windows of a clock that was set back since and stayed so: as many as are kept were begun after them.

    Until then they stay, for the clock may be set right again.
    """
    starts = list(windows)
    not_ahead = [at for at, start in enumerate(starts) if start <= starts[-1]]
    if len(not_ahead) <= KEPT:
        return []
    return [start for start in starts[: not_ahead[-KEPT]] if start > starts[-1]]


def _starts_of(windows: Windows, starts: Iterable[int], place: Place) -> list[int]:
    return [start for start in starts if place in windows[start]][:KEPT]
