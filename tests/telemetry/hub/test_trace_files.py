"""The writer's directory: the same trace whatever way it comes, files that go whole, faults that stay small."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from telemetry.hub import hour_file
from telemetry.hub.hours import HOUR_S, STEADY_S, HourName
from telemetry.hub.query import TraceQuery
from telemetry.hub.reader import Reader, StoredTrace
from telemetry.hub.rows import row_of
from telemetry.hub.summary import Summary
from telemetry.hub.trace_files import BEYOND, DAMAGE, DISK, Limits, TraceFiles, Written, listing
from telemetry.span import Link, Span
from tests.telemetry.hub.traces import (
    BATCH_TRACE,
    TRACE,
    batch_spans,
    by_id,
    numbered,
    plain_span,
    request_spans,
)

NOW_S = 1_800_000_000 // HOUR_S * HOUR_S
LIMITS = Limits(retain_s=86_400, max_bytes=2**30)
EVERYTHING = [*request_spans(), *batch_spans()]


def nobody(name: HourName, why: str) -> None:
    raise AssertionError(f"{name}: {why}")


def write(directory: Path, posts: Sequence[tuple[Sequence[Span], float]]) -> list[Written]:
    """Store posts, each at its time, and close the files."""
    files = TraceFiles(directory, LIMITS)
    try:
        return [files.write([row_of(span) for span in spans], now_s) for spans, now_s in posts]
    finally:
        files.close()


def read(directory: Path, wanted: str) -> StoredTrace:
    stored = Reader(directory, nobody).trace(wanted)
    assert stored is not None
    return stored


def listed(directory: Path, query: TraceQuery | None = None) -> list[Summary]:
    return Reader(directory, nobody).traces(query or TraceQuery())


@st.composite
def deliveries(draw: st.DrawFn) -> list[tuple[list[Span], float]]:
    """Posts that carry everything at least once, in any order and split, across the end of an hour."""
    order = draw(st.permutations(EVERYTHING))
    repeated = draw(st.lists(st.sampled_from(EVERYTHING), max_size=5))
    spans = [*order, *repeated]
    cuts = sorted(draw(st.lists(st.integers(0, len(spans)), max_size=5)))
    bounds = [0, *cuts, len(spans)]
    times = sorted(draw(st.lists(st.integers(0, 2 * HOUR_S - 1), min_size=len(bounds), max_size=len(bounds))))
    return [(spans[a:b], NOW_S + at) for a, b, at in zip(bounds, bounds[1:], times, strict=False)]


@settings(max_examples=60)
@given(deliveries())
def test_any_order_and_split_of_posts_gives_the_same_trace(posts: list[tuple[list[Span], float]]) -> None:
    with tempfile.TemporaryDirectory() as once, tempfile.TemporaryDirectory() as often:
        write(Path(once), [(EVERYTHING, NOW_S)])
        written = write(Path(often), posts)
        assert sum(one.stored for one in written) == len(EVERYTHING)
        assert sum(one.repeated for one in written) == sum(len(spans) for spans, _ in posts) - len(EVERYTHING)
        assert read(Path(often), TRACE) == read(Path(once), TRACE)
        assert read(Path(often), BATCH_TRACE) == read(Path(once), BATCH_TRACE)
        assert listed(Path(often)) == listed(Path(once))


def test_what_is_stored_is_what_was_sent(tmp_path: Path) -> None:
    odd = replace(
        plain_span(TRACE, "9" * 16),
        start_ns=1,
        end_ns=0,
        attributes={"a": (1, (True, b"\xff")), "b": -1.5, "c": b"", "d": "ü\0"},
        trace_state="a=b",
        scope="s",
        dropped_links=3,
    )
    write(tmp_path, [([*EVERYTHING, odd], NOW_S)])
    assert by_id(read(tmp_path, TRACE).spans) == by_id([*request_spans(), odd])


def test_spans_that_come_hours_late_are_in_the_trace_and_the_list_has_it_once(tmp_path: Path) -> None:
    spans = request_spans()
    write(tmp_path, [(spans[:2], NOW_S), (spans[2:], NOW_S + 3 * HOUR_S), (spans, NOW_S + 3 * HOUR_S)])
    assert by_id(read(tmp_path, TRACE).spans) == by_id(spans)
    assert len(listed(tmp_path)) == 1


def test_a_trace_has_no_more_spans_than_allowed_and_the_rest_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hour_file, "SPANS_OF_A_TRACE", 3)
    many = [plain_span(TRACE, f"{at + 1:016x}") for at in range(5)]
    other = plain_span("d" * 32, "1" * 16)
    assert write(tmp_path, [([*many, other], NOW_S), (many, NOW_S)]) == [
        Written(4, 0, {BEYOND: 2}),
        Written(0, 0, {BEYOND: 5}),
    ]


def test_a_trace_has_no_more_bytes_than_allowed_whatever_posts_they_come_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [replace(plain_span(TRACE, f"{at + 1:016x}"), message="x" * 4000) for at in range(10)]
    monkeypatch.setattr(hour_file, "BYTES_OF_A_TRACE", 3 * row_of(many[0]).size_bytes)
    assert write(tmp_path, [(many[:2], NOW_S), (many[2:], NOW_S), (numbered(1), NOW_S)]) == [
        Written(2, 0, {}),
        Written(1, 0, {BEYOND: 7}),
        Written(1, 0, {}),
    ]


def test_a_trace_that_grew_costs_a_commit_no_more_than_a_new_one(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path, LIMITS)
    links = tuple(Link(f"{at + 1:032x}", "a" * 16, {"k": "v" * 100}) for at in range(100))

    def commit(post: int) -> int:
        """Return the steps that SQLite's machine takes."""
        steps = 0

        def step() -> bool:
            nonlocal steps
            steps += 1
            return False

        rows = [
            row_of(replace(plain_span(TRACE, f"{post:08x}{at:08x}", name="pod.inference"), links=links))
            for at in range(20)
        ]
        for file in files._open.values():
            file._connection.set_progress_handler(step, 100)
        files.write(rows, NOW_S)
        return steps

    commit(0)
    first = commit(1)
    for post in range(2, 50):
        commit(post)
    assert commit(50) < 1.5 * first
    files.close()


