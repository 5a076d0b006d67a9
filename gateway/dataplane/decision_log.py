"""The decision log: one worker's decision records on their way to disk, which is never waited for.

A request adds a row; once a second, or when there are many, the rows become a block, which a thread compresses and
writes, so that a request is found soon. When a file is full, its small blocks are merged. A disk that is slow or full
costs records, counted in the next block, and nothing else.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path

from gateway.dataplane.usage import Usage
from gateway.decide.decision import Decision
from gateway.decide.facts import RequestFacts
from gateway.decisions import folder
from gateway.decisions.gathering import Alike, Gathering
from gateway.decisions.merging import merge_file
from gateway.decisions.records import Block, framed

FLUSH_EVERY_S = 1.0
# A third of a second of a worker that is busy all the time. A row takes some 400 bytes until it is in a block, and as
# much again while it gets there.
MANY_ROWS = 8_192
# Blocks that wait for the disk, and rows of all of them: some 20 MB.
_MAX_WAITING, _MAX_WAITING_ROWS = 60, 65_536


class DecisionLog:
    """One worker's decision log.

    Args:
        directory: of the records; it is made when it is missing.
        worker_count: how many write there.

    Attributes:
        note_alike: keeps one settled request whose like is known; see ``Gathering.add_alike``.
    """

    def __init__(self, directory: Path, worker_count: int = 1) -> None:
        self._unwritten = 0
        self._gathering = Gathering()
        self.note_alike = self._gathering.add_alike
        self._writer = _Writer(directory, worker_count)
        self._thread = threading.Thread(target=self._writer.run, name="decision-log", daemon=True)
        self._thread.start()

    @property
    def lost(self) -> int:
        """How many records could not be kept, since the start."""
        return self._gathering.left_out + self._unwritten

    def note(
        self,
        facts: RequestFacts,
        decision: Decision,
        request_id: str,
        duration_s: float,
        status: int,
        reason: str,
        used: Usage,
    ) -> None:
        """Keep one settled request."""
        self._gathering.add(facts, decision, request_id, duration_s, status, reason, used)

    def alike(self, facts: RequestFacts, decision: Decision, status: int, reason: str) -> Alike:
        """Return what settled requests share, for ``note_alike``."""
        return self._gathering.alike(facts, decision, status, reason)

    def note_unidentified(self, reason: str) -> None:
        """Count a request that was refused before its head was understood."""
        self._gathering.count_unidentified(reason)

    def flush(self) -> None:
        """Hand what was noted to the disk; called about every ``FLUSH_EVERY_S``."""
        failed = self._writer.take_failed()
        self._unwritten += failed.unwritten
        self._gathering.lost += failed.unwritten + failed.untold
        for reason, count in failed.unidentified.items():
            self._gathering.count_unidentified(reason, count)
        taken = self._gathering.take(time.time())
        if taken is not None:
            self._writer.put(*taken)

    def flush_many(self) -> None:
        """Do so now if it is much; called several times a second."""
        if self._gathering.row_count >= MANY_ROWS:
            self.flush()

    def close(self, within_s: float = 2.0) -> None:
        """Write what there is; a disk that takes longer keeps it."""
        self.flush()
        self._writer.end()
        self._thread.join(within_s)


class _Failed:
    """What blocks held that nobody will read.

    Attributes:
        unwritten: records.
        untold: records of which they say that they were lost.
        unidentified: refusals by reason.
    """

    __slots__ = ("unidentified", "untold", "unwritten")

    def __init__(self) -> None:
        self.unwritten = self.untold = 0
        self.unidentified: Counter[str] = Counter()


class _Writer:
    """What the thread does: blocks in, files out."""

    def __init__(self, directory: Path, worker_count: int) -> None:
        self._directory = directory
        self._worker_count = worker_count
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Block, bytes]] = deque()
        self._waiting_rows = 0
        self._failed = _Failed()
        self._is_ending = False
        self._file = -1
        self._path = directory
        self._size = 0
        self._began_s = 0.0

    def put(self, block: Block, ids: bytes) -> None:
        """Take a block; the oldest that wait make room for it."""
        with self._changed:
            self._waiting_rows += len(block.left)
            self._waiting.append((block, ids))
            while len(self._waiting) > _MAX_WAITING or (
                self._waiting_rows > _MAX_WAITING_ROWS and len(self._waiting) > 1
            ):
                self._lose(self._take()[0])
            self._changed.notify()

    def take_failed(self) -> _Failed:
        """Return what was lost since the last time."""
        with self._changed:
            failed, self._failed = self._failed, _Failed()
            return failed

    def _lose(self, block: Block) -> None:
        failed = self._failed
        failed.unwritten += len(block.left)
        failed.untold += block.lost
        failed.unidentified.update(block.unidentified)

    def end(self) -> None:
        """Write what waits, and end."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    def run(self) -> None:
        """Write blocks until the end."""
        while (taken := self._next()) is not None:
            try:
                self._write(framed(*taken))
            except OSError:
                self._begin_anew()
                with self._changed:
                    self._lose(taken[0])
        self._begin_anew()

    def _next(self) -> tuple[Block, bytes] | None:
        with self._changed:
            while not self._waiting:
                if self._is_ending:
                    return None
                self._changed.wait()
            return self._take()

    def _take(self) -> tuple[Block, bytes]:
        oldest = self._waiting.popleft()
        self._waiting_rows -= len(oldest[0].left)
        return oldest

    def _write(self, frame: bytes) -> None:
        now_s = time.time()
        if self._file < 0 or self._size + len(frame) > folder.FILE_BYTES or now_s > self._began_s + folder.FILE_S:
            self._begin_anew(is_full=self._file >= 0)
            self._open(now_s)
        self._size += len(frame)
        while frame:
            frame = frame[os.write(self._file, frame) :]

    def _open(self, now_s: float) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.trim(self._directory, self._worker_count, now_s)
        self._path = self._directory / folder.file_name(now_s, os.getpid())
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._began_s, self._size = now_s, os.fstat(self._file).st_size

    def _begin_anew(self, *, is_full: bool = False) -> None:
        """Close the file: what comes goes into another one."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if is_full:
            with suppress(OSError):  # it stays as it is, which only takes more room
                merge_file(self._path)
