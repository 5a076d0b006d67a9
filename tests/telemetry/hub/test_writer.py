"""The writer's thread: what is queued is stored, what finds no room is told, and closing loses nothing."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from telemetry.hub import writer
from telemetry.hub.hours import HourName, StoredFile
from telemetry.hub.query import TraceQuery
from telemetry.hub.reader import Reader
from telemetry.hub.trace_files import Limits, TraceFiles
from telemetry.hub.writer import Writer
from tests.telemetry.hub.test_trace_files import nobody
from tests.telemetry.hub.traces import TRACE, numbered, plain_span, request_spans

LIMITS = Limits(86_400 * 365 * 100, 2**30)


def test_what_was_queued_is_stored_when_the_writer_is_closed(tmp_path: Path) -> None:
    ended = threading.Event()
    store = Writer(TraceFiles(tmp_path, LIMITS), ended.set)
    store.start()
    assert store.put(request_spans()) == 0
    assert store.put(request_spans()[:2]) == 0
    store.close(10)
    assert ended.is_set()
    assert not store.has_failed
    counts = store.counts()
    assert (counts.stored, counts.repeated, counts.lost, counts.waiting) == (7, 2, {}, 0)
    assert Reader(tmp_path, nobody).trace(TRACE) is not None


def test_a_full_queue_takes_nothing_and_the_sender_may_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_SPANS", 10)
    store = Writer(TraceFiles(tmp_path, LIMITS), lambda: None)
    assert store.put(request_spans()) == 0
    assert store.put(request_spans()) == len(request_spans())
    assert store.counts().waiting == len(request_spans())
    store.start()
    store.close(10)
    assert store.counts().stored == len(request_spans())


def test_a_post_that_is_larger_than_the_queue_loses_its_end_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "QUEUE_SPANS", 10)
    store = Writer(TraceFiles(tmp_path, LIMITS), lambda: None)
    assert store.put([plain_span(TRACE, f"{at + 1:016x}") for at in range(12)]) == 2


def test_bytes_are_bounded_as_spans_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "QUEUE_BYTES", 1)
    store = Writer(TraceFiles(tmp_path, LIMITS), lambda: None)
    assert store.put(numbered(1)) == 0
    assert store.put(numbered(2)) == 1


def test_a_closing_writer_takes_no_more(tmp_path: Path) -> None:
    store = Writer(TraceFiles(tmp_path, LIMITS), lambda: None)
    store.start()
    store.close(10)
    assert store.put(numbered(1)) == 1


def test_a_file_that_a_reader_suspects_is_set_aside(tmp_path: Path) -> None:
    name = HourName(1_800_000_000 // 3600 * 3600)
    (tmp_path / str(name)).write_bytes(b"no database" * 1000)
    store = Writer(TraceFiles(tmp_path, LIMITS), lambda: None)
    Reader(tmp_path, store.suspect).traces(TraceQuery())
    store.start()
    store.put(numbered(1))
    store.close(10)
    assert (tmp_path / f"{name}.damaged").exists()
    assert not (tmp_path / str(name)).exists()


class Broken(TraceFiles):
    """Fails as only a bug can."""

    def keep_house(self, now_s: float, monotonic_s: float) -> list[StoredFile]:
        raise AssertionError("a bug")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_in_the_thread_is_known_as_one(tmp_path: Path) -> None:
    ended = threading.Event()
    store = Writer(Broken(tmp_path, LIMITS), ended.set)
    store.start()
    assert ended.wait(10)
    store.close(10)
    assert store.has_failed


def test_a_store_that_is_not_there_is_no_bug(tmp_path: Path) -> None:
    store = Writer(TraceFiles(tmp_path / "not there", LIMITS), lambda: None)
    store.start()
    store.put(numbered(1))
    store.close(10)
    assert not store.has_failed
    assert store.counts().stored == 1
