"""The folder of records: read in order, bounded, and any of its files may be gone or torn."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from gateway.decisions import folder
from gateway.decisions.folder import (
    Read,
    RecordFile,
    file_name,
    find_record,
    list_files,
    read_blocks,
    read_frames,
    superfluous,
    trim,
)
from gateway.decisions.records import Frame, framed, packed
from policies.snapshot.generation import Snapshot
from tests.gateway.policy import policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded, request_id

POLICY: Snapshot = policy()
EVER = (0.0, float("inf"))


def frame(*at_s: float) -> bytes:
    return framed(*recorded(POLICY, [Call(at_s=one) for one in at_s]))


def write(root: Path, began_s: float, pid: int, *contents: bytes) -> Path:
    path = root / file_name(START_S + began_s, pid)
    path.write_bytes(b"".join(contents))
    os.utime(path, (START_S + 1000.0, START_S + 1000.0))
    return path


def begun(root: Path, since_s: float, until_s: float, read: Read | None = None) -> list[float]:
    return [found.first_s - START_S for found in read_frames(root, since_s, until_s, read or Read())]


def test_frames_of_several_workers_come_in_order(tmp_path: Path) -> None:
    write(tmp_path, 0.0, 11, frame(0.0), frame(2.0), frame(4.0))
    write(tmp_path, 0.0, 12, frame(1.0), frame(3.0))
    write(tmp_path, 5.0, 11, frame(5.0))
    assert begun(tmp_path, *EVER) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_only_the_time_that_is_asked_for_is_read(tmp_path: Path) -> None:
    write(tmp_path, 0.0, 11, frame(0.0, 1.0), frame(10.0, 12.0), frame(20.0))
    assert begun(tmp_path, START_S + 11.0, START_S + 15.0) == [10.0]


def test_a_file_that_was_finished_before_is_not_opened(tmp_path: Path) -> None:
    path = write(tmp_path, 0.0, 11, b"torn")
    os.utime(path, (START_S + 5.0, START_S + 5.0))
    read = Read()
    assert begun(tmp_path, START_S + 10.0, float("inf"), read) == []
    assert read.skipped == 0


def test_what_is_lost_skipped_or_unidentified_is_told(tmp_path: Path) -> None:
    block, ids = recorded(POLICY, [Call()])
    told = framed(replace(block, lost=7, unidentified={"key_missing": 2}), ids)
    write(tmp_path, 0.0, 11, told, frame(1.0)[:-3])
    read = Read()
    assert len(list(read_blocks(tmp_path, *EVER, read))) == 1
    assert (read.lost, read.skipped, read.unidentified) == (7, 1, {"key_missing": 2})


def test_how_much_cannot_be_read_is_told(tmp_path: Path) -> None:
    whole = frame(0.0)
    unreadable = packed(Frame(0.0, 0.0, b"", b"of another release"))
    write(tmp_path, 0.0, 11, whole, b"torn", unreadable, whole)
    read = Read()
    assert len(list(read_blocks(tmp_path, *EVER, read))) == 2
    assert (read.read_bytes, read.skipped_bytes) == (2 * len(whole), 4 + len(unreadable))


def test_one_file_is_read_as_a_folder_is(tmp_path: Path) -> None:
    path = write(tmp_path, 0.0, 11, frame(0.0), frame(1.0))
    assert begun(path, *EVER) == [0.0, 1.0]


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert begun(tmp_path / "none", *EVER) == []
    assert find_record(tmp_path / "none", bytes(16)) is None


def test_a_record_is_found_by_its_request(tmp_path: Path) -> None:
    write(tmp_path, 0.0, 11, frame(0.0), framed(*recorded(POLICY, [Call(at_s=1.0), Call(at_s=2.0)])))
    found = find_record(tmp_path, bytes.fromhex(request_id(1)))
    assert found is not None
    assert found.at_s == START_S + 2.0
    assert find_record(tmp_path, b"\xee" * 16) is None


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "a-b.rec", "12.rec"):
        (tmp_path / name).write_text("mine")
    assert list_files(tmp_path) == []


def files(*sizes_mib: int, began_s: float = START_S) -> list[RecordFile]:
    return [RecordFile(Path(str(n)), began_s + n, began_s + n, size * 2**20) for n, size in enumerate(sizes_mib)]


def test_the_oldest_files_make_room() -> None:
    kept = files(3, 3, 3, 3)
    assert superfluous(kept, 12 * 2**20, START_S + 5.0) == []
    assert superfluous(kept, 7 * 2**20, START_S + 5.0) == kept[:2]


def test_what_is_too_old_goes_even_where_there_is_room() -> None:
    kept = files(1, 1)
    assert superfluous(kept, 2**30, START_S + folder.FILE_S + folder.KEEP_S + 0.5) == kept[:1]


def test_trimming_leaves_every_writer_room_for_a_file(tmp_path: Path) -> None:
    for number in range(140):
        with write(tmp_path, float(number), 11).open("wb") as file:
            file.truncate(folder.FILE_BYTES)
    for _ in range(2):  # a sibling that does the same finds nothing more to do
        trim(tmp_path, 4, START_S + 200.0)
        total = sum(file.size for file in list_files(tmp_path))
        assert total == folder.MAX_BYTES - 4 * folder.FILE_BYTES
    assert list_files(tmp_path)[-1].began_s == START_S + 139.0


def test_what_a_killed_worker_left_half_merged_goes_when_nobody_can_be_at_it(tmp_path: Path) -> None:
    left_over = write(tmp_path, 0.0, 11).rename(tmp_path / f"{file_name(START_S, 11)}.merging")
    trim(tmp_path, 1, START_S + 1000.0 + folder.FILE_S - 1.0)
    assert left_over.exists()
    trim(tmp_path, 1, START_S + 1000.0 + folder.FILE_S + 1.0)
    assert not left_over.exists()
