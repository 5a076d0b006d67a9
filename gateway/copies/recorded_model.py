"""Recorded model: what is recorded of one model, in files of bounded size and age; the oldest go first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import islice
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from gateway.control.state_dir import write_private
from gateway.copies.segments import BESIDE, Recorded, Segment, frame_of

_SUFFIX = ".requests"
_LEFT_OUT = "left-out.json"
# Whole files are removed, by size and by age: about so many make what is kept.
_PARTS = 8
_FILE_BYTES = 8 * 2**20


class Place(Struct, frozen=True):
    """Where a recorded request is."""

    segment: Segment
    at: int

    def read(self) -> Recorded | None:
        """Return the request; None when it has been removed meanwhile."""
        return self.segment.read(self.at)


class LeftOutOf(Struct, frozen=True):
    """What was left out of requests when they were written.

    Attributes:
        only_fields: all others were left out; None where none was by this.
        redact: rules that hid parts of their texts.
        subject: where they said whom they are about.
    """

    drop_headers: tuple[str, ...] = ()
    drop_fields: tuple[str, ...] = ()
    only_fields: tuple[str, ...] | None = None
    redact: tuple[str, ...] = ()
    subject: str | None = None


class Bounds(Protocol):
    """What may be kept of a model."""

    @property
    def max_bytes(self) -> int:
        """All of it."""

    @property
    def keep_s(self) -> float:
        """For so long."""


class TooLarge(Exception):
    """A request is larger than all that may be kept."""


class RecordedModel:
    """The folder of one model.

    Attributes:
        rule: what policy says of it.
    """

    def __init__(self, folder: Path, rule: Bounds) -> None:
        """Read the folder, making it where it is missing.

        Raises:
            OSError: it cannot be used.
        """
        self.folder = folder
        self.rule = rule
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in folder.glob(f"*{BESIDE}"):
            path.unlink()
        self._segments = [Segment.opened(path) for path in sorted(folder.glob(f"*{_SUFFIX}")) if path.stem.isdigit()]
        # What an earlier process had begun is left as it is: its last write may not be on the disk.
        self._is_to_begin = True

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return sum(segment.size for segment in self._segments)

    @property
    def count(self) -> int:
        """Requests that are kept."""
        return sum(map(len, self._segments))

    def follow(self, rule: Bounds, now: LeftOutOf) -> bool:
        """Go by a rule; whether all was removed, since more is left out now than when it was recorded.

        Args:
            now: what is left out from now on.

        Raises:
            OSError: the files cannot be read or written.
        """
        self.rule = rule
        path = self.folder / _LEFT_OUT
        before = _left_out(path)
        if now == before:
            return False
        removed = 0 if before is not None and _covers(before, now) else self.clear()
        write_private(path, msgspec.json.encode(now))
        return removed > 0

    def add(self, recorded: Recorded, now_s: float) -> None:
        """Keep a request; the oldest ones make room for it.

        Raises:
            TooLarge: there can never be room for it.
            OSError: it cannot be written.
        """
        frame = frame_of(recorded)
        if len(frame) > self.rule.max_bytes:
            raise TooLarge
        self._make_room(len(frame))
        current = self._current(len(frame), now_s)
        try:
            current.append(recorded, frame)
        except OSError:
            # Its end may not be where it should be.
            self._is_to_begin = True
            raise
        if current not in self._segments[-1:]:
            self._segments.append(current)
            self._is_to_begin = False

    def _current(self, more_bytes: int, now_s: float) -> Segment:
        current = self._segments[-1] if self._segments and not self._is_to_begin else None
        if current is None or self._is_full(current, more_bytes, now_s):
            number = 1 + max((int(segment.path.stem) for segment in self._segments), default=0)
            current = Segment(self.folder / f"{number:012}{_SUFFIX}")
        return current

    def _is_full(self, segment: Segment, more_bytes: int, now_s: float) -> bool:
        is_long = segment.size + more_bytes > min(_FILE_BYTES, self.rule.max_bytes // _PARTS)
        return len(segment) > 0 and (is_long or now_s - segment.first_s > self.rule.keep_s / _PARTS)

    def expire(self, now_s: float) -> None:
        """Remove every file that holds a request which is too old, and the oldest beyond what may be kept.

        Raises:
            OSError: one cannot be removed.
        """
        for segment in [one for one in self._segments if len(one) and one.first_s < now_s - self.rule.keep_s]:
            self._drop(segment)
        self._make_room(0)

    def _make_room(self, more_bytes: int) -> None:
        while self._segments and self.size + more_bytes > self.rule.max_bytes:
            self._drop(self._segments[0])

    def drop_others(self, tenants: Collection[str]) -> Counter[str]:
        """Remove requests of all tenants but these, and return how many there were of which.

        A file that cannot be written anew, as on a full disk, goes whole.

        Raises:
            OSError: some of it could not be done.
        """
        dropped: Counter[str] = Counter()
        for segment in tuple(self._segments):
            unwanted = segment.tenants.keys() - tenants
            if unwanted:
                dropped += Counter({tenant: segment.tenants[tenant] for tenant in unwanted})
                try:
                    rest = segment.without(lambda one: one.answered.tenant not in tenants)
                    self._segments[self._segments.index(segment)] = rest
                except OSError:
                    self._drop(segment)
        return dropped

    def purge(self, is_unwanted: Callable[[Recorded], bool]) -> int:
        """Remove some requests, and return how many there were; a file of which nothing is left goes.

        Raises:
            OSError: some of it could not be done.
        """
        removed = 0
        for segment in tuple(self._segments):
            unwanted = sum(map(is_unwanted, segment.all()))
            removed += unwanted
            if unwanted == len(segment):
                self._drop(segment)
            elif unwanted:
                self._segments[self._segments.index(segment)] = segment.without(is_unwanted)
        return removed

    def newest(self) -> Iterator[Recorded]:
        """Yield requests, newest first; a file that cannot be read has none."""
        for segment in reversed(self._segments):
            try:
                requests = list(segment.all())
            except OSError:
                continue
            yield from reversed(requests)

    def latest(self, most: int) -> list[Place]:
        """Return the places of the newest requests, in the order in which they were recorded."""
        newest_first = (Place(one, at) for one in reversed(self._segments) for at in reversed(range(len(one))))
        return list(islice(newest_first, most))[::-1]

    def clear(self) -> int:
        """Remove all requests, and return how many there were.

        Raises:
            OSError: some could not be removed, and stay.
        """
        removed = 0
        for segment in tuple(self._segments):
            removed += len(segment)
            self._drop(segment)
        return removed

    def _drop(self, segment: Segment) -> None:
        segment.remove()
        self._segments.remove(segment)


def _left_out(path: Path) -> LeftOutOf | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=LeftOutOf)
    except (FileNotFoundError, msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _covers(before: LeftOutOf, now: LeftOutOf) -> bool:
    """Whether all that is left out now was left out before too."""
    if not _has_all(before.drop_headers, now.drop_headers) or not _has_all(before.drop_fields, now.drop_fields):
        return False
    if now.only_fields is not None and (
        before.only_fields is None or not _has_all(now.only_fields, before.only_fields)
    ):
        return False
    return _has_all(before.redact, now.redact) and before.subject == now.subject


def _has_all(these: Collection[str], those: Collection[str]) -> bool:
    return set(those) <= set(these)
