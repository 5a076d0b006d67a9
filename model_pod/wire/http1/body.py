"""Message bodies: by length, chunked, or until the connection ends; pieces are views of what was fed, never copies."""

from __future__ import annotations

import re
from typing import Protocol

from model_pod.wire.refusals import Refused

# Bounds of chunked bodies: a peer must not make us work per byte (65,536 is Triton's bound on chunks).
MAX_CHUNKS = 65_536
MAX_CHUNK_LINE_BYTES = 4 * 1024
MAX_TRAILER_BYTES = 8 * 1024
_USUAL_LINE_BYTES = 64
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\Z")
_TRAILER_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\Z")


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
    """A chunked body (RFC 9112 7.1): sizes are 1 to 16 hex digits, extensions and trailers are checked and dropped."""

    def __init__(self) -> None:
        self.done = False
        self._left_in_chunk = 0
        self._chunks = 0
        self._total = 0
        self._trailer_bytes = 0
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
        if self._chunks > MAX_CHUNKS:
            raise Refused("body_too_large", f"the body has over {MAX_CHUNKS} chunks")
        self._left_in_chunk = size
        self._in_trailers = size == 0

    def _on_trailer(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > MAX_TRAILER_BYTES:
            raise Refused("head_too_large", f"the trailers are larger than {MAX_TRAILER_BYTES} bytes")
        if not line:
            self.done = True
        elif not _TRAILER_FIELD.match(line):
            raise Refused("malformed_http", "a trailer is not a header field")