def test_whole_files_go_when_they_are_old(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = TraceFiles(tmp_path, LIMITS)
    for hour in range(3):
        files.write([row_of(span) for span in numbered(hour)], NOW_S + hour * HOUR_S)
    later_s = NOW_S + 86_400 + 2 * HOUR_S
    assert len(files.keep_house(later_s, 0.0)) == 3  # the clock may have been set
    staying = files.keep_house(later_s + STEADY_S, STEADY_S)
    assert [file.name.hour_s for file in staying] == [NOW_S + 2 * HOUR_S]
    files.close()
    assert [path.name for path in tmp_path.iterdir()] == [str(HourName(NOW_S + 2 * HOUR_S))]
    assert [summary.request_id for summary in listed(tmp_path)] == ["numbered-2"]
    assert "is dropped" in capsys.readouterr().err


def test_the_size_of_all_files_stays_within_its_limit_even_in_one_hour(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path, Limits(86_400, 4 * 2**20))
    largest = 0
    for post in range(30):
        spans = [span for number in range(post * 300, post * 300 + 300) for span in numbered(number)]
        assert files.write([row_of(span) for span in spans], NOW_S).lost == {}
        files.keep_house(NOW_S, 0.0)
        largest = max(largest, sum(file.size_bytes for file in listing(tmp_path)))
    files.close()
    assert 2 * 2**20 < largest <= 4 * 2**20
    assert listed(tmp_path)[0].request_id == "numbered-8999"


def test_a_damaged_file_is_set_aside_with_a_line_and_the_rest_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = HourName(NOW_S)
    (tmp_path / str(name)).write_bytes(b"this is no database" * 1000)
    written = write(tmp_path, [(numbered(1), NOW_S), (numbered(2), NOW_S)])
    assert [one.stored for one in written] == [1, 1]
    assert f"{name} is damaged" in capsys.readouterr().err
    assert [str(file.name) for file in listing(tmp_path)] == [str(HourName(NOW_S, 1)), str(HourName(NOW_S, 0, True))]
    assert [summary.request_id for summary in listed(tmp_path)] == ["numbered-2", "numbered-1"]


def test_a_file_that_breaks_while_it_is_open_costs_one_post(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path, LIMITS)
    files.write([row_of(span) for span in numbered(1)], NOW_S)
    files.close()
    path = tmp_path / str(HourName(NOW_S))
    path.write_bytes(path.read_bytes()[:4096] + b"\xff" * 100_000)
    damage = files.write([row_of(span) for span in numbered(2)], NOW_S)
    after = files.write([row_of(span) for span in numbered(3)], NOW_S)
    files.close()
    assert damage.stored + damage.lost.get(DAMAGE, 0) == 1
    assert after == Written(1, 0, {})
    assert listed(tmp_path)[0].request_id == "numbered-3"


def test_a_full_disk_is_told_once_and_counted_and_over_when_it_is_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = TraceFiles(tmp_path, LIMITS)
    files.write([row_of(span) for span in numbered(0)], NOW_S)
    full = [row_of(span) for number in range(1, 1000) for span in numbered(number)]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # as good as a full disk, for this process alone
    try:
        for _ in range(2):
            assert files.write(full, NOW_S) == Written(0, 0, {DISK: 999})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert capsys.readouterr().err.count("cannot be stored") == 1
    assert files.write(full, NOW_S) == Written(999, 0, {})
    files.close()


def test_a_file_of_another_layout_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / str(HourName(NOW_S))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    assert write(tmp_path, [(numbered(1), NOW_S)])[0].stored == 1
    assert path.with_name(f"{path.name}.damaged").exists()


def test_what_a_killed_writer_committed_is_there(tmp_path: Path) -> None:
    files = TraceFiles(tmp_path, LIMITS)
    files.write([row_of(span) for span in numbered(1)], NOW_S)
    # Not closed: the file's log is all that holds the trace, as after a kill.
    assert (tmp_path / f"{HourName(NOW_S)}-wal").stat().st_size > 0
    assert [summary.request_id for summary in listed(tmp_path)] == ["numbered-1"]
    files.close()


def test_a_directory_that_is_taken_away_is_made_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    files = TraceFiles(store, LIMITS)
    files.keep_house(NOW_S, 0.0)
    files.write([row_of(span) for span in numbered(1)], NOW_S)
    shutil.rmtree(store)
    files.keep_house(NOW_S, 1.0)
    assert "was taken away" in capsys.readouterr().err
    assert files.write([row_of(span) for span in numbered(2)], NOW_S).stored == 1
    files.close()
    assert [summary.request_id for summary in listed(store)] == ["numbered-2"]


def test_what_the_disk_refuses_is_told_once_and_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "store"
    store.write_text("a file where the directory should be")
    files = TraceFiles(store, LIMITS)
    for at in range(3):
        assert files.keep_house(NOW_S, float(at)) == []
        assert files.write([row_of(span) for span in numbered(1)], NOW_S) == Written(0, 0, {DISK: 1})
        files.set_aside(HourName(NOW_S), "a test")
    said = capsys.readouterr().err
    assert said.count("cannot be stored") == 1
    assert said.count("cannot be cleared away") <= 2
    store.unlink()
    files.keep_house(NOW_S, 4.0)
    assert files.write([row_of(span) for span in numbered(1)], NOW_S).stored == 1
    files.close()


def test_a_directory_by_a_files_name_is_none_of_ours(tmp_path: Path) -> None:
    (tmp_path / "traces-2020010100.db").mkdir()
    assert listing(tmp_path) == []
    files = TraceFiles(tmp_path, LIMITS)
    assert files.keep_house(NOW_S, 0.0) == []
    assert files.keep_house(NOW_S + STEADY_S, STEADY_S) == []
    assert listing(tmp_path / "nowhere") == []
