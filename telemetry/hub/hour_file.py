"""One SQLite file of spans: writes rows, keeps each trace's summary whole, and reads both back."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from telemetry.hub.query import Statement
from telemetry.hub.rows import (
    SpanRow,
    read_attributes,
    read_outline,
    read_summary,
    span_of,
    write_outline,
    write_summary,
)
from telemetry.hub.summary import Head, Outline, Summary, merged, outline_of, summarise
from telemetry.span import Link, Span

SPANS_OF_A_TRACE = 10_000
BYTES_OF_A_TRACE = 16 * 2**20
_LAYOUT = 2
_IDS_OF_A_QUESTION = 500  # SQLite takes 999 parameters in its smallest builds
_BUSY_S = 5.0
_RESOURCES = 256
_STEPS_BETWEEN_LOOKS = 10_000  # of SQLite's machine: well under a millisecond

_TABLES = f"""
CREATE TABLE resource (id INTEGER PRIMARY KEY, body BLOB NOT NULL UNIQUE);
CREATE TABLE span (
    trace_id TEXT NOT NULL, span_id TEXT NOT NULL, start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL,
    rank INTEGER NOT NULL, size_bytes INTEGER NOT NULL, resource INTEGER NOT NULL, body BLOB NOT NULL,
    UNIQUE (trace_id, span_id)
);
CREATE TABLE link (
    from_trace TEXT NOT NULL, from_span TEXT NOT NULL, at INTEGER NOT NULL,
    to_trace TEXT NOT NULL, to_span TEXT NOT NULL, attributes BLOB NOT NULL,
    PRIMARY KEY (from_trace, from_span, at)
) WITHOUT ROWID;
CREATE INDEX link_back ON link (to_trace);
CREATE TABLE request (
    request_id TEXT NOT NULL, rank INTEGER NOT NULL, start_ns INTEGER NOT NULL, trace_id TEXT NOT NULL,
    PRIMARY KEY (request_id, rank, start_ns DESC, trace_id)
) WITHOUT ROWID;
CREATE TABLE outline (trace_id TEXT PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE trace_summary (
    trace_id TEXT PRIMARY KEY, start_ns INTEGER NOT NULL, duration_ns INTEGER NOT NULL, name TEXT NOT NULL,
    model TEXT NOT NULL, version TEXT NOT NULL, tenant TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
    span_count INTEGER NOT NULL, body BLOB NOT NULL
);
CREATE INDEX summary_by_time ON trace_summary (start_ns, trace_id);
CREATE INDEX summary_by_model ON trace_summary (model, start_ns, trace_id);
CREATE INDEX summary_by_status ON trace_summary (status, start_ns, trace_id);
PRAGMA user_version = {_LAYOUT};
"""


class Unreadable(Exception):
    """The file is none that we can use; the message says why."""


class Added(Struct, frozen=True):
    """What became of some spans.

    Attributes:
        repeated: were here already.
        beyond: of traces that have as many as one may have.
    """

    stored: int
    repeated: int
    beyond: int


class Asked(Struct, frozen=True, order=True):
    """A trace in which a request has its span; the least is the best: the gateway's before a pod's, then the newest."""

    rank: int
    minus_start_ns: int
    trace_id: str


def is_damage(error: Exception) -> bool:
    """Whether the file is at fault, not the disk, a lock or the statement."""
    if isinstance(error, msgspec.MsgspecError | Unreadable):
        return True
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class HourFile:
    """One file, opened by one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._resources: dict[bytes, int] = {}

    @classmethod
    def to_write(cls, path: Path) -> HourFile:
        """Open a file, made anew where there is none.

        Raises:
            Unreadable: it has another layout.
            sqlite3.Error: the disk refuses, or the file is damaged.
        """
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        try:
            _prepare(connection)
        except (sqlite3.Error, Unreadable):
            connection.close()
            raise
        return cls(connection)

    @classmethod
    def to_read(cls, path: Path) -> HourFile:
        """Open a file that is there.

        Raises:
            sqlite3.Error: it is not, or no longer.
        """
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S)
        connection.execute("PRAGMA query_only = 1")
        return cls(connection)

    def is_ready(self) -> bool:
        """Whether the file has our tables: its writer may have made it a moment ago, or be of another version."""
        return _layout(self._connection) == _LAYOUT

    def close(self) -> None:
        """Close; the last to do so folds what lies beside the file into it."""
        self._connection.close()

    def stop_when(self, is_too_late: Callable[[], bool]) -> None:
        """Break off statements once it is too late; they raise ``sqlite3.OperationalError``."""
        self._connection.set_progress_handler(is_too_late, _STEPS_BETWEEN_LOOKS)

    def add(self, rows: Sequence[SpanRow]) -> Added:
        """Write spans in one transaction, all or none, and bring their traces' summaries up to date.

        Raises:
            sqlite3.Error: nothing was written.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            added = self._add(rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # a full disk ends it by itself
                self._connection.execute("ROLLBACK")
            self._resources.clear()  # some of them may have been of this transaction
            raise
        return added

    def _add(self, rows: Sequence[SpanRow]) -> Added:
        outlines = self._outlines({row.trace_id for row in rows})
        grown: dict[str, _Growth] = {}
        repeated = beyond = 0
        for row in rows:
            growth = grown.setdefault(row.trace_id, _Growth(outlines.get(row.trace_id)))
            if not growth.has_room_for(row):
                beyond += 1
            elif self._insert(row):
                growth.add(row)
            else:
                repeated += 1
        for trace_id, growth in grown.items():
            if outline := growth.outline():
                self._summarise(trace_id, outline)
        return Added(len(rows) - repeated - beyond, repeated, beyond)

    def _insert(self, row: SpanRow) -> bool:
        """Write a span; return False when it is here already."""
        execute = self._connection.execute
        head = row.head
        values = (*row[:4], head.rank, row.size_bytes, self._resource(row.resource), row.body)
        if not execute("INSERT OR IGNORE INTO span VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values).rowcount:
            return False
        links = [(row.trace_id, row.span_id, at, *link) for at, link in enumerate(row.links)]
        if links:
            self._connection.executemany("INSERT INTO link VALUES (?, ?, ?, ?, ?, ?)", links)
        if head.request_id:
            asked = (head.request_id, head.rank, row.start_ns, row.trace_id)
            execute("INSERT OR IGNORE INTO request VALUES (?, ?, ?, ?)", asked)
        return True

    def _resource(self, body: bytes) -> int:
        """Return the number that stands for a process's attributes in this file."""
        if body in self._resources:
            return self._resources[body]
        known = self._connection.execute("SELECT id FROM resource WHERE body = ?", (body,)).fetchone()
        if known is None:
            known = self._connection.execute("INSERT INTO resource (body) VALUES (?) RETURNING id", (body,)).fetchone()
        if len(self._resources) == _RESOURCES:
            self._resources.clear()
        self._resources[body] = int(known[0])
        return self._resources[body]

    def _summarise(self, trace_id: str, outline: Outline) -> None:
        stored = write_outline(outline)
        self._connection.execute("INSERT OR REPLACE INTO outline VALUES (?, ?)", (trace_id, stored))
        summary = summarise(trace_id, outline)
        self._connection.execute(
            "INSERT OR REPLACE INTO trace_summary VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                trace_id,
                summary.start_ns,
                summary.duration_ns,
                summary.name,
                summary.model,
                summary.version,
                summary.tenant,
                summary.status,
                summary.reason,
                summary.span_count,
                write_summary(summary),
            ),
        )

    def known(self, trace_ids: Iterable[str]) -> set[str]:
        """Return those of the traces that have spans here."""
        found = self._of_traces("SELECT trace_id, span_count FROM trace_summary WHERE trace_id", trace_ids)
        return {trace_id for trace_id, _ in found}

    def _outlines(self, trace_ids: Iterable[str]) -> dict[str, Outline]:
        found = self._of_traces("SELECT trace_id, body FROM outline WHERE trace_id", trace_ids)
        return {trace_id: read_outline(body) for trace_id, body in found}

    def summaries(self, statement: Statement) -> list[Summary]:
        """Return the traces that a statement of ``query.select`` finds."""
        found = self._connection.execute(statement.sql, statement.parameters)
        return [read_summary(body) for (body,) in found]

    def newest_ns(self) -> int:
        """Return when the latest trace here began; 0 when there is none."""
        (newest,) = self._connection.execute("SELECT max(start_ns) FROM trace_summary").fetchone()
        return int(newest or 0)

    def trace_of(self, request_id: str) -> Asked | None:
        """Return the best of the traces in which a request with this id has its span; None when there is none."""
        found = self._connection.execute(
            "SELECT rank, start_ns, trace_id FROM request WHERE request_id = ? "
            "ORDER BY rank, start_ns DESC, trace_id LIMIT 1",
            (request_id,),
        ).fetchone()
        return None if found is None else Asked(found[0], -found[1], found[2])

    def request_ids(self, trace_ids: Iterable[str]) -> dict[str, str]:
        """Return the first request's id of each of the traces that are here, "" for one that is of no request."""
        found = self._of_traces("SELECT trace_id, body FROM trace_summary WHERE trace_id", trace_ids)
        return {trace_id: read_summary(body).request_id for trace_id, body in found}

    def spans(self, trace_id: str) -> list[Span]:
        """Return a trace's spans by their start."""
        return self._spans(trace_id, "start_ns, span_id", SPANS_OF_A_TRACE, BYTES_OF_A_TRACE)

    def first_spans(self, trace_id: str, limit: int, most_bytes: int) -> list[Span]:
        """Return the spans that say most about a trace, at most so many and of about so many bytes."""
        return self._spans(trace_id, "rank, start_ns, span_id", limit, most_bytes)

    def _spans(self, trace_id: str, order: str, limit: int, most_bytes: int) -> list[Span]:
        """Return spans with their links; ``order`` is one of this module's own."""
        found = self._connection.execute(
            "SELECT span_id, start_ns, end_ns, resource.body, span.body, size_bytes FROM span "  # noqa: S608 - of constants
            f"JOIN resource ON resource.id = span.resource WHERE trace_id = ? ORDER BY {order} LIMIT ?",
            (trace_id, limit),
        )
        spans, left_bytes = [], most_bytes
        for span_id, start_ns, end_ns, resource, body, size_bytes in found:
            left_bytes -= size_bytes
            if left_bytes < 0:
                break
            links = self._links(trace_id, span_id)
            spans.append(span_of((trace_id, span_id), (start_ns, end_ns), resource, body, links))
        return spans

    def _links(self, trace_id: str, span_id: str) -> list[Link]:
        found = self._connection.execute(
            "SELECT to_trace, to_span, attributes FROM link WHERE from_trace = ? AND from_span = ? ORDER BY at",
            (trace_id, span_id),
        )
        return [Link(to_trace, to_span, read_attributes(attributes)) for to_trace, to_span, attributes in found]

    def linking_to(self, trace_id: str, limit: int) -> list[str]:
        """Return traces that have a link to a trace."""
        found = self._connection.execute(
            "SELECT DISTINCT from_trace FROM link WHERE to_trace = ? LIMIT ?", (trace_id, limit)
        )
        return [str(from_trace) for (from_trace,) in found]

    def _of_traces(self, select: str, trace_ids: Iterable[str]) -> list[tuple[str, Any]]:
        wanted = list(trace_ids)
        found: list[tuple[str, Any]] = []
        for at in range(0, len(wanted), _IDS_OF_A_QUESTION):
            some = wanted[at : at + _IDS_OF_A_QUESTION]
            found += self._connection.execute(f"{select} IN ({','.join('?' * len(some))})", some)
        return found


