"""A span as data: what our processes record, what the wire carries and what the hub keeps."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

Value = bool | int | float | str | bytes | tuple["Value", ...]
"""What an attribute may hold; a tuple is an array. Maps come in as their JSON text."""

Attributes = dict[str, Value]


class Kind(IntEnum):
    """Which side of a call a span is; the numbers are OTLP's."""

    UNSPECIFIED = 0
    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Status(IntEnum):
    """How a span ended; the numbers are OTLP's."""

    UNSET = 0
    OK = 1
    ERROR = 2


class Link(Struct, frozen=True):
    """A span of this or another trace that this one has to do with.

    Attributes:
        trace_id: 32 lower-case hex digits.
        span_id: 16 lower-case hex digits.
    """

    trace_id: str
    span_id: str
    attributes: Attributes = {}


class Event(Struct, frozen=True):
    """A moment within a span.

    Attributes:
        at_ns: nanoseconds since the epoch.
    """

    at_ns: int
    name: str
    attributes: Attributes = {}


class Span(Struct, frozen=True):
    """One span.

    Attributes:
        trace_id: 32 lower-case hex digits.
        span_id: 16 lower-case hex digits.
        parent_id: 16 lower-case hex digits; "" for the first span of a trace.
        start_ns, end_ns: nanoseconds since the epoch.
        message: what went wrong, where ``status`` says that something did.
        trace_state: W3C ``tracestate`` as it came.
        resource: attributes of the process that made it.
        scope: name of the library that made it.
        dropped_attributes: how many the sender or we left out.
    """

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    status: Status = Status.UNSET
    message: str = ""
    attributes: Attributes = {}
    links: tuple[Link, ...] = ()
    events: tuple[Event, ...] = ()
    trace_state: str = ""
    resource: Attributes = {}
    scope: str = ""
    dropped_attributes: int = 0
    dropped_links: int = 0
    dropped_events: int = 0
