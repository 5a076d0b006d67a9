"""Keeps slots, alerts and their transitions in one SQLite file, so that a restart keeps every budget.

Whatever is written is written again whole, by its key: doing it twice changes nothing. One thread at a time uses it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.control.slo_kept import AlertKey, Changes, Remembered, Series, Transition
from telemetry.slo.events import EventCount
from telemetry.slo.windows import LEVELS, Level, Slots

FILE_NAME = "slo.db"
# A reader such as `sqlite3 slo.db` may hold the file for a moment.
_BUSY_WITHIN_S = 2.0
_FORMAT = 1
# Old slots take little room; to look for them in a large file takes a tenth of a second.
_SAVES_PER_PRUNE = 200
_LEVEL_OF = {level.slot_s: level for level in LEVELS}

_SCHEMA = f"""
PRAGMA user_version = {_FORMAT};
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, slo TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, tier TEXT NOT NULL,
    UNIQUE (slo, model, version, tier)
);
CREATE TABLE IF NOT EXISTS slot (
    level_s INTEGER NOT NULL, start_s INTEGER NOT NULL, series INTEGER NOT NULL,
    good INTEGER NOT NULL, bad INTEGER NOT NULL, ignored INTEGER NOT NULL,
    PRIMARY KEY (level_s, start_s, series)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS firing (
    slo TEXT NOT NULL, model TEXT NOT NULL, severity TEXT NOT NULL, name TEXT NOT NULL, since_s REAL NOT NULL,
    PRIMARY KEY (slo, model, severity, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transition (
    at_s REAL NOT NULL, state TEXT NOT NULL, slo TEXT NOT NULL, model TEXT NOT NULL, severity TEXT NOT NULL,
    name TEXT NOT NULL
);
"""
_PUT_SLOT = """
INSERT INTO slot VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET good = excluded.good, bad = excluded.bad, ignored = excluded.ignored
"""
_SLOTS = "SELECT series, level_s, start_s, good, bad, ignored FROM slot WHERE start_s <= ? ORDER BY level_s, start_s"
# Clocks are set forward and back again. So it is not enough for a slot to look old: there must also be as many later
# ones as its level ever has.
_PRUNE = """
DELETE FROM slot WHERE level_s = :level_s AND start_s < :before_s AND start_s < (
    SELECT DISTINCT start_s FROM slot WHERE level_s = :level_s ORDER BY start_s DESC LIMIT 1 OFFSET :later
)
"""
_TRANSITIONS = "SELECT * FROM transition ORDER BY rowid"
_SERIES_ID = "SELECT id FROM series WHERE slo = ? AND model = ? AND version = ? AND tier = ?"


class NewerFormat(Exception):
    """The file is of a newer Penstock; its text is a sentence without its subject."""


class SloStore:
    """The open file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[Series, int] = {}
        self._saves = 0
        self._alerts: tuple[object, object] | None = None

    @classmethod
    def open(cls, path: Path) -> SloStore:
        """Open the file, making it where it is missing.

        Raises:
            sqlite3.Error, OSError: it cannot be used.
            NewerFormat: this Penstock must leave it alone.
        """
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_WITHIN_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except (sqlite3.Error, NewerFormat):
            connection.close()
            raise
        return cls(connection)

    def load(self, until_s: float) -> Remembered:
        """Return all that is kept, but for slots that begin later: a clock that was wrong wrote them.

        Raises:
            sqlite3.Error, TypeError, ValueError, OverflowError: the file is damaged.
        """
        run = self._connection.execute
        names = {series: Series(*name) for series, *name in run("SELECT id, slo, model, version, tier FROM series")}
        found: dict[int, Slots] = {}
        for series, level_s, start_s, *events in run(_SLOTS, (until_s,)):
            if level_s in _LEVEL_OF:
                found.setdefault(series, Slots()).put_back(_LEVEL_OF[level_s], start_s, EventCount(*events))
        return Remembered(
            {names[series]: slots for series, slots in found.items() if series in names},
            {AlertKey(*key): since_s for *key, since_s in run("SELECT * FROM firing")},
            tuple(Transition(row[0], row[1], AlertKey(*row[2:])) for row in run(_TRANSITIONS)),
        )

    def save(self, changes: Changes) -> None:
        """Write what changed, in one step; without a change nothing is touched.

        Raises:
            sqlite3.Error: it cannot be written; nothing of it is.
        """
        run, run_each = self._connection.execute, self._connection.executemany
        alerts = changes.firing, changes.transitions
        if not changes.slots and alerts == self._alerts:
            return
        run("BEGIN IMMEDIATE")
        try:
            run_each(_PUT_SLOT, [(s.level_s, s.start_s, self._id(s.series), *s[3:]) for s in changes.slots])
            if self._saves % _SAVES_PER_PRUNE == 0:
                run_each(_PRUNE, [_old(level, changes.at_s) for level in LEVELS])
            if alerts != self._alerts:
                self._put_alerts(changes)
            run("COMMIT")
            self._saves += 1
            self._alerts = alerts
        except BaseException:
            self._ids.clear()  # some may be of series that were not written after all
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

    def _put_alerts(self, changes: Changes) -> None:
        run, run_each = self._connection.execute, self._connection.executemany
        run("DELETE FROM firing")
        run_each("INSERT INTO firing VALUES (?, ?, ?, ?, ?)", [(*key, since) for key, since in changes.firing.items()])
        run("DELETE FROM transition")
        rows = [(transition.at_s, transition.state, *transition.alert) for transition in changes.transitions]
        run_each("INSERT INTO transition VALUES (?, ?, ?, ?, ?, ?)", rows)

    def _id(self, series: Series) -> int:
        known = self._ids.get(series)
        if known is None:
            self._connection.execute("INSERT OR IGNORE INTO series VALUES (NULL, ?, ?, ?, ?)", series)
            found = self._connection.execute(_SERIES_ID, series).fetchone()
            known = self._ids[series] = int(found[0])
        return known

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _old(level: Level, now_s: float) -> dict[str, float]:
    later = level.reach_s // level.slot_s + 2
    return {"level_s": level.slot_s, "before_s": now_s - level.reach_s - level.slot_s, "later": later}


def _prepare(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > _FORMAT:
        raise NewerFormat(f"has format {found}, which a newer Penstock wrote; this one knows format {_FORMAT}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_SCHEMA)
    connection.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM slot)")
