"""The directory of hour files for its one writer: each trace to its file, old ones dropped, damaged ones aside."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from telemetry.hub.events import say
from telemetry.hub.hour_file import HourFile, Unreadable, is_damage
from telemetry.hub.hours import HourName, Steadiness, StoredFile, current, homes, parse_name, to_drop
from telemetry.hub.rows import SpanRow
from telemetry.logs.line import warning

DISK = "disk"
DAMAGE = "damaged_file"
BEYOND = "trace_too_long"

_BESIDE = ("-wal", "-shm")
_FAULTS = (sqlite3.Error, Unreadable, msgspec.MsgspecError)


class Limits(Struct, frozen=True):
    """How much is kept.

    Attributes:
        retain_s: files of hours that ended longer ago go.
        max_bytes: of all files; the oldest go first.
    """

    retain_s: float
    max_bytes: int


class Written(Struct, frozen=True):
    """What became of some spans; ``lost`` counts by why."""

    stored: int
    repeated: int
    lost: dict[str, int]


def listing(directory: Path) -> list[StoredFile]:
    """Return the files, the newest first, each with the size of what lies beside it; none where no directory is.

    Raises:
        OSError: the directory cannot be read.
    """
    try:
        names = [(name, path) for path in directory.iterdir() if (name := parse_name(path.name)) is not None]
    except FileNotFoundError:
        return []
    files = [StoredFile(name, sum(map(_size_bytes, _whole(path)))) for name, path in names if path.is_file()]
    return sorted(files, key=lambda file: file.name, reverse=True)


class TraceFiles:
    """Writes; for one thread alone. What the disk refuses is told once and counted, and tried again."""

    def __init__(self, directory: Path, limits: Limits) -> None:
        self._directory = directory
        self._limits = limits
        self._open: dict[HourName, HourFile] = {}
        self._clock = Steadiness()
        self._trouble = ""
        self._house_trouble = ""

    def write(self, rows: Sequence[SpanRow], now_s: float) -> Written:
        """Write spans; nothing is raised for a disk that is full or a file that is damaged: it is told and counted."""
        counts: Counter[str] = Counter()
        lost: Counter[str] = Counter()
        try:
            grouped = self._by_home(rows, now_s)
        except OSError as fault:
            self._tell(fault)
            return Written(0, 0, {DISK: len(rows)})
        for name, some in grouped.items():
            try:
                added = self._file(name).add(some)
            except _FAULTS as fault:
                lost[self._fault(name, fault)] += len(some)
                continue
            counts += Counter(stored=added.stored, repeated=added.repeated)
            lost += Counter({BEYOND: added.beyond})
        if not lost.keys() - {BEYOND}:
            self._trouble = ""
        return Written(counts["stored"], counts["repeated"], dict(lost))

    def keep_house(self, now_s: float, monotonic_s: float) -> list[StoredFile]:
        """Drop what is too old or too much, close what grows no more, and return the files that stay.

        A directory that was taken away is made anew. What the disk refuses is tried again the next time.
        """
        steady_s = self._clock.steady_s(now_s, monotonic_s)
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._close_lost()
            files = listing(self._directory)
            gone = to_drop(files, now_s, self._limits.retain_s, self._limits.max_bytes, steady_s)
            for name in gone:
                self._drop(name)
            self._house_trouble = ""
        except OSError as fault:
            self._tell_of_house(fault)
            return []
        staying = [file for file in files if file.name not in gone]
        for name in self._open.keys() - set(homes(staying, now_s)):
            self._close(name)
        return staying

    def set_aside(self, name: HourName, why: str) -> None:
        """Give a damaged file another name, under which it is neither read nor written; it is dropped at its time."""
        self._close(name)
        path = self._directory / str(name)
        aside = msgspec.structs.replace(name, is_damaged=True)
        try:
            if name.is_damaged or not path.exists():
                return
            path.replace(self._directory / str(aside))
            _remove_beside(path)
        except OSError as fault:
            self._tell_of_house(fault)
            return
        say(warning(f"{name} is damaged ({why}) and set aside as {aside}; its traces are no longer shown"))

    def close(self) -> None:
        """Close every file."""
        for name in list(self._open):
            self._close(name)

    def _by_home(self, rows: Sequence[SpanRow], now_s: float) -> dict[HourName, list[SpanRow]]:
        """Return the spans by the file that they go to: that of their trace's first spans."""
        files = listing(self._directory)
        home: dict[str, HourName] = {}
        for name in homes(files, now_s):
            for trace_id in self._known(name, {row.trace_id for row in rows} - home.keys()):
                home[trace_id] = name
        newest = current(listing(self._directory), now_s, self._limits.max_bytes)
        grouped: defaultdict[HourName, list[SpanRow]] = defaultdict(list)
        for row in rows:
            grouped[home.get(row.trace_id, newest)].append(row)
        return grouped

    def _known(self, name: HourName, trace_ids: set[str]) -> set[str]:
        try:
            return self._file(name).known(trace_ids) if trace_ids else set()
        except _FAULTS as fault:
            self._fault(name, fault)
            return set()

    def _file(self, name: HourName) -> HourFile:
        if name not in self._open:
            self._open[name] = HourFile.to_write(self._directory / str(name))
        return self._open[name]

    def _fault(self, name: HourName, fault: Exception) -> str:
        """Do what a fault asks for and return what to count it as."""
        if is_damage(fault):
            self.set_aside(name, str(fault))
            return DAMAGE
        self._tell(fault)
        return DISK

    def _tell(self, fault: Exception) -> None:
        trouble = f"spans cannot be stored ({fault}): they are lost and counted until that is mended"
        if trouble != self._trouble:
            say(trouble)
        self._trouble = trouble

    def _tell_of_house(self, fault: OSError) -> None:
        trouble = f"old or damaged files cannot be cleared away ({fault}); it is tried again"
        if trouble != self._house_trouble:
            say(trouble)
        self._house_trouble = trouble

    def _drop(self, name: HourName) -> None:
        self._close(name)
        _remove(self._directory / str(name))
        say(warning(f"{name} is dropped: it is older or larger than what is kept"))

    def _close_lost(self) -> None:
        """Close files that somebody removed: what is written to them is seen by nobody."""
        for name in [name for name in self._open if not (self._directory / str(name)).exists()]:
            say(f"{name} was taken away, and with it its traces")
            self._close(name)

    def _close(self, name: HourName) -> None:
        file = self._open.pop(name, None)
        if file is not None:
            file.close()


def _whole(path: Path) -> list[Path]:
    return [path, *(path.with_name(path.name + end) for end in _BESIDE)]


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_beside(path)


def _remove_beside(path: Path) -> None:
    for part in _whole(path)[1:]:
        part.unlink(missing_ok=True)
