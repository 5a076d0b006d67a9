"""The JSON API's answers with types, as far as the pages read them; what else an answer holds is passed over."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from telemetry.hub.parts import TimePart
from telemetry.hub.summary import Summary


class ModelActivity(Struct, frozen=True):
    """One version in the last five minutes; what is None could not be measured."""

    model: str
    version: str
    requests_per_s: float
    error_ratio: float | None
    p50_s: float | None
    p99_s: float | None


class Burn(Struct, frozen=True):
    """How many times faster than allowed the error budget was spent in one window."""

    window_s: float
    burn_rate: float
    good: int
    bad: int


class Alert(Struct, frozen=True):
    """One alert of an objective; ``since`` is seconds since the epoch."""

    severity: str
    name: str
    factor: float
    long_s: float
    short_s: float
    long_burn: float
    short_burn: float
    state: str
    since: float | None
    held_back: str


class FiringAlert(Alert, frozen=True, kw_only=True):
    """An alert that fires, and what it is of."""

    slo: str
    model: str
    owner: str


class Transition(Struct, frozen=True):
    """An alert began or ceased to fire, ``at`` seconds since the epoch."""

    state: str
    name: str
    severity: str
    at: float


class VersionBudget(Struct, frozen=True):
    """What one version contributes to an objective's counts."""

    version: str
    good: int
    bad: int
    ignored: int
    remaining_ratio: float | None
    burn: tuple[Burn, ...] = ()


class Objective(Struct, frozen=True):
    """One objective for one model, over its period."""

    name: str
    owner: str
    model: str
    target: float
    period_s: float
    within_s: float | None
    status: str
    good: int
    bad: int
    ignored: int
    remaining_ratio: float | None
    is_enough: bool
    exhaustion_s: float | None
    burn: tuple[Burn, ...] = ()
    alerts: tuple[Alert, ...] = ()
    recent: tuple[Transition, ...] = ()
    versions: tuple[VersionBudget, ...] = ()


class Pod(Struct, frozen=True):
    """One pod as the gateway's supervisor last saw it."""

    name: str
    model: str
    version: str
    state: str
    message: str = ""
    device: str | None = None
    queued_rows: int | None = None
    running_rows: int | None = None
    restarts: int | None = None
    load_s: float | None = None


class Overview(Struct, frozen=True):
    """The answer of ``/api/overview``; ``error`` says why it is old or empty."""

    models: tuple[ModelActivity, ...] = ()
    slos: tuple[Objective, ...] = ()
    pods: tuple[Pod, ...] = ()
    firing: tuple[FiringAlert, ...] = ()
    mesh: str = ""
    error: str = ""


class TraceList(Struct, frozen=True):
    """The answer of ``/api/traces``; ``next`` is the cursor of the page that follows."""

    traces: tuple[Summary, ...]
    next: str | None


class SpanLink(Struct, frozen=True):
    """A span of this or another trace; only what is stored can be opened."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any] = {}
    is_stored: bool = False


class SpanEvent(Struct, frozen=True):
    """A moment within a span, nanoseconds since the epoch."""

    at_ns: int
    name: str
    attributes: dict[str, Any] = {}


class ShownSpan(Struct, frozen=True):
    """One span; ``dropped`` counts what was left out of it."""

    span_id: str
    parent_id: str
    name: str
    kind: str
    service: str
    instance: str
    start_ns: int
    duration_ns: int
    status: str
    message: str
    attributes: dict[str, Any] = {}
    links: tuple[SpanLink, ...] = ()
    events: tuple[SpanEvent, ...] = ()
    dropped: int = 0


class Member(Struct, frozen=True):
    """A request that rode in a batch; only what is stored can be opened."""

    trace_id: str
    span_id: str
    request_id: str
    rows: int | None
    queue_wait_s: float | None
    is_this: bool
    is_stored: bool


class Batch(Struct, frozen=True):
    """A batch that the request rode in; ``spans`` are those of the batch's own trace."""

    trace_id: str
    span_id: str
    attributes: dict[str, Any]
    start_ns: int
    duration_ns: int
    spans: tuple[ShownSpan, ...]
    members: tuple[Member, ...]


class Trace(Struct, frozen=True):
    """The answer of ``/api/traces/{id}``; ``root_id`` is the span of the request, "" where none is of one."""

    trace_id: str
    request_id: str
    start_ns: int
    duration_ns: int
    spans: tuple[ShownSpan, ...]
    batches: tuple[Batch, ...]
    parts: tuple[TimePart, ...]
    covered_ratio: float
    root_id: str = ""
