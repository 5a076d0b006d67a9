"""Label store: digests of the labels in answers, in one SQLite file that one thread at a time uses."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.decide.stage import Stage

_FORMAT = 1
# A reader such as `sqlite3 labels.db` may hold the file for a moment.
_BUSY_WITHIN_S = 2.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
    tenant TEXT NOT NULL, request_id TEXT NOT NULL, at_s REAL NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL,
    arm TEXT NOT NULL, tier TEXT NOT NULL, label TEXT, trace_id TEXT NOT NULL, stage BLOB NOT NULL,
    subject BLOB NOT NULL, told TEXT, observed_s REAL,
    PRIMARY KEY (tenant, request_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS answer_by_age ON answer (at_s);
CREATE TABLE IF NOT EXISTS copy (
    tenant TEXT NOT NULL, request_id TEXT NOT NULL, shadow TEXT NOT NULL, label TEXT,
    PRIMARY KEY (tenant, request_id, shadow)
) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS copies_go_too AFTER DELETE ON answer BEGIN
    DELETE FROM copy WHERE tenant = old.tenant AND request_id = old.request_id;
END;
"""
_PUT_ANSWER = "INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)"
_PUT_COPY = """
INSERT OR IGNORE INTO copy SELECT :tenant, :request_id, :shadow, :label
WHERE EXISTS (SELECT 1 FROM answer WHERE tenant = :tenant AND request_id = :request_id)
"""
_ANSWER = """
SELECT at_s, model, version, arm, tier, label, trace_id, stage, subject, told FROM answer
WHERE tenant = ? AND request_id = ?
"""
_DROP_OLDEST = """
DELETE FROM answer WHERE (tenant, request_id) IN (SELECT tenant, request_id FROM answer ORDER BY at_s LIMIT ?)
"""


_STAGE = msgspec.msgpack.Decoder(Stage | None)


class NewerFormat(Exception):
    """The file is of a newer Penstock; its text is a sentence without its subject."""


class KeptAnswer(Struct, frozen=True):
    """A request that was answered, and the label in its answer.

    Attributes:
        label: its digest; None when the answer has none.
        told: the true label's, as the first told it; None before that.
    """

    tenant: str
    request_id: str
    at_s: float
    model: str
    version: str
    arm: str
    tier: str
    label: str | None
    trace_id: str
    stage: Stage | None
    subject: int
    told: str | None = None


class KeptCopy(Struct, frozen=True):
    """The digest of the label in a shadow's answer to the same request; None when it has none."""

    tenant: str
    request_id: str
    shadow: str
    label: str | None


class LabelStore:
    """The open file.

    Attributes:
        count: answers in it.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.count = self._counted()

    @classmethod
    def open(cls, path: Path) -> LabelStore:
        """Open the file, making it where it is missing.

        Raises:
            sqlite3.Error, OSError: it cannot be used.
            NewerFormat: this Penstock must leave it alone.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_WITHIN_S, isolation_level=None)
        try:
            _prepare(connection)
            return cls(connection)
        except (sqlite3.Error, NewerFormat):
            connection.close()
            raise

    @contextmanager
    def one_step(self) -> Iterator[None]:
        """What is done inside is kept as a whole or not at all.

        Raises:
            sqlite3.Error: it was not.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self.count = self._counted()
            raise

    def put(self, answer: KeptAnswer) -> None:
        """Keep an answer; one that is there stays as it is."""
        row = (
            answer.tenant,
            answer.request_id,
            answer.at_s,
            answer.model,
            answer.version,
            answer.arm,
            answer.tier,
            answer.label,
            answer.trace_id,
            msgspec.msgpack.encode(answer.stage),
            answer.subject.to_bytes(8, "big"),
        )
        self.count += self._connection.execute(_PUT_ANSWER, row).rowcount

    def put_copy(self, copy: KeptCopy) -> bool:
        """Keep the label of a copy; False when it is there already, or its answer is not."""
        return self._connection.execute(_PUT_COPY, msgspec.structs.asdict(copy)).rowcount == 1

    def answer(self, tenant: str, request_id: str) -> KeptAnswer | None:
        """Return an answer to a tenant's request."""
        row = self._connection.execute(_ANSWER, (tenant, request_id)).fetchone()
        if row is None:
            return None
        at_s, model, version, arm, tier, label, trace_id, stage, subject, told = row
        return KeptAnswer(
            tenant=tenant,
            request_id=request_id,
            at_s=at_s,
            model=model,
            version=version,
            arm=arm,
            tier=tier,
            label=label,
            trace_id=trace_id,
            stage=_STAGE.decode(stage),
            subject=int.from_bytes(subject, "big"),
            told=told,
        )

    def copies(self, tenant: str, request_id: str) -> list[KeptCopy]:
        """Return the copies of a request."""
        query = "SELECT shadow, label FROM copy WHERE tenant = ? AND request_id = ?"
        return [KeptCopy(tenant, request_id, *row) for row in self._connection.execute(query, (tenant, request_id))]

    def tell(self, answer: KeptAnswer, label: str, observed_s: float) -> None:
        """Keep the digest of an answer's true label."""
        self._connection.execute(
            "UPDATE answer SET told = ?, observed_s = ? WHERE tenant = ? AND request_id = ?",
            (label, observed_s or None, answer.tenant, answer.request_id),
        )

    def drop_before(self, model: str, before_s: float) -> None:
        """Drop a model's answers to requests that began earlier."""
        run = self._connection.execute
        self.count -= run("DELETE FROM answer WHERE at_s < ? AND model = ?", (before_s, model)).rowcount

    def drop_others(self, models: Collection[str]) -> int:
        """Drop what is of no model of these, and return how many answers that were."""
        marks = ", ".join("?" * len(models))
        dropped = self._connection.execute(f"DELETE FROM answer WHERE model NOT IN ({marks})", tuple(models)).rowcount  # noqa: S608 - the marks are ours
        self.count -= dropped
        return dropped

    def drop_oldest(self, count: int) -> None:
        """Drop so many of the oldest answers."""
        self.count -= self._connection.execute(_DROP_OLDEST, (count,)).rowcount

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _counted(self) -> int:
        return int(self._connection.execute("SELECT count(*) FROM answer").fetchone()[0])


def _prepare(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > _FORMAT:
        raise NewerFormat(f"has format {found}, which a newer Penstock wrote; this one knows format {_FORMAT}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.executescript(_SCHEMA)
    connection.execute(f"PRAGMA user_version = {_FORMAT}")
