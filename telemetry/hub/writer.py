"""The thread that stores spans: takes them through a bounded queue and commits several posts at once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from msgspec import Struct

from telemetry.hub.bounds import bounded
from telemetry.hub.hours import HourName
from telemetry.hub.rows import SpanRow, row_of
from telemetry.hub.trace_files import TraceFiles
from telemetry.span import Span

QUEUE_SPANS = 20_000
QUEUE_BYTES = 64 * 2**20
COMMIT_WITHIN_S = 0.2
COMMIT_SPANS = 2_000
KEEP_HOUSE_S = 1.0
SUSPECTS = 64


class StoreCounts(Struct, frozen=True):
    """What the store did since its start and has now.

    Attributes:
        lost: spans that were accepted and could not be stored, by why.
        waiting: spans in the queue.
        file_count, file_bytes: of the store.
    """

    stored: int
    repeated: int
    lost: dict[str, int]
    waiting: int
    file_count: int
    file_bytes: int


class Writer:
    """One thread, which owns the files; everybody else calls from where they like."""

    def __init__(self, files: TraceFiles, ended: Callable[[], None]) -> None:
        """``ended`` is called in the thread at its end, after ``close`` or for a bug."""
        self._files = files
        self._ended = ended
        self._changed = threading.Condition()
        self._rows: list[SpanRow] = []
        self._queued_bytes = 0
        self._suspects: dict[HourName, str] = {}
        self._is_closing = False
        self._has_failed = False
        self._counts: Counter[str] = Counter()
        self._lost: Counter[str] = Counter()
        self._stored_files = (0, 0)
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    @property
    def has_failed(self) -> bool:
        """Whether a bug ended the thread; nothing is stored any more."""
        return self._has_failed

    def start(self) -> None:
        """Store from now on."""
        self._thread.start()

    def put(self, spans: Sequence[Span]) -> int:
        """Queue spans; return for how many there is no room: all, which may come again, or the last of very many."""
        rows = [row_of(bounded(span)) for span in spans[:QUEUE_SPANS]]
        size_bytes = sum(row.size_bytes for row in rows)
        with self._changed:
            has_room = len(self._rows) + len(rows) <= QUEUE_SPANS and self._queued_bytes + size_bytes <= QUEUE_BYTES
            # What comes to an empty queue is taken: it would be too large the next time as well.
            if self._is_closing or (self._rows and not has_room):
                return len(spans)
            self._rows += rows
            self._queued_bytes += size_bytes
            self._changed.notify_all()
        return len(spans) - len(rows)

    def suspect(self, name: HourName, why: str) -> None:
        """Have a file set aside that a reader found damaged."""
        with self._changed:
            if len(self._suspects) < SUSPECTS:
                self._suspects[name] = why

    def counts(self) -> StoreCounts:
        """Return what was done so far."""
        with self._changed:
            waiting, lost = len(self._rows), dict(self._lost)
            return StoreCounts(self._counts["stored"], self._counts["repeated"], lost, waiting, *self._stored_files)

    def close(self, within_s: float) -> None:
        """Store what is queued, and end the thread; one that takes longer is left behind."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._thread.join(within_s)

    def _run(self) -> None:
        try:
            self._store_for_ever()
        except BaseException:
            self._has_failed = True
            raise
        finally:
            try:
                self._files.close()
            finally:
                self._ended()

    def _store_for_ever(self) -> None:
        kept_house_s = -KEEP_HOUSE_S
        while not self._is_done():
            if time.monotonic() - kept_house_s >= KEEP_HOUSE_S:
                self._keep_house()
                kept_house_s = time.monotonic()
            rows = self._gathered()
            if rows:
                self._write(rows)

    def _is_done(self) -> bool:
        with self._changed:
            return self._is_closing and not self._rows

    def _gathered(self) -> list[SpanRow]:
        """Return the spans that came within one commit's time; none when nothing came for a while."""
        with self._changed:
            self._changed.wait_for(lambda: self._rows or self._is_closing, KEEP_HOUSE_S)
            if not self._rows:
                return []
            self._changed.wait_for(lambda: len(self._rows) >= COMMIT_SPANS or self._is_closing, COMMIT_WITHIN_S)
            rows, self._rows, self._queued_bytes = self._rows, [], 0
        return rows

    def _write(self, rows: Sequence[SpanRow]) -> None:
        written = self._files.write(rows, time.time())
        with self._changed:
            self._counts += Counter(stored=written.stored, repeated=written.repeated)
            self._lost += Counter(written.lost)

    def _keep_house(self) -> None:
        with self._changed:
            suspects, self._suspects = self._suspects, {}
        for name, why in suspects.items():
            self._files.set_aside(name, why)
        files = self._files.keep_house(time.time(), time.monotonic())
        with self._changed:
            self._stored_files = (len(files), sum(file.size_bytes for file in files))
