"""Lines out of what a child writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.lines import MAX_LINE_BYTES, LineSplitter, readable


def test_a_line_is_whole_when_its_newline_has_come() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"pod digits/1: rea") == []
    assert splitter.feed(b"dy\nnext") == ["pod digits/1: ready"]
    assert splitter.finish() == ["next"]


def test_a_line_without_end_is_passed_on_in_pieces() -> None:
    splitter = LineSplitter()
    lines = splitter.feed(b"x" * (3 * MAX_LINE_BYTES + 5))
    assert [len(line) for line in lines] == [MAX_LINE_BYTES] * 3
    assert splitter.finish() == ["x" * 5]


def test_control_characters_and_broken_text_cannot_touch_the_terminal() -> None:
    assert readable(b"\x1b[2J\tred\x07 \xff end\r") == "\\x1b[2J\tred\\x07 \\xff end"


@given(st.lists(st.binary(max_size=3000), max_size=12))
def test_nothing_is_lost_however_the_stream_is_cut(chunks: list[bytes]) -> None:
    splitter = LineSplitter()
    lines = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()
    once = LineSplitter()
    assert len("".join(lines)) == len("".join(once.feed(b"".join(chunks)) + once.finish()))


@given(st.lists(st.text(alphabet="ab", max_size=30), max_size=12), st.integers(1, 7))
def test_lines_come_out_as_they_went_in(lines: list[str], chunk_bytes: int) -> None:
    stream = "".join(f"{line}\n" for line in lines).encode()
    splitter = LineSplitter()
    chunks = [stream[at : at + chunk_bytes] for at in range(0, len(stream), chunk_bytes)]
    assert [line for chunk in chunks for line in splitter.feed(chunk)] == lines
