"""What the judge holds against a ledger."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.ledger import Ended, Ledger, Sent, judge, read_entries
from tests.fakes.records import Outcome, Record

REASONS = {"queue_full"}


def ended(index: int, status: int = 200, *, is_right: bool = True, request_id: str = "", reason: str = "") -> Ended:
    return Ended("c", index, 1.0, Outcome.WHOLE, status, is_right, request_id=request_id, reason=reason)


def test_an_attempt_without_an_end_is_unfinished_and_still_clean() -> None:
    verdict = judge([Sent("c", 0, 0.0), Sent("c", 1, 0.0), ended(1)], reasons=REASONS)
    assert (verdict.attempts, verdict.unfinished, verdict.is_clean) == (2, 1, True)


def test_a_whole_answer_that_is_not_the_right_one_is_wrong() -> None:
    wrong = ended(0, is_right=False)
    assert judge([Sent("c", 0, 0.0), wrong], reasons=REASONS).wrong == (wrong,)


def test_two_ends_of_one_attempt_are_answered_twice() -> None:
    verdict = judge([Sent("c", 0, 0.0), ended(0), ended(0)], reasons=REASONS)
    assert verdict.answered_twice == (("c", 0),)
    assert not verdict.is_clean


def test_one_request_id_in_two_answers_is_reported() -> None:
    verdict = judge([ended(0, request_id="r"), ended(1, request_id="r")], reasons=REASONS)
    assert verdict.shared_ids == ("r",)


def test_a_refusal_needs_a_reason_of_the_registry() -> None:
    named, unknown, silent = ended(0, 503, reason="queue_full"), ended(1, 503, reason="who_knows"), ended(2, 500)
    assert judge([named, unknown, silent], reasons=REASONS).without_reason == (unknown, silent)


def test_a_row_run_more_often_than_allowed_is_reported() -> None:
    assert judge([], reasons=REASONS, executed=["r", "r", "s"]).executed_too_often == ("r",)
    assert judge([], reasons=REASONS, executed=["r", "r", "s"], runs_allowed=2).is_clean


def test_entries_come_back_as_written_and_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    record = Record(7, 0.0, 0.0, 2.5, Outcome.LOST, why="closed by the server")
    with Ledger(path, "c") as ledger:
        ledger.sending(7, b"GET / HTTP/1.1\r\n\r\n")
        ledger.settled(record)
        ledger.sending(8, b"")
    path.write_bytes(path.read_bytes()[:-5])
    sent, end = read_entries(path)
    assert isinstance(sent, Sent)
    assert len(sent.request_sha256) == 64
    assert end == Ended("c", 7, 2.5, Outcome.LOST, 0, False)
