"""Archives that are the same, byte for byte, for the same content."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.demo.archive import pack, write_whole

names = st.text(alphabet="abc.", min_size=1, max_size=8).filter(lambda name: name.strip(".") != "")


@given(st.dictionaries(names, st.binary(max_size=200)))
def test_what_goes_in_comes_out_and_twice_the_same(files: dict[str, bytes]) -> None:
    packed = pack(files)
    assert pack(files) == packed
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_a_written_file_is_whole_and_readable_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "store" / "a.mar"
    write_whole(path, b"new")
    write_whole(path, b"newer")
    assert path.read_bytes() == b"newer"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.mar").mkdir()
    with pytest.raises(OSError, match=r"a\.mar"):
        write_whole(tmp_path / "a.mar", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.mar"]
