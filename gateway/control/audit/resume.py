"""Opens an audit log where it ended, and mends what a kill, a full disk or a stranger left there.

A line that was cut off is removed: whoever wrote it was told of no success. Anything else that is wrong stays as it is,
for whoever verifies the log; the chain goes on from the last line that is sound, and the log itself says so.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.control.audit.append_file import AppendFile
from gateway.control.audit.files import COPIES_NAME, CURRENT_NAME, lines_backwards, log_files
from gateway.control.audit.keys import signing_key
from gateway.control.audit.record import (
    CHECKPOINT,
    CHECKPOINT_LINE,
    DAMAGED,
    GENESIS,
    REPAIRED,
    RESUMED,
    BadLine,
    Detail,
    Record,
    Sealed,
    read_line,
)

# Further up, a log that ends in rubbish is not searched for a line to go on from.
_SEARCHED_BYTES = 1024 * 1024
_NOTHING = Sealed(Record(0, "", "", "", "", 0, 0, {}, "", ""), GENESIS)


class NothingToGoOnFrom(Exception):
    """The log ends in rubbish; the message says what to do."""


@dataclass(slots=True)
class OpenLog:
    """The files of a log while it is written.

    Attributes:
        log: the current file.
        copies: the second file, with all checkpoints.
        n, head: number and hash of the last record.
        unsigned: records after the last checkpoint.
        oldest_s: monotonic seconds of the first of these.
    """

    key: Ed25519PrivateKey
    log: AppendFile
    copies: AppendFile
    n: int
    head: bytes
    unsigned: int
    oldest_s: float

    def close(self) -> None:
        """Close both files."""
        self.log.close()
        self.copies.close()


def resume(directory: Path, written: bytes = b"") -> tuple[OpenLog, list[tuple[str, Detail]]]:
    """Return a log that can be written, and what it has to say of itself first: actions with their details.

    Args:
        written: hash of the last record that this process wrote, b"" for none: records up to it are its own.

    Raises:
        OSError, KeyUnusable, NothingToGoOnFrom: it cannot be written.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = signing_key(directory)
    copies = AppendFile(directory / COPIES_NAME)
    try:
        log = AppendFile(directory / CURRENT_NAME)
        try:
            last, news = _last(directory, log, copies)
            signed = _mend_copies(directory, copies)
        except BaseException:
            log.close()
            raise
    except BaseException:
        copies.close()
        raise
    n = last.record.n
    if n > signed and last.record.action != CHECKPOINT and last.hash != written:
        # Soon they are signed like all others, though a stranger may have written them: that is told for ever.
        news.append((RESUMED, {"unsigned_from": signed + 1, "unsigned_to": n}))
    return OpenLog(key, log, copies, n, last.hash, n - signed, time.monotonic()), news


def _last(directory: Path, log: AppendFile, copies: AppendFile) -> tuple[Sealed, list[tuple[str, Detail]]]:
    """Return the record to go on from, and what is wrong with the log's end."""
    news: list[tuple[str, Detail]] = []
    for file, name in ((log, CURRENT_NAME), (copies, COPIES_NAME)):
        if file.torn:
            cut_off: Detail = {"file": name, "bytes": len(file.torn), "sha256": hashlib.sha256(file.torn).hexdigest()}
            news.append((REPAIRED, cut_off))
    last, bad = _last_sound(log_files(directory))
    if bad:
        news.append((DAMAGED, {"unreadable_lines_at_the_end": bad}))
    copied, _ = _last_sound([directory / COPIES_NAME])
    if copied.record.n > last.record.n:
        # Numbers of records that are known elsewhere are not given twice.
        news.append((DAMAGED, {"missing_from": last.record.n + 1, "missing_to": copied.record.n}))
        last = copied
    return last, news


def _last_sound(paths: list[Path]) -> tuple[Sealed, int]:
    """Return the last line whose own hash holds, and how many below it do not; the beginning, of a log without lines.

    Raises:
        NothingToGoOnFrom: there are lines, and none is sound.
    """
    bad = 0
    for path in reversed(paths):
        for line in lines_backwards(path, _SEARCHED_BYTES):
            try:
                return read_line(line), bad
            except BadLine:
                bad += 1
        if bad:
            raise NothingToGoOnFrom(f"{path} ends in {bad} lines that nobody wrote; move its folder away")
    return _NOTHING, 0


def _mend_copies(directory: Path, copies: AppendFile) -> int:
    """Copy the last checkpoint if a kill came between it and its copy, and return its number; 0 without any."""
    for path in reversed(log_files(directory)):
        for line in lines_backwards(path):
            if line.startswith(CHECKPOINT_LINE):
                return _copied(line, directory, copies)
    return 0


def _copied(line: bytes, directory: Path, copies: AppendFile) -> int:
    try:
        checkpoint = read_line(line).record.n
    except BadLine:
        return 0
    known, _ = _last_sound([directory / COPIES_NAME])
    if known.record.n < checkpoint:
        copies.append(line)
    return checkpoint
