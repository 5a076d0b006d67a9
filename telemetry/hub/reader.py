"""Reads the hour files that the writer fills: lists of traces, and one trace with the batches that it rode in."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
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
SPANS_OF_A_BATCH = 64
BYTES_OF_A_BATCH = 2**20
LINKS_LOOKED_UP = 4096
"""Of a trace's links; those beyond are shown as leading to nothing that is stored."""
LEAST_PREFIX = 8

"""Of a batch that is shown beside a trace; the batch is a trace of its own, which may be asked for."""

_Answer = TypeVar("_Answer")


class TooSlow(Exception):
    """The question takes too long to answer; a narrower one may not."""


class Patience:
    """How long one asker waits, whatever it takes to answer; it may leave before that."""

    def __init__(self) -> None:
        self._until_s = time.monotonic() + WITHIN_S

    def end(self) -> None:
        """Wait no longer; any thread may say so."""
        self._until_s = -math.inf

    @property
    def is_over(self) -> bool:
        """Whether nobody waits any more."""
        return time.monotonic() > self._until_s


class StoredBatch(Struct, frozen=True):
    """A batch, and the other spans of its trace."""

    span: Span
    spans: tuple[Span, ...]


class StoredTrace(Struct, frozen=True):
    """A trace and its batches.

    Attributes:
        wanted_request: the request that was asked for; "" when the trace itself was.
        request_ids: of the traces of all batches' members and of those that spans link to, as far as they are stored.
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

    def traces(self, query: TraceQuery, patience: Patience | None = None) -> list[Summary]:
        """Return the newest traces that are wanted, and one more than the limit when there are more.

        Raises:
            TooSlow: it would take too long.
        """
        statement = select(query)
        found: list[Summary] = []

        def look(file: HourFile) -> list[Summary]:
            is_done = len(found) > query.limit and file.newest_ns() < found[-1].start_ns
            return [] if is_done else file.summaries(statement)

        for some in _Asking(self, patience or Patience()).each(look):
            found = newest([*found, *some], query.limit)
        return found

    def trace(self, wanted: str, patience: Patience | None = None) -> StoredTrace | None:
        """Return the trace with this id, or of the request with this id; None when neither is stored.

        A request's id may come again: the newest request with it is meant, as its gateway knows it. An id that is
        nobody's may be that of a trace which a stored one links to, as a caller's is that the gateway did not go on
        with, or the beginning of the one id that begins so.

        Raises:
            TooSlow: it would take too long.
        """
        return _Asking(self, patience or Patience()).trace(wanted)

    def files(self) -> Iterator[tuple[HourName, Path]]:
        """Yield the files to ask, the newest first."""
        for stored in listing(self._directory):
            if not stored.name.is_damaged:
                yield stored.name, self._directory / str(stored.name)

    def excuse(self, name: HourName, fault: Exception) -> None:
        """Pass over a file that was dropped or is damaged.

        Raises:
            TooSlow: it was broken off.
            Exception: the fault, when it is another.
        """
        if is_damage(fault):
            self._suspect(name, str(fault))
        elif getattr(fault, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise TooSlow from fault
        elif (self._directory / str(name)).exists():
            raise fault


class _Asking:
    """One asker's questions, which share its patience."""

    def __init__(self, reader: Reader, patience: Patience) -> None:
        self._reader = reader
        self._patience = patience

    def each(self, question: Callable[[HourFile], _Answer]) -> Iterator[_Answer]:
        """Yield each file's answer, the newest file's first; one that was dropped or is damaged gives none."""
        for name, path in self._reader.files():
            if self._patience.is_over:
                raise TooSlow
            try:
                with closing(HourFile.to_read(path)) as file:
                    file.stop_when(lambda: self._patience.is_over)
                    if not file.is_ready():
                        continue
                    answer = question(file)
            except (sqlite3.Error, msgspec.MsgspecError) as fault:
                self._reader.excuse(name, fault)
                continue
            yield answer

    def trace(self, wanted: str) -> StoredTrace | None:
        """Return the trace with its batches."""
        spans, request_id = self._spans(wanted), ""
        if not spans:
            found = min((asked for asked in self.each(lambda file: file.trace_of(wanted)) if asked), default=None)
            spans, request_id = (self._spans(found.trace_id) if found else []), wanted
        if not spans:
            spans, request_id = self._spans(self._linking_to(wanted)), ""
        if not spans and len(wanted) >= LEAST_PREFIX:
            spans, request_id = self._beginning_with(wanted)
        if not spans:
            return None
        batches = self._batches(spans)
        told = [*(batch.span for batch in batches), *spans, *(span for batch in batches for span in batch.spans)]
        members = set(islice((link.trace_id for span in told for link in span.links), LINKS_LOOKED_UP))
        known: dict[str, str] = {}
        for some in self.each(lambda file: file.request_ids(members)):
            known |= some
        return StoredTrace(spans[0].trace_id, request_id, tuple(spans), tuple(batches), known)

    def _spans(self, trace_id: str) -> list[Span]:
        """Return the trace's spans by their start; a very late one may lie in another file than the others."""
        return _in_order(span for some in self.each(lambda file: file.spans(trace_id)) for span in some)

    def _linking_to(self, trace_id: str) -> str:
        """Return a request's trace with a link to this one, of the newest file that has any; "" when none has."""
        asked = self.each(lambda file: file.request_ids(file.linking_to(trace_id, BATCHES_OF_A_TRACE)))
        return next((found for some in asked for found, request_id in sorted(some.items()) if request_id), "")

    def _beginning_with(self, prefix: str) -> tuple[list[Span], str]:
        """Return the spans of the one trace that has this prefix, and its request's id when that has it."""
        statement = select(TraceQuery(q=prefix, limit=1))
        found = newest([one for some in self.each(lambda file: file.summaries(statement)) for one in some], 1)
        if len(found) != 1:
            return [], ""
        request_id = found[0].request_id
        return self._spans(found[0].trace_id), request_id if request_id.startswith(prefix) else ""

    def _batches(self, spans: Sequence[Span]) -> list[StoredBatch]:
        """Return the batches that a trace links to or is linked from, and those that it has itself."""
        trace_id = spans[0].trace_id
        linked = {link.trace_id: None for span in spans if span.name == SpanName.POD_INFERENCE for link in span.links}
        for some in self.each(lambda file: file.linking_to(trace_id, BATCHES_OF_A_TRACE)):
            linked |= dict.fromkeys(some)
        candidates = [other for other in linked if other != trace_id][:BATCHES_OF_A_TRACE]
        batches = _batches_in(spans)
        for spans_of_other in self._first_spans(candidates):
            batches += _batches_in(spans_of_other)
        return sorted(batches, key=lambda batch: (batch.span.start_ns, batch.span.span_id))[:BATCHES_OF_A_TRACE]

    def _first_spans(self, trace_ids: Sequence[str]) -> list[list[Span]]:
        """Return the first spans of traces, with one question to each file."""
        found: dict[str, list[Span]] = {trace_id: [] for trace_id in trace_ids}

        def look(file: HourFile) -> dict[str, list[Span]]:
            return {one: file.first_spans(one, SPANS_OF_A_BATCH, BYTES_OF_A_BATCH) for one in trace_ids}

        for some in self.each(look):
            for trace_id, spans in some.items():
                found[trace_id] += spans
        return [_in_order(spans) for spans in found.values()]


_NESTED = 8


def _in_order(spans: Iterable[Span]) -> list[Span]:
    """Return each span once, by when it began; what began and ended at the same moments, parents first."""
    found = {span.span_id: span for span in spans}
    return sorted(found.values(), key=lambda span: (span.start_ns, -span.end_ns, _depth(span, found), span.span_id))


def _depth(span: Span, found: Mapping[str, Span]) -> int:
    """Return how many of the spans are above one; no further than ours are ever nested."""
    depth = 0
    while depth < _NESTED and (parent := found.get(span.parent_id)) is not None:
        span, depth = parent, depth + 1
    return depth


def _batches_in(spans: Sequence[Span]) -> list[StoredBatch]:
    """Return the batches of one trace, each with itself and the first of the trace's other spans."""
    batches = [span for span in spans if span.name == SpanName.POD_BATCH][:BATCHES_OF_A_TRACE]
    return [StoredBatch(batch, tuple(_in_order([batch, *spans[: SPANS_OF_A_BATCH - 1]]))) for batch in batches]
