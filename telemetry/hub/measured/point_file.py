"""The SQLite file of counted steps: growth is added to the steps that it belongs to, old steps go."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from telemetry.hub.events import say
from telemetry.hub.hour_file import is_damage
from telemetry.hub.measured.answers import Kept, Row, Slot
from telemetry.hub.measured.cells import Cell, added
from telemetry.hub.measured.fold import MOST_VERSIONS, OTHER, WHOLE, Happened, Version, together
from telemetry.hub.measured.steps import LEVELS, Level, placed, start_of
from telemetry.logs.line import warning

FILE_NAME = "points.db"
MOST_ROWS = 400_000
"""Rows that one question reads at most; the newest of them."""

_LAYOUT = 1
_BUSY_S = 5.0
_TABLES = f"""
CREATE TABLE metric_point (
    step_s INTEGER NOT NULL, start_s INTEGER NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, body BLOB NOT NULL,
    PRIMARY KEY (step_s, start_s, model, version)
) WITHOUT ROWID;
CREATE TABLE slot (
    step_s INTEGER NOT NULL, start_s INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (step_s, start_s)
) WITHOUT ROWID;
CREATE TABLE told (source TEXT PRIMARY KEY, epoch TEXT NOT NULL, at_s REAL NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_LAYOUT};
"""
_SUPERVISOR = "supervisor"


class PointFile:
    """The file for its one writer, which is a thread.

    Attributes:
        lost: readings that could not be kept.
    """

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._file: sqlite3.Connection | None = None
        self._is_failing = False
        self.lost = 0

    def last_told(self) -> tuple[str, float]:
        """Return the epoch and the moment of the supervisor's reading that was kept last; "" and 0 before any."""
        try:
            found = self._opened().execute("SELECT epoch, at_s FROM told WHERE source = ?", (_SUPERVISOR,)).fetchone()
        except sqlite3.Error as fault:
            self._failed(fault)
            return "", 0.0
        return (str(found[0]), float(found[1])) if found else ("", 0.0)

    def add(self, at_s: float, grown: Iterable[tuple[Happened, float]], observed_s: float, epoch: str) -> None:
        """Add what happened, each with the time between its two readings; what cannot be kept is counted as lost.

        Args:
            observed_s: of these, the time between the supervisor's; 0 where it was not read.
            epoch: the supervisor's; "" where it was not read.
        """
        several = list(grown)
        try:
            with self._opened() as file:
                for level in LEVELS:
                    _add(file, level, start_of(at_s, level.step_s), several, observed_s)
                    _tidy(file, level, at_s)
                if epoch:
                    file.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?)", (_SUPERVISOR, epoch, at_s))
        except (sqlite3.Error, msgspec.MsgspecError) as fault:
            self._failed(fault)
            self.lost += 1
        else:
            if self._is_failing:
                say("counted steps are kept again")
            self._is_failing = False

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self) -> sqlite3.Connection:
        if self._file is None:
            self._file = _open(self._path)
        return self._file

    def _failed(self, fault: Exception) -> None:
        if not self._is_failing:
            say(warning(f"{self._path.name} cannot be used ({fault}); charts of this time will have gaps"))
        self._is_failing = True
        self.close()
        if is_damage(fault):
            with suppress(OSError):  # a disk that refuses this too is asked again in ten seconds
                self._path.replace(self._path.with_name(f"{FILE_NAME}.broken"))
                for beside in ("-wal", "-shm"):
                    self._path.with_name(f"{FILE_NAME}{beside}").unlink(missing_ok=True)


def _open(path: Path) -> sqlite3.Connection:
    file = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)
    try:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("PRAGMA synchronous = NORMAL")
        (layout,) = file.execute("PRAGMA user_version").fetchone()
        if layout == 0:
            file.executescript(f"BEGIN; {_TABLES} COMMIT;")
        elif layout != _LAYOUT:
            raise sqlite3.DatabaseError(f"its layout is {layout}, and {_LAYOUT} is known here")
    except sqlite3.Error:
        file.close()
        raise
    return file


