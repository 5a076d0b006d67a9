"""The log on a disk: appended, signed, cut off, gone on with, full, and refused."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gateway.control.audit import log as log_module
from gateway.control.audit.files import CURRENT_NAME, FOLDER, log_files
from gateway.control.audit.inspection import inspect, places_of
from gateway.control.audit.log import AuditLog, AuditUnavailable
from gateway.control.audit.record import Change, line_of, next_record
from gateway.control.audit.verify import Verdict


class Diary:
    """A state directory, its audit log, and what was said of it."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.folder = state / FOLDER
        self.current = self.folder / CURRENT_NAME
        self.said: list[str] = []
        self.log = AuditLog(state, self.said.append)

    def write(self, count: int) -> None:
        for number in range(count):
            self.log.record("key:ops-1", "key.revoked", f"key/{number}", {"tenant": "ads"}, "leaked")

    def again(self) -> None:
        """Start anew, as after a kill: nothing was closed."""
        self.log = AuditLog(self.state, self.said.append)

    def verdict(self) -> Verdict:
        return inspect(places_of(self.folder))

    def actions(self) -> list[str]:
        records, _ = self.log.newest(1000)
        return [sealed.record.action for sealed in reversed(records)]


@pytest.fixture
def diary(tmp_path: Path) -> Iterator[Diary]:
    made = Diary(tmp_path)
    yield made
    made.log.close()


def test_what_is_recorded_is_on_the_disk_at_once_and_signed_at_the_end(diary: Diary) -> None:
    diary.write(3)
    assert (diary.verdict().proven.records, diary.verdict().proven.signed) == (3, 0)
    diary.log.close()
    assert (diary.verdict().fault, diary.verdict().proven.records, diary.verdict().proven.signed) == (None, 4, 4)
    assert diary.actions() == ["key.revoked"] * 3 + ["audit.checkpoint"]
    assert diary.current.stat().st_mode & 0o777 == 0o600
    assert (diary.folder / "checkpoint-key.pem").stat().st_mode & 0o777 == 0o600


