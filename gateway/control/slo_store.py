"""Keeps slots, alerts and their transitions in one SQLite file, so that a restart keeps every budget.

Whatever is written is written again whole, by its key: doing it twice changes nothing. One thread at a time uses it.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from gateway.control.slo_kept import AlertKey, Changes, Kept, Series, SlotRow, Transition

FILE_NAME = "slo.db"
# A reader such as `sqlite3 slo.db` may hold the file for a moment.
_BUSY_WITHIN_S = 2.0
_FORMAT = 1

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
_SLOTS = """
SELECT level_s, start_s, slo, model, version, tier, good, bad, ignored
FROM slot JOIN series ON series.id = slot.series ORDER BY level_s, start_s
"""
_TRANSITIONS = "SELECT * FROM transition ORDER BY rowid"
_SERIES_ID = "SELECT id FROM series WHERE slo = ? AND model = ? AND version = ? AND tier = ?"


class SloStore:
    """The open file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[Series, int] = {}

    @classmethod
    def open(cls, path: Path) -> SloStore:
        """Open the file, making it where it is missing.

        Raises:
            sqlite3.Error, OSError: it cannot be used.
        """
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_WITHIN_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
        except sqlite3.Error:
            connection.close()
            raise
        return cls(connection)

    def load(self) -> Kept:
        """Return all that is kept.

        Raises:
            sqlite3.Error: the file is damaged.
        """
        run = self._connection.execute
        return Kept(
            tuple(SlotRow(row[0], row[1], Series(*row[2:6]), *row[6:]) for row in run(_SLOTS)),
            {AlertKey(*key): since_s for *key, since_s in run("SELECT * FROM firing")},
            tuple(Transition(row[0], row[1], AlertKey(*row[2:])) for row in run(_TRANSITIONS)),
        )

    def save(self, changes: Changes) -> None:
        """Write what changed, in one step.

        Raises:
            sqlite3.Error: it cannot be written; nothing of it is.
        """
        run, run_each = self._connection.execute, self._connection.executemany
        run("BEGIN IMMEDIATE")
        try:
            run_each(_PUT_SLOT, [(s.level_s, s.start_s, self._id(s.series), *s[3:]) for s in changes.slots])
            for level_s, before_s in changes.oldest_s.items():
                run("DELETE FROM slot WHERE level_s = ? AND start_s < ?", (level_s, before_s))
            run("DELETE FROM firing")
            run_each("INSERT INTO firing VALUES (?, ?, ?, ?, ?)", [(*k, since) for k, since in changes.firing.items()])
            run("DELETE FROM transition")
            rows = [(transition.at_s, transition.state, *transition.alert) for transition in changes.transitions]
            run_each("INSERT INTO transition VALUES (?, ?, ?, ?, ?, ?)", rows)
            run("COMMIT")
        except BaseException:
            self._ids.clear()  # some may be of series that were not written after all
            if self._connection.in_transaction:
                run("ROLLBACK")
            raise

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


def _prepare(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found not in (0, _FORMAT):
        raise sqlite3.DatabaseError(f"it has format {found}, and this Penstock writes format {_FORMAT}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_SCHEMA)
    connection.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM slot)")
