"""Turns the bytes that a child writes into lines for people: bounded, decoded, and harmless to a terminal."""

from __future__ import annotations

import re

MAX_LINE_BYTES = 4096

# Control characters other than a tab could move the cursor, retitle the window, or forge lines.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


class LineSplitter:
    """Splits a stream into lines; a line longer than the bound is passed on in several pieces, never dropped."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the lines that are now whole, and the pieces of one that is too long."""
        *whole, self._pending = (self._pending + data).split(b"\n")
        lines = [piece for line in whole for piece in _pieces(line)]
        if len(self._pending) > MAX_LINE_BYTES:
            *pieces, self._pending = _pieces(self._pending)
            lines += pieces
        return [readable(line) for line in lines]

    def finish(self) -> list[str]:
        """Return the last line, if the stream ended without a newline."""
        last, self._pending = self._pending, b""
        return [readable(last)] if last else []


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE_BYTES] for at in range(0, len(line), MAX_LINE_BYTES)] or [b""]


def readable(line: bytes) -> str:
    """Decode a line; bytes that are no text and control characters are shown by their numbers."""
    text = line.rstrip(b"\r").decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text)
