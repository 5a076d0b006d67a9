"""Files of recorded requests: whole after a kill at any byte, and without what was taken out of them."""

from __future__ import annotations

import stat
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from gateway.copies.segments import Recorded, Segment, frame_of
from tests.gateway.copies.answered import answered


def recorded(number: int, tenant: str = "ads", body: bytes = b"[1,2]") -> Recorded:
    return Recorded(answered(number, tenant=tenant), body, b'{"label":7}')


def written(path: Path, *all_of_them: Recorded) -> Segment:
    segment = Segment(path)
    for one in all_of_them:
        segment.append(one, frame_of(one))
    return segment


def held(segment: Segment) -> list[Recorded | None]:
    return [segment.read(at) for at in range(len(segment))]


def test_what_is_written_is_read_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "1.requests"
    requests = [recorded(number, tenant) for number, tenant in enumerate(("ads", "shop", "ads"))]
    written(path, *requests)
    again = Segment.opened(path)
    assert held(again) == requests
    assert again.tenants == {"ads": 2, "shop": 1}
    assert again.size == path.stat().st_size
    assert again.first_s == requests[0].answered.at_s
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(cut=st.integers(0, 10**6), body=st.binary(max_size=200))
def test_a_file_that_was_cut_anywhere_keeps_every_whole_request(cut: int, body: bytes) -> None:

    with TemporaryDirectory() as folder:
        path = Path(folder) / "1.requests"
        requests = [recorded(number, body=body) for number in range(3)]
        written(path, *requests)
        ends = [sum(len(frame_of(one)) for one in requests[:count]) for count in range(4)]
        kept_bytes = cut % (ends[-1] + 1)
        with path.open("r+b") as file:
            file.truncate(kept_bytes)
        again = Segment.opened(path)
        whole = sum(end <= kept_bytes for end in ends) - 1
        assert held(again) == requests[:whole]
        assert path.stat().st_size == ends[whole]


def test_a_flipped_byte_ends_what_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "1.requests"
    first, second = recorded(1), recorded(2)
    written(path, first, second)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert held(Segment.opened(path)) == [first]


def test_a_length_that_no_frame_has_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "1.requests"
    path.write_bytes(b"\xff\xff\xff\xff\0\0\0\0" + b"x" * 100)
    assert held(Segment.opened(path)) == []


def test_requests_of_some_tenants_are_taken_out_and_no_byte_of_them_is_left(tmp_path: Path) -> None:
    path = tmp_path / "1.requests"
    kept = recorded(1)
    segment = written(path, kept, recorded(2, "shop", b"planted-secret"))
    rest = segment.without(lambda one: one.answered.tenant == "shop")
    assert held(rest) == [kept]
    assert held(Segment.opened(path)) == [kept]
    assert b"planted-secret" not in path.read_bytes()
    assert segment.read(0) is None
    assert [one.name for one in tmp_path.iterdir()] == ["1.requests"]


def test_a_removed_file_has_nothing_to_read(tmp_path: Path) -> None:
    segment = written(tmp_path / "1.requests", recorded(1))
    segment.remove()
    assert segment.read(0) is None
    assert not segment.path.exists()
