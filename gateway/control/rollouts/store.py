"""Keeps rollouts in one SQLite file: progress, the evidence of its step, and what became of it so far.

Every write names the revision that its writer knows, in the transaction that it is made in: a supervisor that another
one has overtaken, or a write that comes late, changes nothing and is told so. Evidence is kept with the keys that it
was made of, in one transaction, so that a kill at any moment neither counts a key twice nor forgets that it counted it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from gateway.control.rollout_reports import TransitionReport
from gateway.control.rollouts.loads import Minute, VersionName
from gateway.decide.rollouts.evidence import StepEvidence
from gateway.decide.rollouts.progress import Progress

FILE_NAME = "rollouts.sqlite3"
MAX_TRANSITIONS = 1000
"""So many are kept of each model, the latest."""

_BUSY_WITHIN_S = 2.0
_FORMAT = 1
# SQLite's integers have a sign.
_SIGN = 2**63
# A model whose canary is gone keeps its row, so that the next one goes on from its revision.
_SCHEMA = f"""
PRAGMA user_version = {_FORMAT};
CREATE TABLE IF NOT EXISTS rollout (model TEXT PRIMARY KEY, revision INTEGER NOT NULL, progress BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (
    model TEXT PRIMARY KEY, began_revision INTEGER NOT NULL, evidence BLOB NOT NULL, untold INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subject (model TEXT NOT NULL, subject INTEGER NOT NULL, PRIMARY KEY (model, subject))
WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS transition (
    model TEXT NOT NULL, revision INTEGER NOT NULL, report BLOB NOT NULL, PRIMARY KEY (model, revision)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS load (
    model TEXT NOT NULL, version TEXT NOT NULL, minutes BLOB NOT NULL, PRIMARY KEY (model, version)
) WITHOUT ROWID;
"""
_PUT_FIRST = "INSERT OR IGNORE INTO rollout VALUES (?, ?, ?)"
_PUT = "UPDATE rollout SET revision = ?, progress = ? WHERE model = ? AND revision = ?"
_PUT_EVIDENCE = """
INSERT INTO evidence VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET began_revision = excluded.began_revision, evidence = excluded.evidence,
    untold = excluded.untold
"""
_PUT_LOAD = "INSERT INTO load VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET minutes = excluded.minutes"
_PRUNE = """
DELETE FROM transition WHERE model = :model AND revision <= (
    SELECT revision FROM transition WHERE model = :model ORDER BY revision DESC LIMIT 1 OFFSET :most
)
"""

_encode = msgspec.json.encode
_Run = Callable[..., sqlite3.Cursor]


class StoreUnavailable(Exception):
    """The file cannot be used now; nothing of what was to be written is."""


class StoreDamaged(StoreUnavailable):
    """The file does not hold what it should."""


class Overtaken(Exception):
    """Another writer has made a revision that this one does not know; nothing was written."""


class GatheredEvidence(Struct, frozen=True):
    """The evidence of a step, and what it was made of.

    Attributes:
        began_revision: of the progress that the step began with.
        subjects: bad keys that it has counted, as a start finds them.
        untold: further bad keys that found no room, here or in workers.
    """

    began_revision: int
    evidence: StepEvidence
    subjects: frozenset[int] = frozenset()
    untold: int = 0


class Unsaved(Struct, frozen=True):
    """What is to be kept of a step.

    Attributes:
        keys: bad keys that are not kept yet.
        is_anew: those that are kept are not this evidence's.
    """

    gathered: GatheredEvidence
    keys: frozenset[int]
    is_anew: bool


class KeptRollout(Struct, frozen=True):
    """What is kept of one model.

    Attributes:
        progress: None after its canary was removed; ``revision`` is known all the same.
        evidence: None when none was kept since its step began.
        transitions: the oldest first.
    """

    revision: int
    progress: Progress | None
    evidence: GatheredEvidence | None
    transitions: tuple[TransitionReport, ...]


class Kept(Struct, frozen=True):
    """All that is kept."""

    rollouts: dict[str, KeptRollout]
    loads: dict[VersionName, tuple[Minute, ...]]


class RolloutStore:
    """The open file; one thread at a time uses it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> RolloutStore:
        """Open the file, making it where it is missing.

        Raises:
            StoreUnavailable: it cannot be used, or a newer Penstock wrote it.
            StoreDamaged: it is no such file.
        """
        with _told_plainly():
            path.touch(mode=0o600, exist_ok=True)
            connection = sqlite3.connect(path, timeout=_BUSY_WITHIN_S, isolation_level=None, check_same_thread=False)
            try:
                found = connection.execute("PRAGMA user_version").fetchone()[0]
                if found > _FORMAT:
                    raise StoreUnavailable(f"it has format {found}, which a newer Penstock wrote")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            except BaseException:
                connection.close()
                raise
        return cls(connection)

    def load(self) -> Kept:
        """Return all that is kept.

        Raises:
            StoreUnavailable, StoreDamaged: it cannot be read.
        """
        with _told_plainly():
            run = self._connection.execute
            rollouts = {
                model: KeptRollout(
                    revision,
                    None if progress is None else msgspec.json.decode(progress, type=Progress),
                    self._evidence(model),
                    self._transitions(model),
                )
                for model, revision, progress in run("SELECT * FROM rollout").fetchall()
            }
            loads = {
                (model, version): msgspec.json.decode(minutes, type=tuple[Minute, ...])
                for model, version, minutes in run("SELECT * FROM load")
            }
            return Kept(rollouts, loads)

    def _evidence(self, model: str) -> GatheredEvidence | None:
        run = self._connection.execute
        found = run("SELECT began_revision, evidence, untold FROM evidence WHERE model = ?", (model,)).fetchone()
        if found is None:
            return None
        subjects = run("SELECT subject FROM subject WHERE model = ?", (model,))
        try:
            evidence = msgspec.msgpack.decode(found[1], type=StepEvidence)
        except msgspec.MsgspecError:
            return None  # another Penstock gathers other evidence: the step gathers its own anew
        return GatheredEvidence(found[0], evidence, frozenset(one + _SIGN for (one,) in subjects), found[2])

    def _transitions(self, model: str) -> tuple[TransitionReport, ...]:
        rows = self._connection.execute("SELECT report FROM transition WHERE model = ? ORDER BY revision", (model,))
        return tuple(msgspec.json.decode(report, type=TransitionReport) for (report,) in rows)

    def move(self, progress: Progress, known_revision: int, *transitions: TransitionReport) -> None:
        """Keep a revision, and let go of the evidence where its step begins with it.

        Args:
            known_revision: the one that is kept; 0 for a model that has never had a canary.
            transitions: what has led from that to this one.

        Raises:
            Overtaken, StoreUnavailable: it is not kept.
        """
        with self._step(is_durable=True) as run:
            self._put(progress.model, known_revision, progress.revision, _encode(progress))
            rows = [(progress.model, one.revision, _encode(one)) for one in transitions]
            self._connection.executemany("INSERT INTO transition VALUES (?, ?, ?)", rows)
            run(_PRUNE, {"model": progress.model, "most": MAX_TRANSITIONS})
            if progress.began_revision > known_revision:
                self._forget_evidence(progress.model)

    def forget(self, model: str, known_revision: int) -> None:
        """Let go of the rollout of a model whose canary is gone, but for its revision and what became of it.

        Raises:
            Overtaken, StoreUnavailable: it is kept.
        """
        with self._step(is_durable=True):
            self._put(model, known_revision, known_revision, None)
            self._forget_evidence(model)

    def _put(self, model: str, known_revision: int, revision: int, content: bytes | None) -> None:
        run = self._connection.execute
        if known_revision == 0:
            done = run(_PUT_FIRST, (model, revision, content))
        else:
            done = run(_PUT, (revision, content, model, known_revision))
        if done.rowcount != 1:
            raise Overtaken(f"the rollout of {model} is not at revision {known_revision} any more")

    def _forget_evidence(self, model: str) -> None:
        self._connection.execute("DELETE FROM evidence WHERE model = ?", (model,))
        self._connection.execute("DELETE FROM subject WHERE model = ?", (model,))

    def gather(self, model: str, known_revision: int, unsaved: Unsaved) -> None:
        """Keep the evidence of a step with the keys that came since it was last kept.

        Raises:
            Overtaken, StoreUnavailable: it is not kept.
        """
        gathered = unsaved.gathered
        with self._step() as run:
            found = run("SELECT revision FROM rollout WHERE model = ?", (model,)).fetchone()
            if found != (known_revision,):
                raise Overtaken(f"the rollout of {model} is not at revision {known_revision} any more")
            if unsaved.is_anew:
                self._forget_evidence(model)
            evidence = msgspec.msgpack.encode(gathered.evidence)
            run(_PUT_EVIDENCE, (model, gathered.began_revision, evidence, gathered.untold))
            rows = [(model, one - _SIGN) for one in unsaved.keys]
            self._connection.executemany("INSERT OR IGNORE INTO subject VALUES (?, ?)", rows)

    def put_loads(self, loads: dict[VersionName, tuple[Minute, ...]]) -> None:
        """Keep what was asked of versions, in place of what was kept.

        Raises:
            StoreUnavailable: it is not kept.
        """
        with self._step() as run:
            run("DELETE FROM load")
            self._connection.executemany(_PUT_LOAD, [(*version, _encode(found)) for version, found in loads.items()])

    @contextmanager
    def _step(self, *, is_durable: bool = False) -> Iterator[_Run]:
        """Make one transaction; a durable one is there after a power loss too, and the last others may not be."""
        with _told_plainly():
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection.execute
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


@contextmanager
def _told_plainly() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(str(error)) from error
    except (sqlite3.DatabaseError, msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        raise StoreDamaged(str(error)) from error
    except OSError as error:
        raise StoreUnavailable(error.strerror or str(error)) from error
