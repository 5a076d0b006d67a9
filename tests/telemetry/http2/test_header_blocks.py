from __future__ import annotations

import pytest
from hpack import Decoder, Encoder, HPACKError
from hypothesis import given
from hypothesis import strategies as st

from telemetry.http2.frames import Code, ConnectionBroken
from telemetry.http2.header_blocks import MAX_FIELDS, MAX_TABLE_BYTES, HeaderBlocks

_NAMES = st.sampled_from([b":path", b"te", b"x-a", b"x-b", b"authorization"]) | st.binary(min_size=1, max_size=30)
_LISTS = st.lists(st.lists(st.tuples(_NAMES, st.binary(max_size=300)), max_size=8), max_size=12)


@given(_LISTS, st.booleans(), st.lists(st.integers(0, 4096), max_size=12))
def test_what_an_encoder_writes_is_read_block_after_block(
    lists: list[list[tuple[bytes, bytes]]], huffman: bool, sizes: list[int]
) -> None:
    encoder, blocks = Encoder(), HeaderBlocks()
    for number, fields in enumerate(lists):
        if number < len(sizes):
            encoder.header_table_size = sizes[number]
        assert blocks.decode(encoder.encode(fields, huffman=huffman)) == fields


@given(st.lists(st.binary(max_size=60), max_size=5))
def test_any_block_is_read_as_the_library_reads_it_or_refused_by_both(given: list[bytes]) -> None:
    library, blocks = Decoder(), HeaderBlocks()
    for block in given:
        try:
            theirs = [(bytes(name), bytes(value)) for name, value in library.decode(block, raw=True)]
        except (HPACKError, IndexError):
            with pytest.raises(ConnectionBroken):
                blocks.decode(block)
            return
        assert blocks.decode(block) == theirs


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # beyond the tables
        b"\x7f\x80\x80\x80\x80\x80\x01",  # an integer without end
        b"\x40\x01a",  # without a value
        b"\x40\x05a",  # cut short
        b"\x82\x20",  # a new table size after a field
        b"\x3f\xe2\x1f",  # a table larger than allowed
        b"\x00\x81\xff\x00",  # Huffman's padding is too long
    ],
)
def test_blocks_that_say_nothing_end_the_connection(block: bytes) -> None:
    with pytest.raises(ConnectionBroken) as broken:
        HeaderBlocks().decode(block)
    assert broken.value.code is Code.COMPRESSION_ERROR


def test_a_list_has_a_bound_in_fields_and_in_bytes() -> None:
    assert len(HeaderBlocks().decode(b"\x82" * MAX_FIELDS)) == MAX_FIELDS
    for block in (b"\x82" * (MAX_FIELDS + 1), b"\x00\x01a\x7f\x81\x7f" + bytes(16_384)):
        with pytest.raises(ConnectionBroken) as broken:
            HeaderBlocks().decode(block)
        assert broken.value.code is Code.ENHANCE_YOUR_CALM


def test_a_table_holds_no_more_than_its_size() -> None:
    blocks = HeaderBlocks()
    for _ in range(100):
        blocks.decode(b"\x40\x01a\x64" + b"v" * 100)
    held = MAX_TABLE_BYTES // (1 + 100 + 32)
    assert blocks.decode(bytes([0x80 | 61 + held])) == [(b"a", b"v" * 100)]
    with pytest.raises(ConnectionBroken):
        blocks.decode(bytes([0x80 | 62 + held]))
