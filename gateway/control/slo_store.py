"""Keeps slots, alerts, their transitions and counted loads in one SQLite file, so that a restart keeps every budget.

Whatever is written is written again whole, by its key: doing it twice changes nothing. One thread at a time uses it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from gateway.control.slo_kept import AlertKey, Changes, Episode, Notice, Remembered, Series, Transition, Untold
from telemetry.slo.attended import Time
from telemetry.slo.events import EventCount
from telemetry.slo.windows import LEVELS, Level, Slots

FILE_NAME = "slo.db"
# A reader such as `sqlite3 slo.db` may hold the file for a moment.
_BUSY_WITHIN_S = 2.0
_FORMAT = 1
# Old slots take little room; to look for them in a large file takes a tenth of a second.
_SAVES_PER_PRUNE = 200
# That somebody counts is written with whatever else is, and at least so often.
_ATTENDED_EVERY_S = 60.0
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
CREATE TABLE IF NOT EXISTS counted_load (instance TEXT PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS attended (from_s REAL NOT NULL, to_s REAL NOT NULL);
CREATE TABLE IF NOT EXISTS episode (body BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS untold (receiver TEXT PRIMARY KEY, notices BLOB NOT NULL) WITHOUT ROWID;
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
_LOADS = "SELECT instance, number FROM counted_load ORDER BY rowid"
_SERIES_ID = "SELECT id FROM series WHERE slo = ? AND model = ? AND version = ? AND tier = ?"


class NewerFormat(Exception):
    """The file is of a newer Penstock; its text is a sentence without its subject."""


class SloStore:
    """The open file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._ids: dict[Series, int] = {}
        self._saves = 0
        self._alerts: tuple[object, ...] | None = None
        self._attended_s = -_ATTENDED_EVERY_S
        self._loads: Mapping[str, int] | None = None
        self._episodes: tuple[Episode, ...] = ()

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
            tuple(Time(*row) for row in run("SELECT from_s, to_s FROM attended ORDER BY rowid")),
            self._untold(),
            loads={str(instance): int(number) for instance, number in run(_LOADS)},
            episodes=tuple(self._kept_episodes()),
        )

    def _kept_episodes(self) -> Iterator[Episode]:
        """Yield the times that alerts fired, less those whose row cannot be read."""
        for (body,) in self._connection.execute("SELECT body FROM episode ORDER BY rowid"):
            try:
                yield msgspec.json.decode(body, type=Episode)
            except msgspec.DecodeError:
                continue

    def _untold(self) -> Untold:
        """Return what receivers are still to be told; one whose row cannot be read is told anew what fires."""
        found: dict[str, tuple[Notice, ...]] = {}
        for receiver, notices in self._connection.execute("SELECT receiver, notices FROM untold"):
            try:
                found[receiver] = msgspec.json.decode(notices, type=tuple[Notice, ...])
            except msgspec.DecodeError:
                continue
        return found

    def save(self, changes: Changes) -> None:
        """Write what changed, in one step; without a change nothing is touched.

        Raises:
            sqlite3.Error: it cannot be written; nothing of it is.
        """
        run, run_each = self._connection.execute, self._connection.executemany
        alerts = changes.firing, changes.transitions, changes.untold
        is_attended = bool(changes.attended) and abs(changes.at_s - self._attended_s) >= _ATTENDED_EVERY_S
        others = changes.loads, changes.episodes
        if not changes.slots and alerts == self._alerts and not is_attended and others == (self._loads, self._episodes):
            return
        run("BEGIN IMMEDIATE")
        try:
            run_each(_PUT_SLOT, [(s.level_s, s.start_s, self._id(s.series), *s[3:]) for s in changes.slots])
            if self._saves % _SAVES_PER_PRUNE == 0:
                run_each(_PRUNE, [_old(level, changes.at_s) for level in LEVELS])
            if alerts != self._alerts:
                self._put_alerts(changes)
            if changes.loads != self._loads:
                run("DELETE FROM counted_load")
                run_each("INSERT INTO counted_load VALUES (?, ?)", list(changes.loads.items()))
            if changes.episodes != self._episodes:
                run("DELETE FROM episode")
                run_each("INSERT INTO episode VALUES (?)", [(msgspec.json.encode(one),) for one in changes.episodes])
            run("DELETE FROM attended")
            run_each("INSERT INTO attended VALUES (?, ?)", changes.attended)
            run("COMMIT")
            self._attended_s = changes.at_s
            self._saves += 1
            self._alerts, (self._loads, self._episodes) = alerts, others
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
        run("DELETE FROM untold")
        untold = [(receiver, msgspec.json.encode(notices)) for receiver, notices in changes.untold.items()]
        run_each("INSERT INTO untold VALUES (?, ?)", untold)

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
