"""Writes the audit log: a change counts only once its line is on the disk, and a log that was cut off is gone on with.

A line is appended and synced before ``record`` returns, so callers record first and change then. When a write fails,
all files are closed and the next record opens them anew, which mends what the failure left.
"""

from __future__ import annotations

import asyncio
import errno
import threading
import time
from pathlib import Path

import msgspec

from gateway.control.audit.append_file import AppendFile
from gateway.control.audit.files import CURRENT_NAME, FOLDER, closed_name, log_files
from gateway.control.audit.files import newest as newest_records
from gateway.control.audit.keys import KeyUnusable, fingerprint
from gateway.control.audit.record import (
    CHECKPOINT,
    GAP,
    Change,
    CheckpointDetail,
    Detail,
    Sealed,
    is_checkpoint_due,
    line_of,
    next_record,
    signed_text,
)
from gateway.control.audit.resume import NothingToGoOnFrom, OpenLog, resume
from gateway.control.events import Say
from model_pod.wire.refusals import Refused
from telemetry.logs.line import warning

GATEWAY = "gateway"
"""The actor of what the gateway does by itself."""
FILES = "files"
"""The actor of a change that somebody made by editing policy files."""

_SUBJECT = "audit"
FILE_BYTES = 64 * 1024 * 1024
MOST_FILES = 64
_LOOK_EVERY_S = 1.0
_TROUBLES = (OSError, KeyUnusable, NothingToGoOnFrom)


class AuditUnavailable(Refused):
    """The change has not been recorded and must not be made."""

    def __init__(self) -> None:
        super().__init__(
            "audit_unavailable", "Nothing was changed: the audit log cannot be written. The gateway's events say why."
        )


class AuditLog:
    """The audit log of one state directory, written by one supervisor; every method may be called by any thread.

    Attributes:
        generation: the policy's, for changes that leave it as it is.
        unrecorded: changes since the start that went on although they could not be recorded.
    """

    def __init__(self, state_dir: Path, say: Say, more_copies: Path | None = None) -> None:
        """Take the log of a state directory; it is opened by the first record.

        Args:
            more_copies: another file that every checkpoint is copied to, best on another machine's disk.
        """
        self.generation = 0
        self.unrecorded = 0
        self._directory = state_dir / FOLDER
        self._say = say
        self._more_copies = more_copies
        self._files: OpenLog | None = None
        self._gap = 0
        self._written = b""
        self._lock = threading.Lock()
        self._trouble = ""

    def record(self, actor: str, action: str, subject: str, detail: Detail, reason: str = "") -> None:
        """Return when it is on the disk that somebody is about to change something; it takes as long as the disk does.

        Args:
            actor: as ``Record`` writes it.
            detail: what JSON can write, and no secret.

        Raises:
            AuditUnavailable: it is not; the change must not be made.
        """
        self._record(Change(actor, action, subject, detail, reason, self.generation, self.generation))

    def note(self, change: Change) -> None:
        """Record what happens in any case; where that fails it is counted, and the count recorded when that can be."""
        try:
            self._record(change)
        except AuditUnavailable:
            with self._lock:
                self.unrecorded += 1
                self._gap += 1

    def newest(self, limit: int, before: int | None = None) -> tuple[list[Sealed], int]:
        """Return the newest records, or the newest before a number, newest first, and how many lines are unreadable.

        Raises:
            OSError: the log cannot be read.
        """
        return newest_records(self._directory, limit, before)

    async def run(self) -> None:
        """Sign what has been recorded, ten seconds later at the latest, for ever."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            files = self._files
            if files is not None and is_checkpoint_due(files.unsigned, files.oldest_s, time.monotonic()):
                await asyncio.to_thread(self.sign)

    def sign(self) -> None:
        """Write a checkpoint, if there are records to sign; where that fails it is told, and tried again later."""
        with self._lock:
            try:
                if self._files is not None and self._files.unsigned:
                    self._checkpoint(self._files)
            except OSError as error:
                self._fail(error)

    def close(self) -> None:
        """Sign what is left and close the files."""
        self.sign()
        with self._lock:
            self._close()

    def _record(self, change: Change) -> None:
        with self._lock:
            try:
                files = self._files = self._files or self._opened()
                self._tell_gap(files)
                self._append(files, change)
            except _TROUBLES as error:
                self._fail(error)
                raise AuditUnavailable from error
            if self._trouble:
                self._trouble = ""
                self._say("the audit log is written again")
        if is_checkpoint_due(files.unsigned, files.oldest_s, time.monotonic()):
            self.sign()

    def _tell_gap(self, files: OpenLog) -> None:
        if self._gap:
            self._append(files, self._own(GAP, {"unrecorded": self._gap}))
            self._gap = 0

    def _fail(self, error: Exception) -> None:
        self._close()
        why = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        if why != self._trouble:
            self._trouble = why
            self._say(
                warning(
                    f"THE AUDIT LOG CANNOT BE WRITTEN: {why}; changes by the management API are refused until it can"
                )
            )

    def _close(self) -> None:
        if self._files is not None:
            self._files.close()
            self._files = None

    def _opened(self) -> OpenLog:
        files, news = resume(self._directory, self._written)
        try:
            for action, detail in news:
                self._append(files, self._own(action, detail))
                self._say(warning(f"the audit log did not end as it should: {action}, {_in_words(detail)}"))
        except BaseException:
            files.close()
            raise
        return files

    def _append(self, files: OpenLog, change: Change) -> bytes:
        record = next_record(change, files.n, files.head, time.time())
        line, digest = line_of(record)
        if files.log.size + len(line) > FILE_BYTES:
            self._rotate(files)
        files.log.append(line)
        files.n, files.head = record.n, digest
        self._written = digest
        if not files.unsigned:
            files.oldest_s = time.monotonic()
        files.unsigned += 1
        return line

    def _rotate(self, files: OpenLog) -> None:
        if len(log_files(self._directory)) >= MOST_FILES:
            raise OSError(errno.EDQUOT, f"{self._directory} has {MOST_FILES} files; move those with a number elsewhere")
        current = self._directory / CURRENT_NAME
        current.rename(current.with_name(closed_name(files.n)))
        full, files.log = files.log, AppendFile(current)
        full.close()

    def _checkpoint(self, files: OpenLog) -> None:
        signature = files.key.sign(signed_text(files.n, files.head))
        detail = CheckpointDetail(files.n, files.head.hex(), fingerprint(files.key.public_key()), signature.hex())
        line = self._append(files, self._own(CHECKPOINT, msgspec.to_builtins(detail)))
        files.unsigned = 0
        files.copies.append(line)
        self._copy_elsewhere(line)

    def _copy_elsewhere(self, line: bytes) -> None:
        if self._more_copies is None:
            return
        try:
            elsewhere = AppendFile(self._more_copies)
            try:
                elsewhere.append(line)
            finally:
                elsewhere.close()
        except OSError as error:
            self._say(warning(f"the audit checkpoint was not copied to {self._more_copies}: {error.strerror}"))

    def _own(self, action: str, detail: Detail) -> Change:
        return Change(GATEWAY, action, _SUBJECT, detail, "", self.generation, self.generation)


def _in_words(detail: Detail) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in detail.items())
