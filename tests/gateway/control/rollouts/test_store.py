"""The file that rollouts are kept in: fenced, and whole after a kill at any statement."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.control.rollouts import store as module
from gateway.control.rollouts.store import (
    FILE_NAME,
    GatheredEvidence,
    Kept,
    Overtaken,
    RolloutStore,
    StoreDamaged,
    StoreUnavailable,
    Unsaved,
)
from gateway.control.rollouts.words import transition
from gateway.decide.rollouts import evidence as step_evidence
from gateway.decide.rollouts.machine import follow
from gateway.decide.rollouts.progress import Progress
from policies.snapshot.release import Judge
from tests.gateway.control.rollouts.bench import T0, snapshot


def progress(revision: int = 1) -> Progress:
    found = follow(None, snapshot().routes["digits"], T0, fence=revision - 1)
    assert found is not None
    return replace(found, began_revision=1)


def unsaved(keys: range, *, anew: bool = False) -> Unsaved:
    evidence = step_evidence.begun(Judge("1"), "2", 0, 0.05, T0)
    for key in range(keys.stop):
        evidence = step_evidence.with_bad_key(evidence, key % 2 == 0, 0.05, "", False, T0)
    return Unsaved(GatheredEvidence(1, evidence), frozenset(2**64 - 1 - key for key in keys), anew)


def move(store: RolloutStore, revision: int) -> None:
    store.move(progress(revision), revision - 1, transition(None, progress(revision)))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RolloutStore]:
    with closing(RolloutStore.open(tmp_path / FILE_NAME)) as opened:
        yield opened


def test_what_is_kept_is_found_again(store: RolloutStore) -> None:
    move(store, 1)
    store.gather("digits", 1, unsaved(range(5), anew=True))
    store.gather("digits", 1, unsaved(range(5, 8)))
    found = store.load().rollouts["digits"]
    assert found.progress == progress(1)
    assert found.transitions == (transition(None, progress(1)),)
    assert found.evidence is not None
    assert found.evidence.evidence == unsaved(range(8)).gathered.evidence
    assert found.evidence.subjects == {2**64 - 1 - key for key in range(8)}


def test_a_writer_that_does_not_know_the_latest_revision_loses(store: RolloutStore, tmp_path: Path) -> None:
    move(store, 1)
    with closing(RolloutStore.open(tmp_path / FILE_NAME)) as other:
        move(other, 2)
        for late in (progress(1), progress(2)):
            with pytest.raises(Overtaken):
                store.move(late, late.revision - 1, transition(None, late))
        with pytest.raises(Overtaken):
            store.gather("digits", 1, unsaved(range(1)))
        with pytest.raises(Overtaken):
            store.forget("digits", 1)
        assert other.load().rollouts["digits"].progress == progress(2)


def test_a_step_that_begins_lets_go_of_the_evidence_before_it(store: RolloutStore) -> None:
    move(store, 1)
    store.gather("digits", 1, unsaved(range(3)))
    begins = replace(progress(2), began_revision=2)
    store.move(begins, 1, transition(None, begins))
    assert store.load().rollouts["digits"].evidence is None


def test_a_canary_that_is_gone_leaves_its_revision(store: RolloutStore) -> None:
    move(store, 1)
    store.forget("digits", 1)
    found = store.load().rollouts["digits"]
    assert (found.progress, found.revision, found.evidence) == (None, 1, None)
    move(store, 2)


def test_of_transitions_the_latest_are_kept(store: RolloutStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRANSITIONS", 3)
    for revision in range(1, 9):
        move(store, revision)
    assert [one.revision for one in store.load().rollouts["digits"].transitions] == [6, 7, 8]


def test_a_kill_at_any_statement_leaves_what_was_before_or_what_was_to_be(tmp_path: Path) -> None:
    path = tmp_path / FILE_NAME
    RolloutStore.open(path).close()
    seen: list[Kept] = []

    def killed_here(_statement: str) -> None:
        """Look at the files as a kill would leave them."""
        place = tmp_path / "killed"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        for file in tmp_path.glob(f"{FILE_NAME}*"):
            if not file.name.endswith("-shm"):
                shutil.copy(file, place / file.name)
        with closing(RolloutStore.open(place / FILE_NAME)) as left:
            seen.append(left.load())

    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        store = RolloutStore(connection)
        connection.set_trace_callback(killed_here)
        move(store, 1)
        store.gather("digits", 1, unsaved(range(4), anew=True))
        store.gather("digits", 1, unsaved(range(4, 9)))
        begins = replace(progress(2), began_revision=2)
        store.move(begins, 1, transition(None, begins))
        connection.set_trace_callback(None)
    killed_here("after all")
    standings = []
    for kept in seen:
        found = kept.rollouts.get("digits")
        if found is None:
            standings.append((0, 0))
            continue
        assert found.progress is not None
        assert found.progress.revision == found.revision == found.transitions[-1].revision
        keys = 0
        if found.evidence is not None:
            assert found.evidence.began_revision == found.progress.began_revision
            keys = step_evidence.bad_keys(found.evidence.evidence)
            assert keys == len(found.evidence.subjects)
        standings.append((found.revision, keys))
    assert list(dict.fromkeys(standings)) == [(0, 0), (1, 0), (1, 4), (1, 9), (2, 0)]
    assert len(seen) > 20


def test_a_file_of_a_newer_penstock_is_left_alone_and_one_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    newer, damaged = tmp_path / "newer", tmp_path / "damaged"
    with closing(sqlite3.connect(newer)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreUnavailable, match="a newer Penstock") as refused:
        RolloutStore.open(newer)
    assert not isinstance(refused.value, StoreDamaged)
    damaged.write_bytes(b"no database" * 500)
    with pytest.raises(StoreDamaged):
        RolloutStore.open(damaged)
