"""Whatever is done to a log of 1,000 records is found: bytes, lines, splices, old files, cut ends."""

from __future__ import annotations

import random
from itertools import accumulate

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.control.audit.record import BadLine
from gateway.control.audit.verify import Copies, Fault, Line, Progress, follow, read_copies, verify
from tests.gateway.control.audit.written import PUBLIC, Writer, copies_of, log_of, split, verdict_of

RECORDS = 1000
WRITER = log_of(RECORDS)
LINES = WRITER.lines
CONTENT = b"".join(LINES)
COPIES = copies_of(WRITER.copies)
CHOICE = random.Random(7)


def progress_before_each_line() -> list[Progress]:
    return list(accumulate(LINES, lambda proven, line: follow(proven, line, COPIES, PUBLIC), initial=Progress()))


BEFORE = progress_before_each_line()


def is_found(lines: list[bytes]) -> bool:
    """Whether a whole run from the first line finds something wrong."""
    return verify([Line("log", line) for line in lines], COPIES, PUBLIC).fault is not None


def is_found_from(line: int, mangled: bytes) -> bool:
    """Whether a run finds something in or after a line that was mangled; the lines above it are as they were.

    A run is a fold over lines, so it comes to this line with the same progress as the run over the sound log did.
    """
    below = LINES[line + 1] if line + 1 < RECORDS else b""
    proven = BEFORE[line]
    try:
        for one in split(mangled + below):
            proven = follow(proven, one.content, COPIES, PUBLIC)
        for content in LINES[line + 2 :]:
            proven = follow(proven, content, COPIES, PUBLIC)
    except BadLine:
        return True
    return proven.records < max(COPIES.hashes)


def test_a_sound_log_is_proven_to_its_end() -> None:
    verdict = verdict_of(CONTENT, COPIES)
    assert verdict.fault is None
    assert (verdict.proven.records, verdict.proven.checkpoints, verdict.proven.signed) == (RECORDS, 4, RECORDS)


def test_a_flipped_bit_of_every_byte_is_found() -> None:
    unseen = [
        (line, place)
        for line, content in enumerate(LINES)
        for place, byte in enumerate(content)
        if not is_found_from(line, content[:place] + bytes([byte ^ 1 << (place % 8)]) + content[place + 1 :])
    ]
    assert unseen == []


def test_every_other_value_of_every_byte_is_found_in_a_sample_of_lines() -> None:
    unseen = [
        (line, place, value)
        for line in (0, 249, 617, RECORDS - 1)
        for place, byte in enumerate(LINES[line])
        for value in range(256)
        if value != byte and not is_found_from(line, LINES[line][:place] + bytes([value]) + LINES[line][place + 1 :])
    ]
    assert unseen == []


def test_changed_bytes_are_found_by_whole_runs_too() -> None:
    for place in CHOICE.sample(range(len(CONTENT)), 100):
        changed = CONTENT[:place] + bytes([(CONTENT[place] + CHOICE.randrange(1, 256)) % 256]) + CONTENT[place + 1 :]
        assert verdict_of(changed, COPIES).fault is not None, place


def test_a_byte_added_or_removed_anywhere_is_found() -> None:
    for line, content in enumerate(LINES):
        for place in CHOICE.sample(range(len(content)), 12):
            assert is_found_from(line, content[:place] + content[place + 1 :]), (line, place)
            extra = bytes([CHOICE.randrange(256)])
            assert is_found_from(line, content[:place] + extra + content[place:]), (line, place, extra)


def test_each_record_removed_or_doubled_is_found() -> None:
    for line, content in enumerate(LINES):
        assert is_found_from(line, content + content)
        if line + 1 < RECORDS:
            with pytest.raises(BadLine):
                follow(BEFORE[line], LINES[line + 1], COPIES, PUBLIC)
    assert is_found(LINES[:-1])
    for line in CHOICE.sample(range(RECORDS), 20):
        assert is_found(LINES[:line] + LINES[line + 1 :])


