"""A handler's own spans: where they go, and whose children they are.

Whether a trace is kept is decided behind us, when it is known how its request ended; so every span is recorded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, SupportsIndex, overload

import requests
from opentelemetry import trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NonRecordingSpan, ProxyTracerProvider, SpanContext, TraceFlags

from model_pod.wire.inference import Load
from model_pod.wire.rows import Row
from telemetry.conventions import POD_SERVICE, Attribute
from telemetry.trace_context import parse_traceparent

# A process that is killed loses what it recorded since the last export.
EXPORT_EVERY_MS = 500
EXPORT_TIMEOUT_S = 5.0
MAX_QUEUED = 2048  # spans; the SDK drops the oldest beyond it, and says so in the log
MAX_PER_EXPORT = 512
DEFAULT_LINKS = 128  # of OpenTelemetry's specification

DataRow = dict[str, Any]


class HandlerSpans:
    """The SDK, unless the handler has set one up itself, and the contexts in which the handler runs."""

    def __init__(self, load: Load) -> None:
        if isinstance(trace.get_tracer_provider(), ProxyTracerProvider):
            trace.set_tracer_provider(_provider(load))

    @contextmanager
    def around(self, rows: Sequence[Row], batch: str, data: list[DataRow]) -> Iterator[list[DataRow]]:
        """Make the one request of these rows current, or else their batch and, row by row, each one's request."""
        # Beyond ``MAX_PARTS`` a part of a request has no span of its own, and only the batch's is left.
        contexts = {value: context_of(value or batch) for value in {row.traceparent for row in rows}}
        if len(contexts) == 1:
            (current,) = contexts.values()
        else:
            current = context_of(batch)
            data = RowsInContext(data, [(row, contexts[it.traceparent]) for row, it in zip(data, rows, strict=True)])
        token = attach(current)
        try:
            yield data
        finally:
            detach(token)

    def end(self) -> None:
        """Send what is left and stop; it may take as long as the SDK likes."""
        provider = trace.get_tracer_provider()
        if isinstance(provider, TracerProvider):
            provider.shutdown()


class MeshSpan(NonRecordingSpan):
    """A span that the mesh records: a row's ``pod.inference`` or a ``pod.batch``."""


def context_of(traceparent: str) -> Context:
    """Return a context in which a given span is current; none is where the value says none."""
    parent = parse_traceparent(traceparent)
    if parent is None:
        return Context()
    ids = int(parent.trace_id, 16), int(parent.span_id, 16)
    # Sampled, whatever its own flag: see the top.
    span = MeshSpan(SpanContext(*ids, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED)))
    return trace.set_span_in_context(span, Context())


class RowsInContext(list[DataRow]):
    """A handler's ``data`` whose loops run in the context of each row's own request.

    Only a loop that runs outside of any span of the handler's own does so: a span that the handler has made current
    is the parent it wants. Threads begin outside of any span. Slices are alike, copies plain lists.

    Args:
        contexts: for each row, which is known again by its identity when the handler has moved it.
    """

    __slots__ = ("_contexts",)

    def __init__(self, rows: Iterable[DataRow], contexts: Iterable[tuple[DataRow, Context]]) -> None:
        super().__init__(rows)
        # The rows are held too, or another could come to have the identity of one that is gone.
        self._contexts = {id(row): (row, context) for row, context in contexts}

    def __iter__(self) -> Iterator[DataRow]:
        before = get_current()
        mine = None
        span = trace.get_current_span(before)
        is_outside = isinstance(span, MeshSpan) or not span.get_span_context().is_valid
        try:
            for row in super().__iter__():
                _, context = self._contexts.get(id(row), (row, before))
                if is_outside:
                    mine = context
                    attach(context)
                yield row
        finally:
            # Not by a token: a loop that was left may be closed much later, or in another thread.
            if mine is not None and get_current() is mine:
                attach(before)

    @overload
    def __getitem__(self, index: SupportsIndex) -> DataRow: ...

    @overload
    def __getitem__(self, index: slice) -> list[DataRow]: ...

    def __getitem__(self, index: SupportsIndex | slice) -> DataRow | list[DataRow]:
        found = super().__getitem__(index)
        return RowsInContext(found, self._contexts.values()) if isinstance(found, list) else found

    def __reduce__(self) -> tuple[type[list[DataRow]], tuple[list[DataRow]]]:
        return list, (self.copy(),)


def _provider(load: Load) -> TracerProvider:
    session = requests.Session()
    # The receiver is on this machine, whatever proxy the environment names.
    session.trust_env = False
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource.create(
            {
                Attribute.SERVICE_NAME: POD_SERVICE,
                Attribute.SERVICE_INSTANCE: f"{load.model}/{load.version}",
                Attribute.PROCESS_PID: os.getpid(),
                Attribute.MODEL: load.model,
                Attribute.VERSION: load.version,
            }
        ),
        # A handler may link to every row of its batch.
        span_limits=SpanLimits(max_links=max(DEFAULT_LINKS, load.max_rows)),
        # At the end of this process nobody waits longer than we do ourselves.
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(timeout=EXPORT_TIMEOUT_S, session=session)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter,
            max_queue_size=MAX_QUEUED,
            schedule_delay_millis=EXPORT_EVERY_MS,
            max_export_batch_size=MAX_PER_EXPORT,
        )
    )
    return provider
