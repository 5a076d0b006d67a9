"""What waits on disk is there after a death, in its order; and what is not there is counted."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telemetry.sidecar.export_queue import Parcel
from telemetry.sidecar.spool import DAMAGED, QUEUE_FULL, Books, Spool

ROOM = 10_000


def opened(folder: Path, most_bytes: int = ROOM) -> Spool:
    spool = Spool(folder, most_bytes)
    spool.open()
    return spool


def killed(spool: Spool) -> None:
    """Let go of the folder as a process does that is killed: nothing is written any more."""
    spool._let_go()
    spool._leave_segment()


def parcel(number: int, span_count: int = 1, size_bytes: int = 100) -> Parcel:
    return Parcel(b"%08d" % number * (size_bytes // 8), span_count)


def sent(spool: Spool) -> list[Parcel]:
    """Send all that waits."""
    parcels = []
    while one := spool.next():
        parcels.append(one)
        spool.settle()
    return parcels


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.spans"))


def test_what_was_written_is_sent_by_the_next_process_in_its_order(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(30):
        spool.append(parcel(number, span_count=2))
    killed(spool)
    again = opened(tmp_path)
    assert again.waiting_spans == 60
    assert sent(again) == [parcel(number, span_count=2) for number in range(30)]
    assert (again.waiting_spans, again.take_losses()) == (0, Counter())


def test_what_was_being_sent_is_sent_once_more_and_what_was_taken_is_not(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(3):
        spool.append(parcel(number))
    spool.next()
    spool.settle()
    assert spool.next() == parcel(1)
    killed(spool)
    again = opened(tmp_path)
    assert again.waiting_spans == 2
    assert sent(again) == [parcel(1), parcel(2)]


def test_one_that_is_being_sent_is_not_given_out_twice(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(parcel(1))
    spool.append(parcel(2))
    assert spool.next() == parcel(1)
    assert spool.next() is None


def test_where_there_is_no_room_the_oldest_go_and_what_is_being_sent_stays(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(parcel(0))
    assert spool.next() == parcel(0)
    for number in range(1, 300):
        spool.append(parcel(number))
    assert spool.size_bytes <= ROOM + ROOM // 8
    lost = spool.take_losses()[QUEUE_FULL]
    assert lost > 200
    killed(spool)
    again = opened(tmp_path)
    assert sent(again) == [parcel(0), *(parcel(number) for number in range(1 + lost, 300))]
    assert again.take_losses() == Counter()


def test_what_was_counted_outlives_a_death(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.heed(Books(7, {"refused": 3}))
    for number in range(300):
        spool.append(parcel(number))
    lost = spool.take_losses()[QUEUE_FULL]
    killed(spool)
    assert Spool(tmp_path, ROOM).open() == Books(7, {"refused": 3, QUEUE_FULL: lost})


def test_what_changed_on_disk_is_not_sent_but_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(30):
        spool.append(parcel(number))
    killed(spool)
    second = segments(tmp_path)[1]
    data = bytearray(second.read_bytes())
    data[60] ^= 1
    second.write_bytes(data)
    again = opened(tmp_path)
    found = sent(again)
    lost = again.take_losses()
    assert lost[DAMAGED] + len(found) == 30
    assert 0 < lost[DAMAGED] < 12
    assert again.waiting_spans == 0


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 1300))
def test_a_file_may_end_anywhere(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """As after the end of the machine: what is whole is sent, and the rest counted."""
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder)
    for number in range(20):
        spool.append(parcel(number, span_count=3))
    killed(spool)
    last = segments(folder)[-1]
    os.truncate(last, min(cut, last.stat().st_size))
    again = opened(folder)
    again.append(parcel(99))
    found = sent(again)
    assert found[-1] == parcel(99)
    assert found[:-1] == [parcel(number, span_count=3) for number in range(len(found) - 1)]
    assert again.take_losses()[DAMAGED] == 3 * (20 - (len(found) - 1))


def test_a_segment_that_is_gone_is_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(30):
        spool.append(parcel(number))
    killed(spool)
    segments(tmp_path)[1].unlink()
    again = opened(tmp_path)
    assert len(sent(again)) + again.take_losses()[DAMAGED] == 30


def test_without_what_was_remembered_all_that_is_there_is_sent(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for number in range(30):
        spool.append(parcel(number))
    killed(spool)
    segments(tmp_path)[0].unlink()
    (tmp_path / "state").write_bytes(b"x" * 8192)
    again = opened(tmp_path)
    assert sent(again)[-1] == parcel(29)
    assert again.take_losses() == Counter()


def test_what_is_sent_leaves_the_disk(tmp_path: Path) -> None:
    spool = opened(tmp_path, most_bytes=8 * 2**20)
    for number in range(40):
        spool.append(parcel(number, size_bytes=100_000))
        spool.next()
        spool.settle()
    assert spool.size_bytes < 400_000
    assert len(segments(tmp_path)) <= 1


def test_a_full_disk_changes_nothing_and_is_written_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append(parcel(0))
    size_bytes = segments(tmp_path)[0].stat().st_size

    def half(file: int, buffers: tuple[bytes, bytes], at: int) -> int:
        return os.pwrite(file, b"".join(buffers)[:50], at)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwritev", half)
        with pytest.raises(OSError, match="full"):
            spool.append(parcel(1))
    assert segments(tmp_path)[0].stat().st_size == size_bytes
    spool.append(parcel(2))
    killed(spool)
    assert sent(opened(tmp_path)) == [parcel(0), parcel(2)]


def test_a_folder_has_one_process_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "gateway"
    spool = opened(folder)
    spool.append(parcel(1))
    with pytest.raises(OSError, match="temporarily unavailable"):
        Spool(folder, ROOM).open()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    spool.close()
    assert sent(opened(folder)) == [parcel(1)]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 5), st.sampled_from([80, 400, 1600])),
        st.tuples(st.sampled_from(["next", "settle", "kill", "close", "sync"]), st.just(0), st.just(0)),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps)
def test_whatever_happens_sent_and_dropped_are_what_was_written(
    steps: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool = opened(folder, 6000)
    written, lost = 0, Counter[str]()
    taken: list[int] = []
    number, flying = 0, None
    for act, span_count, size_bytes in steps:
        match act:
            case "append":
                spool.append(parcel(number, span_count, size_bytes))
                number, written = number + 1, written + span_count
            case "next":
                flying = spool.next() or flying
            case "settle" if flying is not None:
                taken += [int(flying.body[:8])] * flying.span_count
                spool.settle()
                flying = None
            case "sync":
                spool.sync()
            case "kill" | "close":
                lost += spool.take_losses()
                killed(spool) if act == "kill" else spool.close()
                spool, flying = opened(folder, 6000), None
        lost += spool.take_losses()
        in_hand = spool.waiting_spans
        assert written == len(taken) + lost.total() + in_hand
    if flying is not None:
        taken += [int(flying.body[:8])] * flying.span_count
        spool.settle()
    taken += [number for one in sent(spool) for number in [int(one.body[:8])] * one.span_count]
    lost += spool.take_losses()
    assert written == len(taken) + lost.total()
    assert taken == sorted(taken)
    assert set(lost) <= {QUEUE_FULL}
    spool.close()
