"""Late labels meet their answers, in whatever order both come, and only those of the tenant that asked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

from gateway.copies import label_book as module
from gateway.copies.label_book import WAIT_S, Joined, LabelBook, Pair
from gateway.copies.messages import LateLabel, LateLabels
from gateway.decide.stage import Stage
from policies.snapshot.release import Feedback
from tests.gateway.copies.answered import AT_S, answer, answered, snapshot

FEEDBACK = Feedback("/label", keep_s=600.0)


class Book:
    """A label book in a folder, with a clock."""

    def __init__(self, folder: Path, feedback: Feedback | None = FEEDBACK) -> None:
        self.said: list[str] = []
        self.book = LabelBook(folder, self.said.append)
        self.book.use(snapshot(feedback=feedback))
        self.now_s = AT_S

    def answer(self, number: int, label: str = "7", tenant: str = "ads", status: int = 200) -> None:
        body = b'{"label":%s}' % label.encode()
        self.book.answered(answered(number, tenant=tenant, labelled=True), answer(body, status))

    def copy(self, number: int, label: str = "7", shadow: str = "dark") -> None:
        self.book.copied(answered(number, labelled=True), shadow, answer(b'{"label":%s}' % label.encode()))

    def tell(self, number: int, label: str = "7", tenant: str = "ads") -> None:
        self.book.told(LateLabels(tenant, (LateLabel(f"r{number}", label, 0.0),)), self.now_s)

    def join(self, after_s: float = 1.0) -> Joined:
        self.now_s += after_s
        return self.book.join(self.now_s)

    def rights(self, after_s: float = 1.0) -> list[bool]:
        return [event.is_right for event in self.join(after_s).events]

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        return {model: dict(counter) for model, counter in self.book.counts.items()}


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path)


def test_a_label_says_whether_the_version_was_right(book: Book) -> None:
    book.answer(1)
    book.answer(2)
    book.tell(1, "7")
    book.tell(2, "8")
    assert book.rights() == [True, False]
    assert book.counts == {"digits": {"right": 1, "wrong": 1}}


def test_an_event_says_all_that_a_judge_asks(book: Book) -> None:
    stage = Stage("digits", "first", "2", 3, 1, 0.05)
    told = msgspec.structs.replace(answered(1, labelled=True), stage=stage, subject=2**64 - 1)
    book.book.answered(told, answer(b'{"label":7}'))
    book.tell(1, "8")
    (event,) = book.join().events
    assert (event.model, event.version, event.arm, event.tier) == ("digits", "1", "stable", "standard")
    assert (event.at_s, event.trace_id, event.stage, event.subject) == (AT_S, told.trace_id, stage, 2**64 - 1)


def test_a_label_may_come_before_the_copy_of_its_answer(book: Book) -> None:
    book.tell(1)
    assert book.rights() == []
    book.answer(1)
    assert book.rights() == [True]


def test_a_label_of_a_request_that_nobody_knows_waits_and_is_counted(book: Book) -> None:
    book.tell(1)
    book.join(WAIT_S - 1.0)
    assert book.counts == {}
    book.join(1.0)
    assert book.counts == {"": {"unknown_request": 1}}
    book.answer(1)
    assert book.rights() == []


@pytest.mark.parametrize("feedback", [FEEDBACK, None])
def test_no_label_waits_until_a_clock_that_was_set_back_has_caught_up(
    tmp_path: Path, feedback: Feedback | None
) -> None:
    book = Book(tmp_path, feedback)
    book.tell(1)
    book.join(-3600.0)
    assert book.counts == {"": {"unknown_request": 1}}


def test_no_tenant_tells_the_labels_of_another(book: Book) -> None:
    book.answer(1)
    book.tell(1, "8", tenant="shop")
    assert book.rights(WAIT_S) == []
    assert book.counts == {"": {"unknown_request": 1}}
    book.tell(1)
    assert book.rights() == [True]


def test_the_first_label_counts_and_no_other(book: Book) -> None:
    book.answer(1)
    book.tell(1, "7")
    book.tell(1, "8")
    assert book.rights() == [True]
    book.tell(1, "8")
    assert book.rights() == []
    assert book.counts == {"": {"repeated": 1}, "digits": {"right": 1, "repeated": 1}}


def test_it_counts_once_after_a_restart_too(tmp_path: Path) -> None:
    before = Book(tmp_path)
    before.answer(1)
    before.answer(2)
    before.tell(1)
    assert before.rights() == [True]
    after = Book(tmp_path)  # the one before was killed: nothing was closed
    after.tell(1)
    after.tell(2)
    assert after.rights() == [True]
    assert after.counts == {"digits": {"repeated": 1, "right": 1}}


def test_a_label_that_comes_too_late_is_told_from_one_of_nobody(book: Book) -> None:
    book.answer(1)
    book.join()
    book.now_s += 600.0
    book.tell(1)
    assert book.rights() == []
    assert book.counts == {"digits": {"too_late": 1}}


def test_answers_are_kept_no_longer_than_they_are_of_use(book: Book, tmp_path: Path) -> None:
    book.answer(1)
    book.join()
    book.now_s += 600.0 + 3700.0
    for _ in range(60):
        book.join()
    assert sqlite3.connect(tmp_path / module.FILE_NAME).execute("SELECT count(*) FROM answer").fetchone() == (0,)


def test_only_so_many_answers_are_kept_and_the_oldest_go_first(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWERS", 3)
    for number in range(6):
        book.book.answered(answered(number, labelled=True, at_s=AT_S + number), answer(b'{"label":7}'))
    book.join()
    for number in range(6):
        book.tell(number)
    assert len(book.rights(WAIT_S)) == 3
    assert book.counts == {"": {"unknown_request": 3}, "digits": {"right": 3}}


def test_an_answer_without_a_label_is_neither_right_nor_wrong(book: Book) -> None:
    book.answer(1, status=503)
    book.tell(1)
    assert book.rights() == []
    assert book.counts == {"digits": {"no_label": 1}}


@pytest.mark.parametrize("is_copy_late", [False, True])
def test_a_label_says_which_of_two_versions_was_right(book: Book, is_copy_late: bool) -> None:
    book.answer(1, "7")
    if not is_copy_late:
        book.copy(1, "8")
    book.tell(1, "8")
    joined = book.join()
    if is_copy_late:
        assert joined.pairs == ()
        book.copy(1, "8")
        joined = book.join()
    assert joined.pairs == (Pair("digits", "dark", "r1", False, True),)
    book.copy(1, "8")
    assert book.join().pairs == ()


def test_a_copy_of_an_answer_that_is_not_kept_is_not_kept_either(book: Book, tmp_path: Path) -> None:
    book.copy(1)
    book.join()
    assert sqlite3.connect(tmp_path / module.FILE_NAME).execute("SELECT count(*) FROM copy").fetchone() == (0,)


def test_models_whose_labels_are_not_told_any_more_are_forgotten(book: Book, tmp_path: Path) -> None:
    book.answer(1)
    book.copy(1)
    book.join()
    book.book.use(snapshot())
    assert "labels of 1 answers are dropped" in book.said[0]
    assert list(tmp_path.iterdir()) == []
    book.join()
    assert list(tmp_path.iterdir()) == []
    book.book.use(snapshot(feedback=FEEDBACK))
    book.answer(2)
    book.tell(2)
    assert book.rights() == [True]


def test_labels_of_a_model_are_forgotten_while_those_of_another_are_told(book: Book, tmp_path: Path) -> None:
    book.answer(1)
    book.copy(1)
    book.join()
    now = snapshot(feedback=FEEDBACK)
    book.book.use(msgspec.structs.replace(now, routes={"letters": now.routes["digits"]}))
    assert "labels of 1 answers are dropped" in book.said[0]
    connection = sqlite3.connect(tmp_path / module.FILE_NAME)
    assert connection.execute("SELECT (SELECT count(*) FROM answer) + (SELECT count(*) FROM copy)").fetchone() == (0,)


def test_a_file_is_removed_that_was_left_before_policy_wanted_no_labels(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.answer(1)
    book.join()
    book.book.close()
    Book(tmp_path, None)
    assert list(tmp_path.iterdir()) == []


def test_without_feedback_in_policy_there_is_no_file(tmp_path: Path) -> None:
    book = Book(tmp_path, None)
    book.tell(1)
    book.join(WAIT_S)
    assert book.counts == {"": {"unknown_request": 1}}
    assert list(tmp_path.iterdir()) == []


def test_what_waits_is_bounded(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    for number in range(3):
        book.answer(number)
        book.tell(number)
    assert len(book.rights()) == 2
    assert book.counts == {"": {"dropped": 1}, "digits": {"not_kept": 1, "right": 2}}


def test_a_tenant_that_tells_labels_of_made_up_requests_takes_no_room_from_others(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    for number in range(4):
        book.answer(number, tenant="shop")
    for number in range(100, 200):
        book.tell(number, tenant="ads")
    for number in range(4):
        book.tell(number, tenant="shop")
    assert book.rights() == [True] * 4
    book.join(WAIT_S)
    assert book.counts == {"": {"dropped": 94, "unknown_request": 6}, "digits": {"right": 4}}


def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / module.FILE_NAME).write_bytes(b"no database" * 1000)
    book = Book(tmp_path)
    assert "damaged" in book.said[0]
    book.answer(1)
    book.tell(1)
    assert book.rights() == [True]


def test_a_file_of_a_newer_penstock_is_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / module.FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = (tmp_path / module.FILE_NAME).read_bytes()
    book = Book(tmp_path)
    book.answer(1)
    book.tell(1)
    assert book.rights(WAIT_S) == []
    assert "format 99" in book.said[0]
    assert len(book.said) == 1
    assert book.counts == {"": {"dropped": 1}, "digits": {"not_kept": 1}}
    assert (tmp_path / module.FILE_NAME).read_bytes() == before


def test_a_file_that_is_held_by_somebody_costs_what_came_meanwhile(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book.answer(1)
    book.join()
    book.book._store._connection.execute("PRAGMA busy_timeout = 1")  # type: ignore[union-attr]  # it is open
    holder = sqlite3.connect(tmp_path / module.FILE_NAME, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    book.answer(2)
    book.tell(1)
    assert book.rights() == []
    holder.execute("ROLLBACK")
    assert book.rights() == [True]  # labels wait; answers do not
    assert book.counts["digits"] == {"not_kept": 1, "right": 1}
    assert "cannot be kept" in book.said[0]


def test_no_label_itself_is_ever_in_the_file(book: Book, tmp_path: Path) -> None:
    book.answer(1, '"planted-secret"')
    book.copy(1, '"planted-secret"')
    book.tell(1, '"planted-secret"')
    assert book.rights() == [True]
    assert not any(b"planted" in path.read_bytes() for path in tmp_path.iterdir())