def test_neighbours_and_any_two_records_that_change_places_are_found() -> None:
    for line in range(RECORDS - 1):
        with pytest.raises(BadLine):
            follow(BEFORE[line], LINES[line + 1], COPIES, PUBLIC)
    for first, second in (sorted(CHOICE.sample(range(RECORDS), 2)) for _ in range(50)):
        swapped = [*LINES[:first], LINES[second], *LINES[first + 1 : second], LINES[first], *LINES[second + 1 :]]
        assert is_found(swapped), (first, second)


def test_a_record_put_in_anywhere_is_found_whoever_wrote_it() -> None:
    other = log_of(RECORDS, "other").lines
    for line in range(RECORDS):
        for stranger in (other[line], LINES[CHOICE.randrange(RECORDS)] if line else other[0]):
            if stranger != LINES[line]:
                assert is_found_from(line, stranger + LINES[line]), line


def test_two_logs_spliced_anywhere_are_found() -> None:
    other = log_of(RECORDS, "other").lines
    for cut in range(1, RECORDS):
        with pytest.raises(BadLine):
            follow(BEFORE[cut], other[cut], COPIES, PUBLIC)
    assert is_found(other)
    assert is_found(LINES[:500] + other[500:])


def test_an_older_state_of_the_file_is_found() -> None:
    for age in range(1, RECORDS):
        proven = BEFORE[RECORDS - age]
        assert proven.records < max(COPIES.hashes)
    for length in (0, 1, 249, 250, 750, 999):
        verdict = verdict_of(b"".join(LINES[:length]), COPIES)
        assert verdict.fault is not None
        assert "lines are missing" in verdict.fault.problem


def test_a_log_written_anew_with_sound_hashes_is_found_by_its_checkpoints() -> None:
    forger = Writer("forger")
    forger.write(RECORDS)
    assert verdict_of(b"".join(forger.lines), COPIES).fault is not None
    foreign = Ed25519PrivateKey.generate().public_key()
    verdict = verify(split(CONTENT), COPIES, foreign)
    assert (verdict.proven.records, verdict.fault is not None) == (249, True)


def test_every_cut_before_the_last_checkpoint_is_found() -> None:
    ends = [0, *accumulate(map(len, LINES))]
    for line, start in enumerate(ends[:-1]):
        for place in {start, start + 1, ends[line + 1] - 1}:
            verdict = verify(split(CONTENT[start:place]), COPIES, PUBLIC, BEFORE[line])
            assert verdict.fault is not None, (line, place)


def test_lines_after_the_last_checkpoint_are_bound_to_each_other() -> None:
    writer = log_of(20)
    writer.write(5)
    copies = copies_of(writer.copies)
    assert verdict_of(b"".join(writer.lines), copies).proven.signed == 20
    assert verdict_of(b"".join([*writer.lines[:21], *writer.lines[22:]]), copies).fault is not None
    last_gone = verdict_of(b"".join(writer.lines[:-1]), copies)
    assert (last_gone.fault, last_gone.proven.records) == (None, 24)


def test_the_verdict_names_the_line_and_what_is_proven() -> None:
    verdict = verdict_of(b"".join([*LINES[:300], LINES[300].replace(b"month", b"weeks"), *LINES[301:]]), COPIES)
    assert verdict.fault is not None
    assert verdict.fault.place == "log:301"
    assert verdict.fault.problem.startswith("its hash is ")
    assert (verdict.proven.records, verdict.proven.signed) == (300, 250)


def test_a_second_file_that_lacks_an_earlier_checkpoint_is_found_and_one_that_lacks_the_newest_is_not() -> None:
    assert verdict_of(CONTENT, copies_of([WRITER.copies[0], *WRITER.copies[2:]])).fault is not None
    assert verdict_of(CONTENT, copies_of(WRITER.copies[:-1])).fault is None
    elsewhere = Copies(copies_of(WRITER.copies[1:2]).hashes, are_complete=False)
    assert verdict_of(CONTENT, elsewhere).fault is None


def test_a_changed_byte_of_the_second_file_is_found() -> None:
    content = b"".join(WRITER.copies)
    assert read_copies(split(content), PUBLIC) == COPIES.hashes
    for place in range(len(content)):
        changed = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        assert isinstance(read_copies(split(changed), PUBLIC), Fault), place
    assert isinstance(read_copies(split(b"".join(reversed(WRITER.copies))), PUBLIC), Fault)