class _Growth:
    """What one transaction adds to a trace."""

    def __init__(self, before: Outline | None) -> None:
        self._before = before
        self._heads: list[Head] = []
        self._size_bytes = 0

    def has_room_for(self, row: SpanRow) -> bool:
        """Whether the trace has less than it may have."""
        count = len(self._heads) + (self._before.span_count if self._before else 0)
        size_bytes = self._size_bytes + (self._before.size_bytes if self._before else 0)
        return count < SPANS_OF_A_TRACE and size_bytes + row.size_bytes <= BYTES_OF_A_TRACE

    def add(self, row: SpanRow) -> None:
        """Count a span that was written."""
        self._heads.append(row.head)
        self._size_bytes += row.size_bytes

    def outline(self) -> Outline | None:
        """Return what the trace is now; None where nothing was added."""
        if not self._heads:
            return None
        new = outline_of(self._heads, self._size_bytes)
        return merged(self._before, new) if self._before else new


def _prepare(connection: sqlite3.Connection) -> None:
    # NORMAL: a loss of power may take the last commits with it, never the file.
    # The cache is 16 MiB: trace ids are random, so new rows of an index lie anywhere in it.
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "journal_size_limit = 4194304", "cache_size = -16384"):
        connection.execute(f"PRAGMA {pragma}")
    layout = _layout(connection)
    if layout == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
    elif layout != _LAYOUT:
        raise Unreadable(f"its layout is {layout}, not {_LAYOUT}")


def _layout(connection: sqlite3.Connection) -> int:
    (layout,) = connection.execute("PRAGMA user_version").fetchone()
    return int(layout)
