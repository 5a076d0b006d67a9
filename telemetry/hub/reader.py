"""Reads the hour files that the writer fills: lists of traces, and one trace with the batches that it rode in."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from telemetry.conventions import SpanName
from telemetry.hub.hour_file import HourFile, is_damage
from telemetry.hub.hours import HourName
from telemetry.hub.query import TraceQuery, newest, select
from telemetry.hub.summary import Summary
from telemetry.hub.trace_files import listing
from telemetry.span import Span

WITHIN_S = 5.0
BATCHES_OF_A_TRACE = 32

_Answer = TypeVar("_Answer")


class TooSlow(Exception):
    """The question takes too long to answer; a narrower one may not."""


class StoredBatch(Struct, frozen=True):
    """A batch, and the other spans of its trace."""

    span: Span
    spans: tuple[Span, ...]


class StoredTrace(Struct, frozen=True):
    """A trace and its batches.

    Attributes:
        wanted_request: the request that was asked for; "" when the trace itself was.
        request_ids: of the traces of all batches' members, as far as they are stored.
    """

    trace_id: str
    wanted_request: str
    spans: tuple[Span, ...]
    batches: tuple[StoredBatch, ...]
    request_ids: dict[str, str]


class Reader:
    """Any thread may ask; each question opens the files anew, so none is held that is to be dropped."""

    def __init__(self, directory: Path, suspect: Callable[[HourName, str], None]) -> None:
        """``suspect`` is told of files that turn out to be damaged."""
        self._directory = directory
        self._suspect = suspect

    def traces(self, query: TraceQuery) -> list[Summary]:
        """Return the newest traces that are wanted, and one more than the limit when there are more.

        Raises:
            TooSlow: it would take too long.
        """
        statement = select(query)
        found: list[Summary] = []

        def look(file: HourFile) -> list[Summary]:
            is_done = len(found) > query.limit and file.newest_ns() < found[-1].start_ns
            return [] if is_done else file.summaries(statement)

        for some in self._ask(look):
            found = newest([*found, *some], query.limit)
        return found

    def trace(self, wanted: str) -> StoredTrace | None:
        """Return the trace with this id, or of the request with this id; None when neither is stored.

        Raises:
            TooSlow: it would take too long.
        """
        spans, request_id = self._spans(wanted), ""
        if not spans:
            found = sorted({trace for some in self._ask(lambda file: file.traces_of(wanted)) for trace in some})
            spans, request_id = (self._spans(found[0]) if found else []), wanted
        if not spans:
            return None
        batches = self._batches(spans)
        members = {link.trace_id for batch in batches for link in batch.span.links}
        known: dict[str, str] = {}
        for some in self._ask(lambda file: file.request_ids(members)):
            known |= some
        return StoredTrace(spans[0].trace_id, request_id, tuple(spans), tuple(batches), known)

    def _spans(self, trace_id: str) -> list[Span]:
        """Return the trace's spans by their start; a very late one may lie in another file than the others."""
        found = {span.span_id: span for some in self._ask(lambda file: file.spans(trace_id)) for span in some}
        return sorted(found.values(), key=lambda span: (span.start_ns, span.span_id))

    def _batches(self, spans: Sequence[Span]) -> list[StoredBatch]:
        """Return the batches that a trace links to or is linked from, and those that it has itself."""
        trace_id = spans[0].trace_id
        linked = {link.trace_id: None for span in spans if span.name == SpanName.POD_INFERENCE for link in span.links}
        for some in self._ask(lambda file: file.linking_to(trace_id, BATCHES_OF_A_TRACE)):
            linked |= dict.fromkeys(some)
        candidates = [other for other in linked if other != trace_id][:BATCHES_OF_A_TRACE]
        batches = _batches_in(spans)
        for other in candidates:
            batches += _batches_in(self._spans(other))
        return sorted(batches, key=lambda batch: (batch.span.start_ns, batch.span.span_id))[:BATCHES_OF_A_TRACE]

    def _ask(self, question: Callable[[HourFile], _Answer]) -> Iterator[_Answer]:
        """Yield each file's answer, the newest file's first; one that was dropped or is damaged gives none."""
        until_s = time.monotonic() + WITHIN_S
        for stored in listing(self._directory):
            if stored.name.is_damaged:
                continue
            try:
                with closing(HourFile.to_read(self._directory / str(stored.name))) as file:
                    file.stop_when(lambda: time.monotonic() > until_s)
                    if not file.is_ready():
                        continue
                    answer = question(file)
            except (sqlite3.Error, msgspec.MsgspecError) as fault:
                self._excuse(stored.name, fault)
                continue
            yield answer

    def _excuse(self, name: HourName, fault: Exception) -> None:
        if is_damage(fault):
            self._suspect(name, str(fault))
        elif getattr(fault, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise TooSlow from fault
        elif (self._directory / str(name)).exists():
            raise fault


def _batches_in(spans: Sequence[Span]) -> list[StoredBatch]:
    return [StoredBatch(span, tuple(spans)) for span in spans if span.name == SpanName.POD_BATCH]
