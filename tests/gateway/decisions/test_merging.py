"""Merging: small blocks become few, and no record changes by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.decisions.folder import Read, find_record, list_files, read_blocks
from gateway.decisions.merging import ENOUGH_ROWS, merge_file, merged, merged_content
from gateway.decisions.records import Block, Record, framed, frames, opened, record_at
from policies.snapshot.limits import Limit
from tests.gateway.policy import KEY, PLAIN_KEY, policy
from tests.gateway.trial.traffic_made import START_S, Call, recorded, request_id

POLICY = policy(limit=Limit("tier/gold", 0.5, 2))
calls = st.builds(
    Call,
    at_s=st.integers(0, 50).map(lambda number: number / 10),
    path=st.sampled_from(["/predictions/digits", "/v2/models/digits/versions/2/infer", "/nothing"]),
    key_id=st.sampled_from(["", f"id-{KEY}", f"id-{PLAIN_KEY}"]),
)


def records(blocks: list[tuple[Block, bytes]]) -> list[tuple[bytes, Record]]:
    """Every request's id and record, by moment."""
    found = [
        (ids[16 * place : 16 * place + 16], record_at(block, place))
        for block, ids in blocks
        for place in range(len(block.left))
    ]
    return sorted(found, key=lambda one: (one[1].at_s, one[0]))


def parts_of(seconds: list[list[Call]]) -> list[tuple[Block, bytes]]:
    """A block for each list of calls, each request with an id of its own."""
    parts = []
    for number, some in enumerate(seconds):
        block, ids = recorded(POLICY, some or [Call(tenant="nobody")])  # of whom only the reason is counted
        own = b"".join(bytes([number]) + ids[at + 1 : at + 16] for at in range(0, len(ids), 16))
        parts.append((replace(block, lost=number, unidentified={"key_missing": 1}), own))
    return parts


def one_a_second(count: int) -> bytes:
    return b"".join(framed(*recorded(POLICY, [Call(at_s=float(number))])) for number in range(count))


@given(st.lists(st.lists(calls, max_size=6), min_size=1, max_size=5))
def test_no_record_changes_by_merging(seconds: list[list[Call]]) -> None:
    parts = parts_of(seconds)
    block, ids = merged(parts)
    assert records([(block, ids)]) == records(parts)
    assert (block.lost, block.unidentified) == (sum(range(len(parts))), {"key_missing": len(parts)})
    (frame,) = frames(framed(block, ids))
    assert frame is not None
    assert opened(frame) == block
    assert list(block.columns[0]) == sorted(block.columns[0])


def test_a_quiet_hour_takes_a_fraction_of_the_room() -> None:
    content = one_a_second(3600)
    small = merged_content(content)
    assert small is not None
    assert len(small) < len(content) / 8
    assert len(small) < 25 * 3600
    assert [frame.count for frame in frames(small) if frame] == [ENOUGH_ROWS] * 3 + [3600 - 3 * ENOUGH_ROWS]


def test_what_is_large_single_or_torn_stays_as_it_is() -> None:
    assert merged_content(b"") is None
    assert merged_content(one_a_second(1)) is None
    assert merged_content(one_a_second(2)[:-1]) is None
    assert merged_content(framed(*recorded(POLICY, [Call(at_s=number / 100) for number in range(64)])) * 2) is None


def test_a_request_is_found_in_a_merged_file(tmp_path: Path) -> None:
    path = tmp_path / f"{int(START_S)}-11.rec"
    path.write_bytes(framed(*recorded(POLICY, [Call(), Call(at_s=0.5)])) + framed(*recorded(POLICY, [Call(at_s=9.0)])))
    merge_file(path)
    assert [file.path for file in list_files(tmp_path)] == list(tmp_path.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(list(read_blocks(tmp_path, 0.0, float("inf"), Read()))) == 1
    found = find_record(tmp_path, bytes.fromhex(request_id(1)))
    assert found is not None
    assert found.at_s == START_S + 0.5


def test_a_disk_that_fails_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / f"{int(START_S)}-11.rec"
    content = one_a_second(3)
    path.write_bytes(content)
    (tmp_path / f"{path.name}.merging").mkdir()
    with pytest.raises(OSError, match="merging"):
        merge_file(path)
    assert path.read_bytes() == content
