"""Which file a trace goes to and which files go: pure, with the time as an argument."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from telemetry.hub.hours import (
    HOUR_S,
    JUMP_S,
    STEADY_S,
    HourName,
    Steadiness,
    StoredFile,
    current,
    homes,
    parse_name,
    to_drop,
)

NOON_S = 1_800_000_000 // HOUR_S * HOUR_S
MIB = 2**20

names = st.builds(
    HourName, st.integers(0, 400_000).map(lambda hour: hour * HOUR_S), st.integers(0, 5000), st.booleans()
)


def stored(hours_ago: int, size_bytes: int = MIB, part: int = 0, *, is_damaged: bool = False) -> StoredFile:
    return StoredFile(HourName(NOON_S - hours_ago * HOUR_S, part, is_damaged), size_bytes)


@given(names)
def test_a_name_can_be_read_again(name: HourName) -> None:
    assert parse_name(str(name)) == name


def test_a_name_tells_the_hour_in_utc() -> None:
    assert str(HourName(1_795_204_800)) == "traces-2026112020.db"
    assert str(HourName(1_795_204_800, 2, is_damaged=True)) == "traces-2026112020-002.db.damaged"


def test_other_files_are_none_of_ours() -> None:
    for name in ("traces-2026112023.db-wal", "traces-2026132023.db", "notes.txt", "traces-2026112023-1.db"):
        assert parse_name(name) is None


def test_a_new_hour_begins_a_new_file() -> None:
    files = [stored(1)]
    assert current(files, NOON_S - 1, 100 * MIB) == files[0].name
    assert current(files, NOON_S, 100 * MIB) == HourName(NOON_S)


def test_a_file_with_a_quarter_of_all_room_is_full_and_a_damaged_one_is_left_alone() -> None:
    assert current([stored(0, 25 * MIB)], NOON_S, 100 * MIB) == HourName(NOON_S, 1)
    assert current([stored(0, 24 * MIB)], NOON_S, 100 * MIB) == HourName(NOON_S)
    assert current([stored(0, is_damaged=True)], NOON_S, 100 * MIB) == HourName(NOON_S, 1)


def test_a_trace_may_grow_until_an_hour_after_its_files_own_and_the_newest_file_is_asked_first() -> None:
    files = [stored(3), stored(1), stored(2), stored(0), stored(0, is_damaged=True)]
    assert homes(files, NOON_S) == [files[3].name, files[1].name, files[2].name]
    assert homes(files, NOON_S + 1) == [files[3].name, files[1].name]


def dropped(files: Sequence[StoredFile], now_s: float, max_bytes: int, steady_s: float = STEADY_S) -> list[HourName]:
    return to_drop(files, now_s, 24 * HOUR_S, max_bytes, steady_s)


def test_files_go_when_the_last_of_their_hour_is_too_old() -> None:
    files = [stored(25), stored(24), stored(24, part=1, is_damaged=True), stored(0)]
    assert dropped(files, NOON_S, 100 * MIB) == [files[0].name]
    assert dropped(files, NOON_S + HOUR_S, 100 * MIB) == [f.name for f in files[:3]]


def test_the_oldest_go_while_all_together_are_too_large() -> None:
    files = [stored(0, 40 * MIB), stored(2, 40 * MIB), stored(1, 40 * MIB)]
    assert dropped(files, NOON_S, 80 * MIB) == [files[1].name]
    assert dropped(files, NOON_S, 79 * MIB) == [files[1].name, files[2].name]


def test_the_newest_file_stays_however_large_and_old_it_is() -> None:
    assert dropped([stored(0, 200 * MIB)], NOON_S, 100 * MIB) == []
    files = [stored(30), stored(31)]
    assert dropped(files, NOON_S, 100 * MIB) == [files[1].name]
    assert dropped([], NOON_S, 0) == []


def test_files_of_the_future_go_before_those_of_now() -> None:
    files = [stored(0, 10 * MIB), stored(-9600, 60 * MIB), stored(-9600, 60 * MIB, part=1)]
    assert dropped(files, NOON_S, 100 * MIB) == [files[1].name]
    assert dropped(files, NOON_S, 30 * MIB) == [files[1].name, files[2].name]
    assert dropped(files, NOON_S, 0) == [files[1].name, files[2].name]


def test_a_clock_that_was_just_set_makes_no_file_old() -> None:
    files = [stored(5), stored(1), stored(0)]
    a_year_later_s = NOON_S + 365 * 24 * HOUR_S
    assert dropped(files, a_year_later_s, 100 * MIB, steady_s=STEADY_S - 1) == []
    assert dropped(files, a_year_later_s, MIB, steady_s=0.0) == [files[0].name, files[1].name]


def test_a_clock_is_steady_while_it_runs_along() -> None:
    clock = Steadiness()
    seen = [
        (1000, 0),
        (1010, 10),
        (1010 + JUMP_S, 10),
        (1021 + JUMP_S, 20),
        (5000, 30),
        (5100, 130),
        (0, 131),
        (1, 132),
    ]
    assert [clock.steady_s(wall_s, monotonic_s) for wall_s, monotonic_s in seen] == [0, 10, 10, 20, 0, 100, 0, 1]


_files = st.builds(stored, st.integers(0, 60), st.integers(0, 50 * MIB), st.integers(0, 3))


@given(st.lists(_files, max_size=40, unique_by=lambda file: file.name))
def test_what_stays_is_young_and_fits_and_is_newer_than_all_that_goes(files: list[StoredFile]) -> None:
    gone = set(dropped(files, NOON_S, 100 * MIB))
    staying = [file for file in files if file.name not in gone]
    newest = max((file.name for file in files), default=None)
    assert all(file.name == newest or file.name.hour_s + 25 * HOUR_S > NOON_S for file in staying)
    assert newest not in gone
    assert len({file.name for file in staying}) <= 1 or sum(file.size_bytes for file in staying) <= 100 * MIB
    assert all(name < file.name for name in gone for file in staying)
