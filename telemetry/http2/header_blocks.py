"""Header blocks (RFC 7541) of one connection, decoded within bounds.

The static table and Huffman's code are the ``hpack`` library's; the loop is ours, since the library's takes three times
as long and judges the size of a list only beside its own work.
"""

from __future__ import annotations

from collections import deque

from hpack import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from telemetry.http2.frames import Code, ConnectionBroken

MAX_HEADER_LIST_BYTES = 16 * 1024
MAX_FIELDS = 100
MAX_TABLE_BYTES = 4096  # what a peer may assume that is told nothing else
# RFC 7541 4.1: what an entry counts beside its bytes.
_ENTRY_BYTES = 32
_MAX_INTEGER_BYTES = 4  # after the prefix: more than any index or length of ours takes
_STATIC = ((b"", b""), *HeaderTable.STATIC_TABLE)  # counted from 1
_STATIC_COUNT = len(_STATIC)

Fields = list[tuple[bytes, bytes]]


class HeaderBlocks:
    """Blocks in the order in which they come, for each builds on those before."""

    __slots__ = ("_entries", "_table_bytes", "_table_limit_bytes")

    def __init__(self) -> None:
        self._entries: deque[tuple[bytes, bytes]] = deque()  # newest first
        self._table_bytes = 0
        self._table_limit_bytes = MAX_TABLE_BYTES

    def decode(self, block: bytes) -> Fields:
        """Return a block's fields.

        Raises:
            ConnectionBroken: it cannot be decoded, or is over a bound; the blocks to come could not be read either.
        """
        try:
            return self._decode(block)
        except (IndexError, HPACKError) as error:
            raise ConnectionBroken(Code.COMPRESSION_ERROR, "a header block cannot be decoded") from error

    def _decode(self, block: bytes) -> Fields:
        fields: Fields = []
        list_bytes = at = 0
        while at < len(block):
            byte = block[at]
            if byte & 0x80:
                index, at = (byte & 0x7F, at + 1) if byte != 0xFF else _integer(block, at, 0x7F)
                pair = self._entry(index)
            elif byte & 0xE0 == 0x20:
                at = self._resize(block, at, is_first=not fields)
                continue
            else:
                pair, at = self._literal(block, at, byte)
            list_bytes += len(pair[0]) + len(pair[1]) + _ENTRY_BYTES
            fields.append(pair)
            if list_bytes > MAX_HEADER_LIST_BYTES or len(fields) > MAX_FIELDS:
                message = f"a request's fields are over {MAX_HEADER_LIST_BYTES} bytes, or over {MAX_FIELDS}"
                raise ConnectionBroken(Code.ENHANCE_YOUR_CALM, message)
        return fields

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index < _STATIC_COUNT:
            if not index:
                raise IndexError
            return _STATIC[index]
        return self._entries[index - _STATIC_COUNT]

    def _literal(self, block: bytes, at: int, byte: int) -> tuple[tuple[bytes, bytes], int]:
        is_kept = byte & 0x40
        mask = 0x3F if is_kept else 0x0F
        index, at = (byte & mask, at + 1) if byte & mask != mask else _integer(block, at, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        pair = name, value
        if is_kept:
            self._keep(pair)
        return pair, at

    def _keep(self, pair: tuple[bytes, bytes]) -> None:
        self._entries.appendleft(pair)
        self._table_bytes += len(pair[0]) + len(pair[1]) + _ENTRY_BYTES
        if self._table_bytes > self._table_limit_bytes:
            self._evict()

    def _evict(self) -> None:
        while self._table_bytes > self._table_limit_bytes:
            name, value = self._entries.pop()
            self._table_bytes -= len(name) + len(value) + _ENTRY_BYTES

    def _resize(self, block: bytes, at: int, *, is_first: bool) -> int:
        size, at = _integer(block, at, 0x1F)
        if not is_first or size > MAX_TABLE_BYTES:
            raise IndexError
        self._table_limit_bytes = size
        self._evict()
        return at


def _integer(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """Read an integer whose prefix is in ``mask`` (RFC 7541 5.1); raises ``IndexError`` where it is cut short."""
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 7 * _MAX_INTEGER_BYTES, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise IndexError


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    """Read a string (RFC 7541 5.2)."""
    first = block[at]
    size, at = (first & 0x7F, at + 1) if first & 0x7F != 0x7F else _integer(block, at, 0x7F)
    end = at + size
    if end > len(block):
        raise IndexError
    text = block[at:end]
    return (decode_huffman(text), end) if first & 0x80 else (text, end)