def _add(
    file: sqlite3.Connection, level: Level, start_s: int, grown: Iterable[tuple[Happened, float]], observed_s: float
) -> None:
    fit = [happened for happened, between_s in grown if level in placed(between_s)]
    seen_s = observed_s if level in placed(observed_s) else 0.0
    cells = together(happened.cells for happened in fit)
    whole = {WHOLE: added(cells.values())} if cells else {}
    for version, cell in (_with_room(file, level, start_s, cells) | whole).items():
        at = (level.step_s, start_s, *version)
        found = file.execute(
            "SELECT body FROM metric_point WHERE step_s = ? AND start_s = ? AND model = ? AND version = ?", at
        ).fetchone()
        both = cell if found is None else added([msgspec.msgpack.decode(found[0], type=Cell), cell])
        file.execute("INSERT OR REPLACE INTO metric_point VALUES (?, ?, ?, ?, ?)", (*at, msgspec.msgpack.encode(both)))
    _add_slot(file, level, Slot(start_s, seen_s, _counted(fit)))


def _with_room(
    file: sqlite3.Connection, level: Level, start_s: int, cells: Mapping[Version, Cell]
) -> dict[Version, Cell]:
    """Return the cells; those of versions for which the step has no room are one."""
    found = file.execute(
        "SELECT model, version FROM metric_point WHERE step_s = ? AND start_s = ?", (level.step_s, start_s)
    )
    there = {(model, version) for model, version in found} - {WHOLE}
    room = MOST_VERSIONS - len(there)
    new = [version for version in cells if version not in there]
    beyond = set(new[max(0, room) :])
    kept = {version: cell for version, cell in cells.items() if version not in beyond}
    return together([kept, {OTHER: added(cells[version] for version in beyond)}]) if beyond else kept


def _counted(several: Iterable[Happened]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for happened in several:
        for what, count in happened.mesh.items():
            counts[what] = counts.get(what, 0) + count
    return counts


def _add_slot(file: sqlite3.Connection, level: Level, slot: Slot) -> None:
    if not slot.observed_s and not slot.mesh:
        return
    at = (level.step_s, slot.start_s)
    found = file.execute("SELECT body FROM slot WHERE step_s = ? AND start_s = ?", at).fetchone()
    if found is not None:
        before = msgspec.msgpack.decode(found[0], type=Slot)
        mesh = {what: before.mesh.get(what, 0) + slot.mesh.get(what, 0) for what in before.mesh.keys() | slot.mesh}
        slot = Slot(slot.start_s, before.observed_s + slot.observed_s, mesh)
    file.execute("INSERT OR REPLACE INTO slot VALUES (?, ?, ?)", (*at, msgspec.msgpack.encode(slot)))


def _tidy(file: sqlite3.Connection, level: Level, at_s: float) -> None:
    """Remove the steps that are too old; those from the future stay, as after a clock that was set back."""
    before_s = at_s - level.kept_s
    for table in ("metric_point", "slot"):
        file.execute(f"DELETE FROM {table} WHERE step_s = ? AND start_s < ?", (level.step_s, before_s))  # noqa: S608 - ours


def read(directory: Path, level: Level, from_s: float, to_s: float, of: str | Version = "") -> Kept:
    """Return the steps that lie in a stretch of time; nothing where there is no file.

    Args:
        of: a model, ``WHOLE`` for all of them as one, or "" for each of them.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    path, first_s = directory / FILE_NAME, start_of(from_s, level.step_s) + level.step_s
    if not path.exists():
        return Kept(level, first_s, to_s, {}, ())
    condition, asked = _condition(of)
    within = (level.step_s, first_s, int(to_s))
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)) as file:
        file.execute("PRAGMA query_only = 1")
        slots = file.execute("SELECT body FROM slot WHERE step_s = ? AND start_s BETWEEN ? AND ?", within).fetchall()
        rows = file.execute(
            "SELECT start_s, model, version, body FROM metric_point WHERE step_s = ? AND start_s BETWEEN ? AND ?"  # noqa: S608 - of constants
            f" AND {condition} ORDER BY start_s DESC LIMIT {MOST_ROWS}",
            (*within, *asked),
        ).fetchall()
    told = [msgspec.msgpack.decode(body, type=Slot) for (body,) in slots]
    cells = tuple(Row(row[0], row[1], row[2], msgspec.msgpack.decode(row[3], type=Cell)) for row in rows)
    return Kept(level, first_s, to_s, {slot.start_s: slot for slot in told}, cells)


def _condition(of: str | Version) -> tuple[str, tuple[str, ...]]:
    match of:
        case "":
            return "(model, version) <> (?, ?)", WHOLE
        case str():
            return "model = ?", (of,)
        case _:
            return "(model, version) = (?, ?)", of
