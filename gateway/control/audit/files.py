"""The files of an audit log: where they are, and their lines from the first or from the last one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gateway.control.audit.record import LINE_BYTES, BadLine, Sealed, read_line
from gateway.control.audit.verify import Line

FOLDER = "audit"
CURRENT_NAME = "audit.jsonl"
COPIES_NAME = "checkpoints.jsonl"
_CLOSED = "audit-*.jsonl"
_BLOCK_BYTES = 1024 * 1024
_LINE = re.compile(rb"[^\n]*\n|[^\n]+")


def closed_name(last_n: int) -> str:
    """Return the name of a file that is full, by its last record, such that names sort as their records do."""
    return f"audit-{last_n:012}.jsonl"


def log_files(directory: Path) -> list[Path]:
    """Return the files of the log that are there, in the order of their records."""
    current = directory / CURRENT_NAME
    return [*sorted(directory.glob(_CLOSED)), *([current] if current.exists() else [])]


def lines(path: Path) -> Iterator[Line]:
    """Give every line with its end, however the file was mangled; a longer one than any of ours comes in pieces.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for number, content in enumerate(iter(lambda: file.readline(LINE_BYTES + 1), b""), 1):
            yield Line(f"{path.name}:{number}", content)


def lines_backwards(path: Path, most_bytes: int | None = None) -> Iterator[bytes]:
    """Give the lines from the last one back, those that lie within the last bytes; the last may lack its end.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        end = file.seek(0, 2)
        floor = 0 if most_bytes is None else max(0, end - most_bytes)
        begun = b""  # of a line whose beginning is further up
        while end > floor:
            start = max(floor, end - _BLOCK_BYTES)
            file.seek(start)
            block = file.read(end - start) + begun
            whole = block.find(b"\n") + 1
            if whole:
                yield from reversed(_LINE.findall(block, whole))
            begun, end = block[:whole] or block, start
        if floor == 0 and begun:
            yield begun


def newest(directory: Path, limit: int, before: int | None = None) -> tuple[list[Sealed], int]:
    """Return the newest records, or the newest of those before a number, newest first, and how many lines are bad.

    Raises:
        OSError: the log cannot be read.
    """
    found: list[Sealed] = []
    bad = 0
    for path in reversed(_files_before(log_files(directory), before)):
        for line in lines_backwards(path):
            if len(found) == limit:
                return found, bad
            try:
                sealed = read_line(line)
            except BadLine:
                bad += 1
                continue
            if before is None or sealed.record.n < before:
                found.append(sealed)
    return found, bad


def _files_before(paths: list[Path], before: int | None) -> list[Path]:
    """Leave out the files that begin with this record or a later one, by what the names of those above them say."""
    if before is None:
        return paths
    return [
        path for above, path in zip([None, *paths], paths, strict=False) if above is None or _last_n(above) < before - 1
    ]


def _last_n(closed: Path) -> int:
    digits = closed.stem.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 0