def test_anybody_can_check_a_line_with_what_python_brings(diary: Diary) -> None:
    diary.write(2)
    first, second = (json.loads(line) for line in diary.current.read_text().splitlines())
    told = second.pop("hash")
    canonical = json.dumps(second, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert hashlib.sha256(bytes.fromhex(first["hash"]) + canonical).hexdigest() == told


def test_a_restart_goes_on_where_it_ended(diary: Diary) -> None:
    diary.write(2)
    diary.log.close()
    diary.again()
    diary.write(2)
    diary.log.close()
    verdict = diary.verdict()
    assert (verdict.fault, verdict.proven.records, verdict.proven.checkpoints) == (None, 6, 2)
    assert diary.said == []


def test_a_record_that_a_stranger_adds_after_a_clean_stop_is_told_of_before_it_is_signed(diary: Diary) -> None:
    diary.write(2)
    diary.log.close()
    (last, *_), _ = diary.log.newest(1)
    forged = Change("local", "key.restore", "key/0", {}, "never happened")
    with diary.current.open("ab") as file:
        file.write(line_of(next_record(forged, last.record.n, last.hash, 0.0))[0])
    assert diary.verdict().proven.signed < diary.verdict().proven.records
    diary.again()
    diary.write(1)
    diary.log.close()
    told = [sealed.record for sealed in diary.log.newest(100)[0] if sealed.record.action == "audit.resumed"]
    assert [record.detail for record in told] == [{"unsigned_from": 4, "unsigned_to": 4}]
    assert diary.said == ["the audit log did not end as it should: audit.resumed, unsigned from 4, unsigned to 4"]
    assert diary.verdict().fault is None


def test_what_a_killed_writer_had_not_signed_is_told_and_what_this_one_wrote_itself_is_not(
    diary: Diary,
) -> None:
    diary.write(2)
    diary.again()
    diary.write(1)
    with full_disk(diary.current.stat().st_size + 10), pytest.raises(AuditUnavailable):
        diary.write(1)
    diary.write(1)
    assert diary.actions() == ["key.revoked", "key.revoked", "audit.resumed", "key.revoked", "key.revoked"]


def test_a_thousand_records_are_signed_without_waiting(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    diary.write(1001)
    assert diary.verdict().proven.signed == 1001


def test_a_line_that_a_kill_cut_off_is_removed_and_that_is_recorded(diary: Diary) -> None:
    diary.write(3)
    whole = diary.current.read_bytes()
    last_line = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last_line + 1, len(whole)):
        diary.current.write_bytes(whole[:end])
        assert diary.verdict().fault is not None
        diary.again()
        diary.write(1)
        assert (diary.verdict().fault, diary.actions()) == (
            None,
            ["key.revoked", "key.revoked", "audit.repaired", "audit.resumed", "key.revoked"],
        )
    assert "the audit log did not end as it should: audit.repaired" in diary.said[0]


def test_a_checkpoint_that_a_kill_kept_from_its_copy_is_copied_at_the_next_start(diary: Diary) -> None:
    diary.write(1)
    diary.log.close()
    copies = diary.folder / "checkpoints.jsonl"
    copies.write_bytes(copies.read_bytes()[:50])
    diary.again()
    diary.write(1)
    diary.log.close()
    assert (diary.verdict().fault, diary.verdict().proven.checkpoints) == (None, 2)


def test_numbers_of_records_that_are_gone_are_not_given_again_and_verify_says_what_is_missing(diary: Diary) -> None:
    diary.write(3)
    diary.log.close()
    diary.current.write_bytes(b"".join(diary.current.read_bytes().splitlines(keepends=True)[:1]))
    diary.again()
    diary.write(1)
    fault = diary.verdict().fault
    assert fault is not None
    assert (fault.place, fault.problem) == ("audit.jsonl:2", "this is record 5 where record 2 belongs")
    assert diary.actions() == ["key.revoked", "audit.damaged", "key.revoked"]


def test_rubbish_at_the_end_stays_and_is_told(diary: Diary) -> None:
    diary.write(2)
    with diary.current.open("ab") as file:
        file.write(b'{"action":"key.restored"}\n\n')
    diary.again()
    diary.write(1)
    assert diary.actions() == ["key.revoked", "key.revoked", "audit.damaged", "audit.resumed", "key.revoked"]
    fault = diary.verdict().fault
    assert fault is not None
    assert fault.place == "audit.jsonl:3"


def test_a_log_of_rubbish_alone_is_not_gone_on_with(diary: Diary) -> None:
    diary.folder.mkdir()
    diary.current.write_bytes(b"nothing\n")
    with pytest.raises(AuditUnavailable):
        diary.write(1)
    assert "move its folder away" in diary.said[0]
    diary.folder.rename(diary.state / "audit-away")
    diary.write(1)
    assert diary.verdict().fault is None
    assert diary.said[1:] == ["the audit log is written again"]


def test_a_full_file_is_closed_and_the_chain_goes_on_in_the_next(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "FILE_BYTES", 2000)
    diary.write(20)
    diary.log.close()
    assert len(log_files(diary.folder)) > 3
    assert all(path.stat().st_size <= 2000 for path in log_files(diary.folder))
    verdict = diary.verdict()
    assert (verdict.fault, verdict.proven.records) == (None, 21)
    diary.again()
    diary.write(1)
    assert diary.verdict().fault is None
    page, _ = diary.log.newest(4, before=12)
    assert [sealed.record.n for sealed in page] == [11, 10, 9, 8]
    log_files(diary.folder)[0].rename(diary.state / "elsewhere.jsonl")
    fault = diary.verdict().fault
    assert fault is not None
    assert "where record 1 belongs" in fault.problem


def test_a_kill_between_closing_a_file_and_beginning_the_next_loses_nothing(diary: Diary) -> None:
    diary.write(3)
    diary.current.rename(diary.folder / "audit-000000000003.jsonl")
    diary.again()
    diary.write(1)
    assert diary.verdict().fault is None
    assert diary.actions() == ["key.revoked"] * 3 + ["audit.resumed", "key.revoked"]


def test_so_many_files_that_nobody_has_moved_away_stop_changes(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "FILE_BYTES", 2000)
    monkeypatch.setattr(log_module, "MOST_FILES", 2)
    with pytest.raises(AuditUnavailable):
        diary.write(20)
    assert "move those with a number elsewhere" in diary.said[0]
    assert diary.verdict().fault is None


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file of this process grows beyond so many bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_refuses_changes_until_it_has_room_and_counts_what_went_on(diary: Diary) -> None:
    diary.write(1)
    with full_disk(diary.current.stat().st_size + 10):
        with pytest.raises(AuditUnavailable) as refused:
            diary.write(1)
        assert refused.value.reason == "audit_unavailable"
        assert diary.verdict().fault is None
        diary.log.note(Change("files", "policy.in_force", "policy", {}))
        diary.log.note(Change("files", "policy.in_force", "policy", {}))
        assert diary.log.unrecorded == 2
    assert len(diary.said) == 1
    assert diary.said[0].startswith("THE AUDIT LOG CANNOT BE WRITTEN: ")
    diary.write(2)
    assert diary.actions() == ["key.revoked", "audit.gap", "key.revoked", "key.revoked"]
    gap = diary.log.newest(3)[0][-1].record
    assert (gap.actor, gap.detail) == ("gateway", {"unrecorded": 2})
    assert (diary.verdict().fault, diary.verdict().proven.records) == (None, 4)
    assert diary.said[1:] == ["the audit log is written again"]


def test_a_sync_that_fails_is_not_tried_again_on_the_same_file(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    diary.write(1)
    synced: list[int] = []

    def fail_once(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail_once)
    with pytest.raises(AuditUnavailable):
        diary.write(1)
    assert (diary.verdict().fault, diary.verdict().proven.records) == (None, 1)
    diary.write(1)
    assert (diary.verdict().fault, diary.verdict().proven.records) == (None, 2)
    assert "Input/output error" in diary.said[0]


def test_checkpoints_are_copied_to_another_place_whose_absence_costs_nothing_else(tmp_path: Path) -> None:
    elsewhere = tmp_path / "share" / "checkpoints.jsonl"
    elsewhere.parent.mkdir()
    said: list[str] = []
    log = AuditLog(tmp_path, said.append, elsewhere)
    log.record("local", "key.revoked", "key/a", {})
    log.sign()
    elsewhere.rename(tmp_path / "kept.jsonl")
    elsewhere.parent.rmdir()
    log.record("local", "key.revoked", "key/b", {})
    log.close()
    assert said[0].startswith(f"the audit checkpoint was not copied to {elsewhere}")
    assert inspect(places_of(tmp_path / FOLDER, [tmp_path / "kept.jsonl"])).fault is None
    for name in (CURRENT_NAME, "checkpoints.jsonl"):
        (tmp_path / FOLDER / name).write_bytes(b"")
    fault = inspect(places_of(tmp_path / FOLDER, [tmp_path / "kept.jsonl"])).fault
    assert fault is not None
    assert "lines are missing" in fault.problem


def test_what_is_too_long_or_no_text_is_recorded_all_the_same(diary: Diary) -> None:
    diary.log.record("local", "key.revoked", "k" * 5000 + "\ud800", {"lines": ["x" * 100] * 1000}, "r\n" * 5000)
    (sealed,), bad = diary.log.newest(10)
    assert (len(sealed.record.subject), len(sealed.record.reason), bad) == (1000, 1000, 0)
    assert sealed.record.detail["left_out_bytes"] > 100_000
    assert diary.verdict().fault is None
