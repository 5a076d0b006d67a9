"""A true SQLite file: what is written is what a start finds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.control.slo_kept import AlertKey, Changes, Kept, Series, SlotRow, Transition
from gateway.control.slo_store import SloStore

A = Series("availability", "digits", "1", "")
B = Series("latency", "digits", "", "gold")
PAGE = AlertKey("availability", "digits", "page", "page 1h")
FIRED = Transition(100.5, "firing", PAGE)


def slot(start_s: int, good: int, series: Series = A, level_s: int = 10) -> SlotRow:
    return SlotRow(level_s, start_s, series, good, 1, 2)


def changes(*slots: SlotRow, oldest_s: float = 0.0, firing: dict[AlertKey, float] | None = None) -> Changes:
    return Changes(slots, firing or {}, (FIRED,), {10: oldest_s})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slo.db"


def found(path: Path) -> Kept:
    """Return what a start finds."""
    store = SloStore.open(path)
    try:
        return store.load()
    finally:
        store.close()


def save(path: Path, *saved: Changes) -> None:
    store = SloStore.open(path)
    for one in saved:
        store.save(one)
    store.close()


def test_what_is_saved_is_found_in_the_order_of_time(path: Path) -> None:
    save(path, changes(slot(20, 5), slot(10, 4, B), slot(0, 3, level_s=60), firing={PAGE: 100.5}))
    assert found(path) == Kept((slot(10, 4, B), slot(20, 5), slot(0, 3, level_s=60)), {PAGE: 100.5}, (FIRED,))
    assert path.stat().st_mode & 0o077 == 0


def test_a_slot_that_is_saved_again_replaces_itself(path: Path) -> None:
    save(path, changes(slot(10, 4)), changes(slot(10, 4)), changes(slot(10, 9)))
    assert found(path).slots == (slot(10, 9),)


def test_an_alert_that_is_over_is_no_longer_found_firing(path: Path) -> None:
    save(path, changes(firing={PAGE: 100.5}), changes())
    assert found(path) == Kept((), {}, (FIRED,))


def test_old_slots_of_a_level_are_deleted_and_their_series_with_them(path: Path) -> None:
    save(path, changes(slot(10, 1), slot(20, 1, B), slot(0, 1, level_s=60)))
    save(path, changes(oldest_s=30.0))
    assert found(path).slots == (slot(0, 1, level_s=60),)
    save(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT slo FROM series").fetchall() == [("availability",)]
    connection.close()


def test_a_save_that_fails_half_way_leaves_what_was(path: Path) -> None:
    save(path, changes(slot(10, 4)))
    store = SloStore.open(path)
    with pytest.raises(OverflowError):
        store.save(changes(slot(20, 1, B), slot(10, 2**70)))  # no number of SQLite's
    store.save(changes(slot(30, 1, B)))
    store.close()
    assert found(path).slots == (slot(10, 4), slot(30, 1, B))


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 20])
def test_a_file_that_is_no_database_is_told_apart_from_one_that_cannot_be_opened(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        SloStore.open(path)
    assert not isinstance(damaged.value, sqlite3.OperationalError)


def test_a_file_of_another_format_is_refused(path: Path) -> None:
    save(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(sqlite3.DatabaseError, match="has format 7"):
        SloStore.open(path)
