"""The folder of decision records: which files there are, which must go, and what they hold, in order of time."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from gateway.decisions.records import Block, Frame, Record, frames, opened, record_at

FOLDER = "decisions"
SUFFIX = ".rec"
# Of a file that is to take the place of one: it is no file of records yet.
MERGING = ".merging"
MAX_BYTES = 256 * 2**20
# A file is closed when it is as large, or as old: what is deleted goes in such pieces.
FILE_BYTES = 2 * 2**20
FILE_S = 3600.0
KEEP_S = 24 * 3600.0
# A record is written when its request is settled, and dated by its decision: as a rule no more than so much earlier.
_SETTLED_WITHIN_S = 150.0


@dataclass(frozen=True, slots=True)
class RecordFile:
    """A file of records.

    Attributes:
        began_s, written_s: when it was begun and written last, seconds since the epoch.
    """

    path: Path
    began_s: float
    written_s: float
    size: int


@dataclass(slots=True)
class Read:
    """What became of reading.

    Attributes:
        lost: records that workers could not keep.
        skipped: torn or unreadable blocks.
        read_bytes, skipped_bytes: of blocks that were read, and of what was skipped.
        unidentified: requests refused before anybody knew whose they were, by reason; they have no record.
    """

    lost: int = 0
    skipped: int = 0
    read_bytes: int = 0
    skipped_bytes: int = 0
    unidentified: dict[str, int] = field(default_factory=dict)

    @property
    def unreadable(self) -> float:
        """Which share of all bytes was skipped; 0.0 where there are none."""
        return self.skipped_bytes / max(1, self.read_bytes + self.skipped_bytes)


def file_name(began_s: float, pid: int) -> str:
    """Return the name of a worker's next file."""
    return f"{int(began_s)}-{pid}{SUFFIX}"


def list_files(folder: Path) -> list[RecordFile]:
    """Return the files of records, oldest first; none when there is no such folder."""
    found: list[RecordFile] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        for path in folder.iterdir():
            began, _, pid = path.name.removesuffix(SUFFIX).partition("-")
            if path.name.endswith(SUFFIX) and began.isdigit() and pid.isdigit():
                with suppress(FileNotFoundError):  # a sibling deletes, too
                    status = path.stat()
                    found.append(RecordFile(path, float(began), status.st_mtime, status.st_size))
    return sorted(found, key=lambda file: (file.began_s, file.path.name))


def superfluous(files: list[RecordFile], room_bytes: int, now_s: float) -> list[RecordFile]:
    """Return which files must go, oldest first: those that are too old, and as many as exceed the room.

    Args:
        room_bytes: what all files may have together.
    """
    gone: list[RecordFile] = []
    total = sum(file.size for file in files)
    for file in files:
        if total <= room_bytes and file.began_s + FILE_S + KEEP_S >= now_s:
            break
        gone.append(file)
        total -= file.size
    return gone


def trim(folder: Path, writer_count: int, now_s: float) -> None:
    """Delete what must go, such that every writer may write one more file; siblings may do the same at once."""
    room_bytes = max(MAX_BYTES // 2, MAX_BYTES - writer_count * FILE_BYTES)
    for file in superfluous(list_files(folder), room_bytes, now_s):
        file.path.unlink(missing_ok=True)
    for left_over in folder.glob(f"*{MERGING}"):  # of a worker that was killed while it merged
        with suppress(FileNotFoundError):
            if left_over.stat().st_mtime + FILE_S < now_s:
                left_over.unlink()


def read_frames(place: Path, since_s: float, until_s: float, read: Read) -> Iterator[Frame]:
    """Yield the frames of a folder or of one file that overlap a span of time, about in the order of their beginnings.

    In memory are the files that were written at one time: one of each worker, as a rule, of ``FILE_BYTES`` at most.
    """
    if place.is_file():
        yield from _frames_of(place, since_s, until_s, read)
        return
    waiting = deque(list_files(place))
    heap: list[tuple[float, int, Frame, Iterator[Frame]]] = []
    order = itertools.count()
    while waiting or heap:
        while waiting and (not heap or waiting[0].began_s - _SETTLED_WITHIN_S <= heap[0][0]):
            file = waiting.popleft()
            if file.written_s >= since_s and file.began_s - _SETTLED_WITHIN_S <= until_s:
                _push(heap, next(order), _frames_of(file.path, since_s, until_s, read))
        if heap:
            _, place_in_order, frame, rest = heapq.heappop(heap)
            yield frame
            _push(heap, place_in_order, rest)


def _push(heap: list[tuple[float, int, Frame, Iterator[Frame]]], order: int, rest: Iterator[Frame]) -> None:
    frame = next(rest, None)
    if frame is not None:
        heapq.heappush(heap, (frame.first_s, order, frame, rest))


def _frames_of(path: Path, since_s: float, until_s: float, read: Read) -> Iterator[Frame]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:  # deleted since it was listed
        return
    torn_bytes = len(content)
    for frame in frames(content):
        if frame is None:
            read.skipped += 1
            continue
        torn_bytes -= frame.size
        if frame.last_s >= since_s and frame.first_s <= until_s:
            yield frame
    read.skipped_bytes += torn_bytes


def read_blocks(place: Path, since_s: float, until_s: float, read: Read) -> Iterator[Block]:
    """Yield the blocks of a folder or of one file that overlap a span of time, as ``read_frames`` orders them."""
    for frame in read_frames(place, since_s, until_s, read):
        block = opened(frame)
        if block is None:
            read.skipped += 1
            read.skipped_bytes += frame.size
            continue
        read.read_bytes += frame.size
        read.lost += block.lost
        for reason, count in block.unidentified.items():
            read.unidentified[reason] = read.unidentified.get(reason, 0) + count
        yield block


def find_record(folder: Path, request_id: bytes) -> Record | None:
    """Return the record of a request, None when there is none; the newest files are looked at first."""
    for file in reversed(list_files(folder)):
        for frame in _frames_of(file.path, 0.0, float("inf"), Read()):
            place = frame.place_of(request_id)
            if place >= 0 and (block := opened(frame)) is not None:
                return record_at(block, place)
    return None
