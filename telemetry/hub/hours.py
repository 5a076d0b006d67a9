"""Decides which file a span goes to and which files are dropped: one file per hour, and another when one is full."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from msgspec import Struct

HOUR_S = 3600
HOME_S = 3600
"""A trace stays in the file of its first span for at least so long after that file's hour."""

FILES_OF_A_LIMIT = 4
"""A file is full at this share of the limit on all of them, so that dropping one never drops nearly everything."""

JUMP_S = 60.0
"""A wall clock that is set by more is not trusted for a while; a second's leap and a slow correction are less."""
STEADY_S = 600.0
"""So long after the start or a jump files are not dropped for their age, in case the clock is set right."""

_NAME = re.compile(r"traces-(\d{10})(?:-(\d{3,}))?\.db(\.damaged)?\Z")


class HourName(Struct, frozen=True, order=True):
    """One file.

    Attributes:
        hour_s: start of its hour, seconds since the epoch.
        part: from 0; the hour's next file once one is full.
    """

    hour_s: int
    part: int = 0
    is_damaged: bool = False

    def __str__(self) -> str:
        hour = datetime.fromtimestamp(self.hour_s, UTC).strftime("%Y%m%d%H")
        part = f"-{self.part:03d}" if self.part else ""
        return f"traces-{hour}{part}.db{'.damaged' if self.is_damaged else ''}"


class StoredFile(Struct, frozen=True):
    """A file and its size, what lies beside it included."""

    name: HourName
    size_bytes: int


def parse_name(text: str) -> HourName | None:
    """Return what a file's name says; None when it is none of ours."""
    match = _NAME.match(text)
    if not match:
        return None
    try:
        hour = datetime.strptime(match[1], "%Y%m%d%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    return HourName(int(hour.timestamp()), int(match[2] or 0), match[3] is not None)


def current(files: Sequence[StoredFile], now_s: float, max_bytes: int) -> HourName:
    """Return the file for traces that begin to arrive now."""
    hour_s = int(now_s) // HOUR_S * HOUR_S
    ours = [file for file in files if file.name.hour_s == hour_s]
    newest = max(ours, key=lambda file: file.name, default=None)
    if newest is None:
        return HourName(hour_s)
    if newest.name.is_damaged or newest.size_bytes >= max_bytes // FILES_OF_A_LIMIT:
        return HourName(hour_s, newest.name.part + 1)
    return newest.name


def homes(files: Sequence[StoredFile], now_s: float) -> list[HourName]:
    """Return the files whose traces may still grow, the newest first."""
    oldest_s = now_s - HOUR_S - HOME_S
    return sorted((f.name for f in files if not f.name.is_damaged and f.name.hour_s >= oldest_s), reverse=True)


def to_drop(
    files: Sequence[StoredFile], now_s: float, retain_s: float, max_bytes: int, steady_s: float
) -> list[HourName]:
    """Return the files that go: those whose hour is too long ago, then some while all are too large.

    Of these, files of the future go first: a clock that was ahead left them. The file that spans are written to stays,
    whatever its size, and the newest of all is never too old. By age nothing goes while the clock is not to be trusted.

    Args:
        steady_s: how long the wall clock has run as ``Steadiness`` says.
    """
    ordered = sorted(files, key=lambda file: file.name)
    if not ordered:
        return []
    future_s = now_s + HOUR_S
    kept = next((file for file in reversed(ordered) if file.name.hour_s <= future_s), ordered[-1])
    is_trusted = steady_s >= STEADY_S
    old = [f for f in ordered[:-1] if is_trusted and f is not kept and f.name.hour_s + HOUR_S + retain_s <= now_s]
    gone = {file.name for file in old}
    total_bytes = sum(file.size_bytes for file in ordered if file.name not in gone)
    for file in sorted(ordered, key=lambda file: (file.name.hour_s <= future_s, file.name)):
        if total_bytes <= max_bytes:
            break
        if file is not kept and file.name not in gone:
            gone.add(file.name)
            total_bytes -= file.size_bytes
    return [file.name for file in ordered if file.name in gone]


class Steadiness:
    """Watches the wall clock: a machine may begin with a wrong one, and one that is set says nothing of files' ages."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._since_s: float | None = None

    def steady_s(self, wall_s: float, monotonic_s: float) -> float:
        """Return for how long the wall clock has run along with the other, as far as this was called."""
        ahead_s = wall_s - monotonic_s
        if self._since_s is None or abs(ahead_s - self._ahead_s) > JUMP_S:
            self._since_s = monotonic_s
        self._ahead_s = ahead_s
        return monotonic_s - self._since_s
