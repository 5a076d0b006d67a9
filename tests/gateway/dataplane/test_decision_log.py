"""The decision log: what was settled is on disk, and a disk that fails costs records and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.dataplane import decision_log
from gateway.dataplane.decision_log import DecisionLog
from gateway.dataplane.usage import Usage
from gateway.decide.decision import decide
from gateway.decide.tables import Tables
from gateway.decisions import folder, gathering
from gateway.decisions.folder import Read, find_record, list_files, read_blocks
from gateway.decisions.records import record_at
from tests.gateway.decide.counters import FakeCounters
from tests.gateway.policy import policy
from tests.gateway.trial.traffic_made import Call, request_id

TABLES = Tables(policy())
FACTS = Call().facts()
DECISION = decide(TABLES, FACTS, FakeCounters(), 50.0)


def note(log: DecisionLog, count: int) -> None:
    for number in range(count):
        log.note(FACTS, DECISION, request_id(number), 0.01, 200, "", Usage(5, 0, 1, 2))


def test_what_was_noted_is_on_disk_after_the_end(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions")
    note(log, 3)
    log.flush()
    note(log, 2)
    log.note_unidentified("malformed_http")
    log.close()
    read = Read()
    blocks = list(read_blocks(tmp_path / "decisions", 0.0, float("inf"), read))
    assert [len(block.left) for block in blocks] == [3, 2]
    assert read.unidentified == {"malformed_http": 1}
    assert record_at(blocks[0], 0).device_us == 5
    assert log.lost == 0


def test_a_full_file_is_merged_and_nothing_in_it_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "FILE_BYTES", 1200)
    log = DecisionLog(tmp_path / "decisions")
    for number in range(9):
        log.note(FACTS, DECISION, request_id(number), 0.01, 200, "", Usage(5, 0, 1, 2))
        log.flush()
        while find_record(tmp_path / "decisions", bytes.fromhex(request_id(number))) is None:
            pass
    log.close()
    blocks = list(read_blocks(tmp_path / "decisions", 0.0, float("inf"), Read()))
    assert sum(len(block.left) for block in blocks) == 9
    assert len(blocks) < 9
    assert log.lost == 0


def test_only_its_owner_can_read_the_records(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions")
    note(log, 1)
    log.close()
    (file,) = list_files(tmp_path / "decisions")
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700


def test_nothing_noted_writes_nothing(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path / "decisions")
    log.flush()
    log.close()
    assert list_files(tmp_path / "decisions") == []


def test_a_folder_that_cannot_be_made_costs_the_records_and_they_are_counted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    log = DecisionLog(tmp_path / "file" / "decisions")
    note(log, 4)
    log.close()
    log.flush()
    assert log.lost == 4


@pytest.mark.parametrize(("most_blocks", "most_rows", "kept"), [(4, 1000, 40), (60, 35, 30), (60, 5, 10)])
def test_a_disk_that_does_not_answer_costs_the_oldest_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_blocks: int, most_rows: int, kept: int
) -> None:
    monkeypatch.setattr(decision_log, "_MAX_WAITING", most_blocks)
    monkeypatch.setattr(decision_log, "_MAX_WAITING_ROWS", most_rows)
    log = DecisionLog(tmp_path / "decisions")
    log.close()  # from now on nobody takes what is handed over, as while a disk hangs
    for _ in range(7):
        note(log, 10)
        log.flush()
    log.flush()
    assert log.lost == 70 - kept


def test_many_rows_do_not_wait_for_the_second_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision_log, "MANY_ROWS", 3)
    log = DecisionLog(tmp_path / "decisions")
    note(log, 2)
    log.flush_many()
    note(log, 1)
    log.flush_many()
    note(log, 1)
    log.close()
    blocks = list(read_blocks(tmp_path / "decisions", 0.0, float("inf"), Read()))
    assert [len(block.left) for block in blocks] == [3, 1]


def test_refusals_of_nobody_in_a_lost_block_are_told_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision_log, "_MAX_WAITING", 1)
    log = DecisionLog(tmp_path / "decisions")
    log.close()  # from now on nobody takes what is handed over
    for _ in range(3):
        log.note_unidentified("malformed_http")
        log.flush()
    ((waiting, _),) = log._writer._waiting
    assert waiting.unidentified["malformed_http"] + log._writer.take_failed().unidentified["malformed_http"] == 3
    assert log.lost == 0


def test_what_finds_no_room_is_counted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "MAX_ROWS", 2)
    log = DecisionLog(tmp_path / "decisions")
    note(log, 5)
    log.close()
    (block,) = read_blocks(tmp_path / "decisions", 0.0, float("inf"), Read())
    assert (len(block.left), block.lost, log.lost) == (2, 3, 3)
