"""Message bodies: by length, chunked, or until the connection ends; pieces are views of what was fed, never copies."""

from __future__ import annotations

import re
from typing import Final, Protocol

from model_pod.wire.refusals import Refused

# Bounds of chunked bodies: a peer must not make us work per byte (65,536 is Triton's bound on chunks).
MAX_CHUNKS = 65_536
MAX_CHUNK_LINE_BYTES = 4 * 1024
MAX_TRAILER_BYTES = 8 * 1024
MAX_TRAILER_COUNT = 100
# Extensions cost their sender nothing and say nothing to us. A signature for each chunk is less than the chunk; what is
# more than twice the data and 16 bytes a chunk may add up to this (Go's net/http has the same bound).
MAX_EXCESS_BYTES = 16 * 1024
_FREE_LINE_BYTES = 16
_USUAL_LINE_BYTES = 64
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]++"
_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSION = rb"[ \t]*+;[ \t]*+" + _TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + _TOKEN + rb"|" + _QUOTED + rb"))?+"
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:" + _EXTENSION + rb")*+\Z")
_TRAILER_FIELD = re.compile(rb"(" + _TOKEN + rb"):[\t\x20-\x7e\x80-\xff]*\Z")
# These would have steered the request had they stood in its head (RFC 9110 6.5.1); every other trailer is dropped.
_NOT_IN_TRAILERS = frozenset({b"content-length", b"host", b"transfer-encoding"})
NO_BOUND: Final = 2**63


class BodyTooLarge(Refused):
    """The body passed its limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__("body_too_large", f"the body is larger than {limit_bytes} bytes")


class Body(Protocol):
    """One message body on its way in."""

    done: bool

    def take(self, data: memoryview, limit_bytes: int) -> tuple[memoryview, int]:
        """Return the next piece (empty when more input is needed) and how many bytes of ``data`` it used up."""
        ...


class FixedBody:
    """A body whose head said its length."""

    def __init__(self, length: int) -> None:
        self._left = length
        self._length = length
        self.done = length == 0

    def take(self, data: memoryview, limit_bytes: int) -> tuple[memoryview, int]:
        if self._length > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        piece = data[: self._left]
        self._left -= len(piece)
        self.done = self._left == 0
        return piece, len(piece)


class UntilCloseBody:
    """A response body that ends with its connection."""

    done = False

    def take(self, data: memoryview, limit_bytes: int) -> tuple[memoryview, int]:
        return data, len(data)


class ChunkedBody:
    """A chunked body (RFC 9112 7.1): sizes are 1 to 16 hex digits, extensions and trailers are checked and dropped.

    Args:
        max_chunks: most chunks; ``NO_BOUND`` for a body that is asked for, such as a long stream of events.
    """

    def __init__(self, max_chunks: int = MAX_CHUNKS) -> None:
        self.done = False
        self._max_chunks = max_chunks
        self._left_in_chunk = 0
        self._chunks = 0
        self._total = 0
        self._excess_bytes = 0
        self._trailer_bytes = 0
        self._trailers = 0
        self._line = b""  # what has come of a line that is not whole yet
        self._expect_line_end = False  # after a chunk's data
        self._in_trailers = False

    def take(self, data: memoryview, limit_bytes: int) -> tuple[memoryview, int]:
        used = 0
        while not self.done:
            if self._left_in_chunk:
                piece = data[used : used + self._left_in_chunk]
                self._left_in_chunk -= len(piece)
                self._expect_line_end = self._left_in_chunk == 0
                return piece, used + len(piece)
            line, consumed = self._read_line(data[used:])
            used += consumed
            if line is None:
                break
            self._on_line(line, limit_bytes)
        return data[:0], used

    def _read_line(self, data: memoryview) -> tuple[bytes | None, int]:
        """Return a whole line without its CRLF, or None and keep what has come of it."""
        # Nearly every line is a few digits; only one with a long extension is looked at further.
        window = bytes(data[:_USUAL_LINE_BYTES])
        if (at := window.find(b"\n")) < 0 and len(data) > len(window):
            window = bytes(data[: MAX_CHUNK_LINE_BYTES + 2])
            at = window.find(b"\n")
        taken = window if at < 0 else window[: at + 1]
        self._line += taken
        if len(self._line) > MAX_CHUNK_LINE_BYTES:
            raise Refused("malformed_http", "a line between chunks is too long")
        if at < 0:
            return None, len(taken)
        line, self._line = self._line, b""
        if not line.endswith(b"\r\n"):
            raise Refused("malformed_http", "a line between chunks does not end in CRLF")
        return line[:-2], len(taken)

    def _on_line(self, line: bytes, limit_bytes: int) -> None:
        if self._expect_line_end:
            if line:
                raise Refused("malformed_http", "a chunk is longer than its size says")
            self._expect_line_end = False
        elif self._in_trailers:
            self._on_trailer(line)
        else:
            self._on_size(line, limit_bytes)

    def _on_size(self, line: bytes, limit_bytes: int) -> None:
        match = _CHUNK_SIZE.match(line)
        if not match:
            raise Refused("malformed_http", "a chunk's size is not 1 to 16 hexadecimal digits")
        size = int(match[1], 16)
        self._chunks += 1
        self._total += size
        if self._total > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        if self._chunks > self._max_chunks:
            raise Refused("body_too_large", f"the body has over {self._max_chunks} chunks")
        self._excess_bytes = max(0, self._excess_bytes + len(line) - _FREE_LINE_BYTES - 2 * size)
        if self._excess_bytes > MAX_EXCESS_BYTES:
            raise Refused("malformed_http", "the chunks' extensions are larger than their data")
        self._left_in_chunk = size
        self._in_trailers = size == 0

    def _on_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer_bytes += len(line)
        self._trailers += 1
        if self._trailer_bytes > MAX_TRAILER_BYTES or self._trailers > MAX_TRAILER_COUNT:
            message = f"the trailers are over {MAX_TRAILER_BYTES} bytes or {MAX_TRAILER_COUNT} fields"
            raise Refused("head_too_large", message)
        match = _TRAILER_FIELD.match(line)
        if not match:
            raise Refused("malformed_http", "a trailer is not a header field")
        if match[1].lower() in _NOT_IN_TRAILERS:
            raise Refused("malformed_http", f"{match[1].decode()} may not be a trailer")
