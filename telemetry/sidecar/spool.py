"""A folder in which spans wait to be exported: segments that only grow, the oldest of which goes when there is no room.

Whoever uses it does so in one thread, and waits for its disk there. What is written survives this process as soon as
``append`` is back, and the machine after the next ``sync``.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from telemetry.sidecar.export_queue import Parcel
from telemetry.sidecar.spool_format import (
    RECORD_HEAD,
    SEGMENT_HEAD,
    SLOT_BYTES,
    RecordHead,
    State,
    first_of_segment,
    is_sound,
    newest_state,
    read_record_head,
    record_head,
    segment_head,
    written_state,
)

LEAST_BYTES = 8 * 2**20
"""Room for several parcels of the largest kind, so that dropping the oldest never drops all."""
_SEGMENTS = 8
_RECLAIMED_BYTES = 256 * 1024
"""A segment of which nothing waits any more is removed from this size on; before, it is written on."""
SUFFIX = ".spans"
_LOCK, _STATE = "lock", "state"
_KEPT_FILES = frozenset({_LOCK, _STATE})
QUEUE_FULL = "queue_full"
DAMAGED = "damaged"


class Books(Struct, frozen=True):
    """What was counted until now, to be kept with the spans: what is told after a death adds up."""

    exported: int = 0
    dropped: Mapping[str, int] = {}


class _Segment:
    """One file.

    Attributes:
        first, end: ordinals of its first span and of the first behind it.
        size_bytes: up to the end of its last whole record.
        read_bytes: where the next record to be sent begins.
    """

    def __init__(self, path: Path, first: int) -> None:
        self.path = path
        self.first = self.end = first
        self.size_bytes = self.read_bytes = SEGMENT_HEAD.size

    def waiting(self, head: int) -> int:
        """Return how many of its spans wait."""
        return max(0, self.end - max(self.first, head))


class Spool:
    """One folder.

    Args:
        most_bytes: of all segments, but for the one of which something is being sent.

    Attributes:
        most_bytes: as it was given.
        waiting_spans: those that wait or are being sent.
        size_bytes: of all segments.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder = folder
        self.most_bytes = most_bytes
        self._segment_bytes = most_bytes // _SEGMENTS
        self._segments: list[_Segment] = []
        self._writing: int | None = None  # the descriptor of the last segment
        self._state = State()
        self._state_file = self._lock = -1
        self._sent: _Segment | None = None
        self._resent_bytes: int | None = None
        self._books = Books()
        self._losses: Counter[str] = Counter()
        self._is_changed = False
        self.waiting_spans = self.size_bytes = 0

    def open(self) -> Books:
        """Begin with what is there, and return what was counted before; what is missing is counted as lost.

        Raises:
            OSError: the folder cannot be used, or another process does.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._state_file = os.open(self._folder / _STATE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._state = newest_state(os.pread(self._state_file, 2 * SLOT_BYTES, 0))
            self._find_segments()
        except OSError:
            self._let_go()
            raise
        self._books = Books(self._state.exported, self._state.dropped)
        self._settle_accounts()
        return self._books

    @staticmethod
    def is_free(folder: Path) -> bool:
        """Whether a folder is one of ours, and no process uses it."""
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(lock)
        return True

    def close(self) -> None:
        """Make all of it last, and let another process have the folder."""
        with suppress(OSError):
            self.sync()
        self._leave_segment()
        self._let_go()

    def remove(self) -> None:
        """Remove the folder, of which nothing is wanted any more; whoever wants it again makes it anew."""
        self._leave_segment()
        for segment in tuple(self._segments):
            self._remove(segment)
        with suppress(OSError):
            if {path.name for path in self._folder.iterdir()} <= _KEPT_FILES:
                for name in _KEPT_FILES:
                    (self._folder / name).unlink(missing_ok=True)
                self._folder.rmdir()
        self._let_go()  # last: until then nobody else finds a folder that is being removed free

    def heed(self, books: Books) -> None:
        """Keep these counts from the next change on."""
        self._books = books

    def take_losses(self) -> Counter[str]:
        """Return, once, how many spans were lost here, by why."""
        losses, self._losses = self._losses, Counter()
        return losses

    def append(self, parcel: Parcel) -> None:
        """Write a parcel behind all others; where there is no room the oldest goes.

        Raises:
            OSError: the disk does not take it; nothing is changed.
        """
        head = record_head(parcel, self._state.end)
        size_bytes = len(head) + len(parcel.body)
        self._make_room(size_bytes)
        segment, file = self._segment_to_write(size_bytes)
        try:
            if os.pwritev(file, (head, parcel.body), segment.size_bytes) != size_bytes:
                raise OSError("the disk is full")
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, segment.size_bytes)
            raise
        segment.size_bytes += size_bytes
        segment.end += parcel.span_count
        self._is_changed = True
        self._remember(end=segment.end)

    def next(self) -> Parcel | None:
        """Return the oldest parcel, which is being sent from now on; None when none waits or one is being sent."""
        if self._state.sent_count:
            return self._again()
        while segment := next((segment for segment in self._segments if segment.waiting(self._state.head)), None):
            found = self._read(segment, segment.read_bytes)
            if found is None:
                self._losses[DAMAGED] += segment.waiting(self._state.head)
                self._remember(head=segment.end)
                self._reclaim()
                continue
            head, body = found
            segment.read_bytes += head.size_bytes
            self._sent = segment
            self._remember(head=head.first + head.span_count, sent_first=head.first, sent_count=head.span_count)
            return Parcel(body, head.span_count)
        return None

    def settle(self) -> None:
        """Forget what was being sent: it was taken, or is counted as lost by who sent it."""
        self._sent, self._resent_bytes = None, None
        self._remember(sent_first=0, sent_count=0)
        self._reclaim()

    def sync(self) -> None:
        """Make what waits outlive the machine's end.

        Raises:
            OSError: the disk does not.
        """
        if self._state.exported != self._books.exported or self._state.dropped != self._books.dropped:
            self._remember()
        if self._is_changed and self.waiting_spans:  # what a receiver has need not last here
            self._sync_files()
        self._is_changed = False

    def _sync_files(self) -> None:
        if self._writing is not None:
            os.fsync(self._writing)
        os.fsync(self._state_file)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    # --- what is there at the start

    def _find_segments(self) -> None:
        found = [segment for path in sorted(self._folder.glob(f"*{SUFFIX}")) if (segment := self._scanned(path))]
        self._segments = sorted(found, key=lambda segment: segment.first)

    def _scanned(self, path: Path) -> _Segment | None:
        """Return a segment up to its first record that is not whole; None, and no file, where there is none."""
        with path.open("rb") as file:
            first = first_of_segment(file.read(SEGMENT_HEAD.size))
            if first is None:
                path.unlink()
                return None
            segment = _Segment(path, first)
            file_bytes = os.fstat(file.fileno()).st_size
            while (head := read_record_head(file.read(RECORD_HEAD.size))) and head.first == segment.end:
                if segment.size_bytes + head.size_bytes > file_bytes:
                    break
                self._place(segment, head)
                segment.size_bytes += head.size_bytes
                segment.end += head.span_count
                file.seek(segment.size_bytes)
        return segment

    def _place(self, segment: _Segment, head: RecordHead) -> None:
        """Find where reading begins: at what was being sent, and then at what was not."""
        if head.first + head.span_count <= self._state.head:
            segment.read_bytes = segment.size_bytes + head.size_bytes
        if self._state.sent_count and head.first == self._state.sent_first:
            self._sent, self._resent_bytes = segment, segment.size_bytes

    def _settle_accounts(self) -> None:
        """Count what was written and is not here."""
        state = self._state
        if not state.number and self._segments:  # what was remembered is lost, and all that is here waits
            state = replace(state, head=self._segments[0].first)
        end = max([state.end, *(segment.end for segment in self._segments)])
        found = sum(segment.waiting(state.head) for segment in self._segments)
        lost = end - state.head - found  # of a state that is older than its segments, what was sent meanwhile too
        if state.sent_count and self._resent_bytes is None:
            lost += state.sent_count
            state = replace(state, sent_first=0, sent_count=0)
        self._losses[DAMAGED] += max(0, lost)
        self._state = replace(state, end=end)
        self._remember()
        self._reclaim()

    # --- within one life

    def _again(self) -> Parcel | None:
        """Return, once, what the process before was sending; its receiver may have it already."""
        if self._sent is None or self._resent_bytes is None:
            return None
        at, self._resent_bytes = self._resent_bytes, None
        found = self._read(self._sent, at)
        if found is None:
            self._losses[DAMAGED] += self._state.sent_count
            self.settle()
            return self.next()
        head, body = found
        return Parcel(body, head.span_count)

    def _read(self, segment: _Segment, at: int) -> tuple[RecordHead, bytes] | None:
        """Return a record; None where it is damaged or cannot be read."""
        try:
            with segment.path.open("rb") as file:
                file.seek(at)
                head = read_record_head(file.read(RECORD_HEAD.size))
                body = file.read(head.body_bytes) if head else b""
        except OSError:
            return None
        return (head, body) if head is not None and is_sound(head, body) else None

    def _make_room(self, size_bytes: int) -> None:
        """Give up the oldest segments; the one of which something is being sent is kept until that is settled."""
        while self.size_bytes + size_bytes > self.most_bytes:
            oldest = next((segment for segment in self._segments if segment is not self._sent), None)
            if oldest is None:
                return
            lost = sum(segment.waiting(self._state.head) for segment in self._segments if segment.first < oldest.end)
            self._losses[QUEUE_FULL] += lost
            self._remember(head=max(self._state.head, oldest.end))
            self._remove(oldest)

    def _segment_to_write(self, size_bytes: int) -> tuple[_Segment, int]:
        """Return the last segment with its descriptor; a new one where that has enough."""
        if self._writing is not None:
            last = self._segments[-1]
            if last.size_bytes + size_bytes <= self._segment_bytes or last.first == last.end:
                return last, self._writing
            os.fsync(self._writing)
            self._leave_segment()
        first = self._state.end
        path = self._folder / f"{first:016x}{SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            if os.pwrite(file, segment_head(first), 0) != SEGMENT_HEAD.size:
                raise OSError("the disk is full")
        except OSError:
            os.close(file)
            with suppress(OSError):
                path.unlink()
            raise
        self._segments.append(_Segment(path, first))
        self._writing = file
        return self._segments[-1], file

    def _reclaim(self) -> None:
        """Remove the segments of which nothing waits any more."""
        for segment in tuple(self._segments):
            if segment is self._sent or segment.waiting(self._state.head):
                continue
            is_written = self._writing is not None and segment is self._segments[-1]
            if not is_written or segment.size_bytes >= _RECLAIMED_BYTES:
                self._remove(segment)
        self._weigh()

    def _remove(self, segment: _Segment) -> None:
        if self._writing is not None and segment is self._segments[-1]:
            self._leave_segment()
        self._segments.remove(segment)
        with suppress(OSError):  # it is found again at the next start, and nothing in it waits
            segment.path.unlink()
        self._weigh()

    def _leave_segment(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _remember(
        self,
        head: int | None = None,
        end: int | None = None,
        sent_first: int | None = None,
        sent_count: int | None = None,
    ) -> None:
        """Write down where things are, before anything follows from it; that a disk refuses ``append`` tells."""
        state = self._state
        dropped = Counter(self._books.dropped) + self._losses
        self._state = State(
            state.number + 1,
            state.head if head is None else head,
            state.end if end is None else end,
            state.sent_first if sent_first is None else sent_first,
            state.sent_count if sent_count is None else sent_count,
            self._books.exported,
            dict(dropped),
        )
        at, slot = written_state(self._state)
        with suppress(OSError):
            os.pwrite(self._state_file, slot, at)
        self._weigh()

    def _weigh(self) -> None:
        waiting = sum(segment.waiting(self._state.head) for segment in self._segments)
        self.waiting_spans = waiting + self._state.sent_count
        self.size_bytes = sum(segment.size_bytes for segment in self._segments)

    def _let_go(self) -> None:
        for file in (self._state_file, self._lock):
            if file >= 0:
                os.close(file)
        self._state_file = self._lock = -1
