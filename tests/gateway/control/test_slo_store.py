"""A true SQLite file: what is written is what a start finds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gateway.control.slo_kept import AlertKey, Changes, Episode, Remembered, Series, SlotRow, Telling, Transition
from gateway.control.slo_store import NewerFormat, SloStore
from telemetry.slo.windows import LEVELS

A = Series("availability", "digits", "1", "")
B = Series("latency", "digits", "", "gold")
PAGE = AlertKey("availability", "digits", "page", "page 1h")
FIRED = Transition(100.5, "firing", PAGE)


def slot(start_s: int, good: int, series: Series = A, level_s: int = 10) -> SlotRow:
    return SlotRow(level_s, start_s, series, good, 1, 2)


def changes(*slots: SlotRow, at_s: float = 100.0, firing: dict[AlertKey, float] | None = None) -> Changes:
    return Changes(slots, firing or {}, (FIRED,), at_s)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slo.db"


def found(path: Path, until_s: float = 1e12) -> Remembered:
    """Return what a start finds."""
    store = SloStore.open(path)
    try:
        return store.load(until_s)
    finally:
        store.close()


def rows(path: Path, until_s: float = 1e12) -> set[SlotRow]:
    """Return the slots that a start finds."""
    return {
        SlotRow(level.slot_s, start_s, series, events.good, events.bad, events.ignored)
        for series, slots in found(path, until_s).series.items()
        for level in LEVELS
        for start_s, events in slots.slots(level, 0.0)
    }


def save(path: Path, *saved: Changes) -> None:
    store = SloStore.open(path)
    for one in saved:
        store.save(one)
    store.close()


def test_what_is_saved_is_found(path: Path) -> None:
    saved = (slot(20, 5), slot(10, 4, B), slot(0, 3, level_s=60))
    save(path, changes(*saved, firing={PAGE: 100.5}))
    assert rows(path) == set(saved)
    remembered = found(path)
    assert (remembered.firing, remembered.transitions) == ({PAGE: 100.5}, (FIRED,))
    assert path.stat().st_mode & 0o077 == 0


def test_which_loads_were_counted_is_found_as_it_was_saved_last(path: Path) -> None:
    counted = [
        Changes((), {}, (), 100.0, loads=loads) for loads in ({"b": 1, "a": 2}, {"a": 2, "b": 7}, {"a": 2, "b": 7})
    ]
    save(path, *counted)
    assert list(found(path).loads.items()) == [("a", 2), ("b", 7)]


def test_times_that_alerts_fired_are_found_as_they_were_saved_last(path: Path) -> None:
    began = Episode(PAGE, "fast", 100.5, None, 20.0)
    over = Episode(PAGE, "fast", 100.5, 400.0, 31.5, (Telling("webhook/a", "end", "refused", 401.0, "400"),))
    save(path, Changes((), {}, (), 100.0, episodes=(began,)), Changes((), {}, (), 101.0, episodes=(over,)))
    assert found(path).episodes == (over,)
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO episode VALUES ('{}')")
    connection.close()
    assert found(path).episodes == (over,)


def test_a_slot_that_is_saved_again_replaces_itself(path: Path) -> None:
    save(path, changes(slot(10, 4)), changes(slot(10, 4)), changes(slot(10, 9)))
    assert rows(path) == {slot(10, 9)}


def test_an_alert_that_is_over_is_no_longer_found_firing(path: Path) -> None:
    save(path, changes(firing={PAGE: 100.5}), changes())
    assert found(path).firing == {}


def test_a_slot_of_the_future_is_not_found_until_it_is_its_time(path: Path) -> None:
    save(path, changes(slot(10, 1), slot(1000, 2)))
    assert rows(path, until_s=999.0) == {slot(10, 1)}
    assert rows(path, until_s=1000.0) == {slot(10, 1), slot(1000, 2)}


def test_old_slots_are_deleted_once_their_level_has_enough_later_ones(path: Path) -> None:
    starts_s = range(0, 7250, 10)
    save(path, changes(*(slot(start_s, 1) for start_s in starts_s), at_s=7250.0))
    with sqlite3.connect(path) as connection:
        kept = [start_s for (start_s,) in connection.execute("SELECT start_s FROM slot ORDER BY start_s")]
    connection.close()
    assert kept == list(starts_s)[2:]


def test_a_clock_that_was_years_ahead_deletes_nothing_that_is_needed(path: Path) -> None:
    years_s = 3 * 365 * 86_400
    save(path, changes(slot(3600, 5), slot(3600, 5, level_s=3600), at_s=3610.0))
    save(path, changes(slot(years_s, 1), slot(years_s, 1, level_s=3600), at_s=float(years_s)))
    assert rows(path, until_s=3620.0) == {slot(3600, 5), slot(3600, 5, level_s=3600)}


def test_a_series_without_slots_is_deleted_at_the_next_start(path: Path) -> None:
    save(path, changes(slot(10, 1), slot(20, 1, B)))
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM slot WHERE start_s = 20")
        connection.commit()
        save(path)
        assert connection.execute("SELECT slo FROM series").fetchall() == [("availability",)]
    connection.close()


def test_a_save_that_fails_half_way_leaves_what_was(path: Path) -> None:
    save(path, changes(slot(10, 4)))
    store = SloStore.open(path)
    with pytest.raises(OverflowError):
        store.save(changes(slot(20, 1, B), slot(10, 2**70)))  # no number of SQLite's
    store.save(changes(slot(30, 1, B)))
    store.close()
    assert rows(path) == {slot(10, 4), slot(30, 1, B)}


@pytest.mark.parametrize("content", [b"not a database at all, but long enough to be looked at" * 20])
def test_a_file_that_is_no_database_is_told_apart_from_one_that_cannot_be_opened(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        SloStore.open(path)
    assert not isinstance(damaged.value, sqlite3.OperationalError)


def test_a_file_of_a_newer_format_is_refused(path: Path) -> None:
    save(path)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 7")
    connection.close()
    with pytest.raises(NewerFormat, match="has format 7, which a newer Penstock wrote"):
        SloStore.open(path)


def test_without_a_change_the_file_is_not_touched(path: Path) -> None:
    store = SloStore.open(path)
    store.save(changes(slot(10, 4)))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        store.save(changes(at_s=200.0))  # would wait for the other, in vain
    other.close()
    store.close()
