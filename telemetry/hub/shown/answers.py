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
    """One alert of an objective; ``since`` is seconds since the epoch, ``runbook`` a page that says what to do."""

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
    tier: str = "fast"
    runbook: str = ""


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
    good_when: str
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
    events: str = "requests"
    within_s: float | None = None
    likely_within_s: float = 0.0
    regained_ratio: float | None = None
    regained_in_s: float = 0.0


class Telling(Struct, frozen=True):
    """What became of telling one receiver of a beginning or an end."""

    to: str
    what: str
    result: str
    at_s: float
    why: str = ""


class Episode(Struct, frozen=True):
    """One time that an alert fired; ``ended_s`` is None while it does."""

    slo: str
    model: str
    severity: str
    name: str
    tier: str
    runbook: str
    began_s: float
    ended_s: float | None
    highest_burn: float
    told: tuple[Telling, ...] = ()


class Alerts(Struct, frozen=True):
    """The answer of ``/api/alerts``, newest first; ``error`` says why it is old or empty."""

    at_s: float = 0.0
    receivers: tuple[str, ...] = ()
    alerts: tuple[Episode, ...] = ()
    is_known: bool = False
    error: str = ""


class Change(Struct, frozen=True):
    """Something that was changed of a model."""

    at_s: float
    kind: str
    text: str


class Changes(Struct, frozen=True):
    """What was changed of a model of late, oldest first."""

    changes: tuple[Change, ...] = ()


class Fires(Struct, frozen=True):
    """From when to when an alert fires, in seconds since the beginning; None for beyond what was looked at."""

    begins_s: int
    ends_s: int | None


class SimulatedAlert(Struct, frozen=True):
    """What one alert does; ``as_is`` is what it does by the policy in force, of a past that is judged otherwise."""

    severity: str
    name: str
    tier: str
    factor: float
    long_s: float
    short_s: float
    fires: tuple[Fires, ...]
    as_is: tuple[Fires, ...] = ()
    held_back: str = ""
    never: str = ""


class SimulatedFault(Struct, frozen=True):
    """So large a share of so many requests is bad for so long."""

    bad_share: float
    length_s: int
    rate_per_s: float


class SimulatedCurve(Struct, frozen=True):
    """Budget and burn rates by window, at moments in seconds since the beginning."""

    moments_s: tuple[int, ...]
    remaining: tuple[float | None, ...]
    burn: dict[str, tuple[float, ...]]


class Simulation(Struct, frozen=True):
    """The answer of ``/api/slos/simulate``; ``error`` says why there is none.

    Attributes:
        begins_s: seconds since the epoch; None for a fault of any time.
        cost: share of a whole budget that the fault takes.
        remaining_ratio: of the budget afterwards; ``remaining_now`` as it is, by this target.
        unknown: from when to when nobody counted.
    """

    slo: str
    model: str
    courses: tuple[SimulatedAlert, ...]
    error: str
    target: float = 0.0
    policy_target: float = 0.0
    period_s: float = 0.0
    good_when: str = ""
    is_replay: bool = False
    is_changed: bool = False
    fault: SimulatedFault | None = None
    begins_s: float | None = None
    shown_s: int = 0
    cost: float | None = None
    remaining_ratio: float | None = None
    remaining_now: float | None = None
    every_s: int = 10
    unknown: tuple[tuple[float, float], ...] = ()
    curve: SimulatedCurve | None = None
    command: str = ""


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
    archive: str = ""
    device_wanted: str = ""


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
    device_s: float | None = None


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
