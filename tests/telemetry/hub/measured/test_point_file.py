"""Steps on disk: growth adds up over restarts of the hub, silences stay gaps, and a broken file is set aside."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from telemetry.hub.measured.answers import observed_s
from telemetry.hub.measured.cells import Cell
from telemetry.hub.measured.fold import MOST_VERSIONS, OTHER, WHOLE, Happened
from telemetry.hub.measured.point_file import FILE_NAME, PointFile, read
from telemetry.hub.measured.steps import LEVELS

NOON_S = 1_800_000_000.0
FINE, COARSE = LEVELS[0], LEVELS[2]


def happened(count: int, *, model: str = "m", version: str = "1", **mesh: int) -> Happened:
    return Happened({(model, version): Cell(by_class={"2xx": count})}, mesh)


def kept(directory: Path, level: int = 0, model: str = "") -> dict[int, int]:
    """Return the requests of each step of the last hour or so."""
    found = read(directory, LEVELS[level], NOON_S - 3600, NOON_S + 3600, model)
    return {row.start_s - int(NOON_S): row.cell.requests for row in sorted(found.rows, key=lambda row: row.start_s)}


def test_growth_is_added_to_its_step_of_each_length(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    for at in range(6):
        file.add(NOON_S + 10 * at, [(happened(at + 1, retries=1), 10.0)], 10.0, "a")
    file.close()
    assert kept(tmp_path) == {0: 6, 30: 15}
    assert [sum(kept(tmp_path, level).values()) for level in (1, 2)] == [21, 21]
    found = read(tmp_path, FINE, NOON_S - 3600, NOON_S + 60)
    assert {slot.start_s - int(NOON_S): (slot.observed_s, slot.mesh) for slot in found.slots.values()} == {
        0: (30.0, {"retries": 3}),
        30: (30.0, {"retries": 3}),
    }


def test_a_step_goes_on_where_the_hub_was_restarted_in_it(tmp_path: Path) -> None:
    for at in (0, 10):
        file = PointFile(tmp_path)
        file.add(NOON_S + at, [(happened(2), 10.0)], 10.0, "a")
        assert file.last_told() == ("a", NOON_S + at)
        file.close()
    assert kept(tmp_path) == {0: 4}


def test_what_happened_in_a_silence_is_a_gap_in_short_steps_and_counts_in_long_ones(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    file.add(NOON_S, [(happened(1), 10.0)], 10.0, "a")
    file.add(NOON_S + 900, [(happened(40), 900.0)], 900.0, "a")
    file.close()
    assert kept(tmp_path) == {0: 1}
    assert kept(tmp_path, 1) == {0: 1}
    assert kept(tmp_path, 2) == {0: 41}
    assert observed_s(read(tmp_path, FINE, NOON_S - 60, NOON_S + 1000)) == 10.0
    assert observed_s(read(tmp_path, COARSE, NOON_S - 7200, NOON_S + 1000)) == 910.0


def test_nobody_looked_and_nothing_happened_are_two_things(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    file.add(NOON_S, [], 10.0, "a")
    file.add(NOON_S + 60, [], 0.0, "")
    file.close()
    found = read(tmp_path, FINE, NOON_S - 60, NOON_S + 60)
    assert (found.rows, list(found.slots)) == ((), [NOON_S])


def test_steps_that_are_too_old_go(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    file.add(NOON_S, [(happened(1), 10.0)], 10.0, "a")
    file.add(NOON_S + FINE.kept_s + 60, [], 10.0, "a")
    file.close()
    assert (kept(tmp_path), kept(tmp_path, 1)) == ({}, {0: 1})


def test_all_models_are_kept_as_one_too(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    for at in (0, 10):
        file.add(NOON_S + at, [(happened(1), 10.0), (happened(5, model="n"), 10.0)], 10.0, "a")
    file.close()
    (whole,) = read(tmp_path, FINE, NOON_S - 60, NOON_S + 60, WHOLE).rows
    assert whole.cell.requests == 12
    assert {row.model for row in read(tmp_path, FINE, NOON_S - 60, NOON_S + 60).rows} == {"m", "n"}


def test_one_model_can_be_read_alone(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    file.add(NOON_S, [(happened(1), 10.0), (happened(5, model="n"), 10.0)], 10.0, "a")
    file.close()
    assert kept(tmp_path, model="n") == {0: 5}


def test_versions_beyond_the_room_of_a_step_are_one(tmp_path: Path) -> None:
    file = PointFile(tmp_path)
    first, more = (
        {(f"m{at}", ""): Cell(by_class={"2xx": 1}) for at in each} for each in (range(990), range(980, 1040))
    )
    file.add(NOON_S, [(Happened(first, {}), 10.0)], 10.0, "a")
    file.add(NOON_S + 1, [(Happened(more, {}), 10.0)], 10.0, "a")
    file.close()
    rows = read(tmp_path, FINE, NOON_S - 60, NOON_S + 60).rows
    assert len(rows) == MOST_VERSIONS + 1
    assert sum(row.cell.requests for row in rows) == 990 + 60
    assert next(row.cell.requests for row in rows if (row.model, row.version) == OTHER) == 40


def test_a_file_that_is_none_is_set_aside_and_another_begun(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"nonsense" * 1000)
    file = PointFile(tmp_path)
    file.add(NOON_S, [(happened(1), 10.0)], 10.0, "a")
    assert file.lost == 1
    file.add(NOON_S + 10, [(happened(2), 10.0)], 10.0, "a")
    file.close()
    assert (file.lost, kept(tmp_path)) == (1, {0: 2})
    assert (tmp_path / f"{FILE_NAME}.broken").exists()


def test_a_file_of_another_layout_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as other:
        other.execute("PRAGMA user_version = 9")
    other.close()
    file = PointFile(tmp_path)
    file.add(NOON_S, [(happened(1), 10.0)], 10.0, "a")
    assert (file.lost, file.last_told()) == (1, ("", 0.0))
    assert (tmp_path / FILE_NAME).exists()
    with pytest.raises(sqlite3.Error):
        read(tmp_path, FINE, 0.0, NOON_S)


def test_where_no_file_is_nothing_is_read(tmp_path: Path) -> None:
    assert read(tmp_path, FINE, 0.0, 100.0).rows == ()
