"""What others told of drift, of the machine and of telemetry, with types, as far as the pages read it."""

from __future__ import annotations

from msgspec import Struct

from telemetry.drift.reports import VersionReport
from telemetry.hub.shown.answers import Objective, Pod


class Drifts(Struct, frozen=True):
    """The answer of ``/api/drift``; ``is_known`` tells nothing from not knowing."""

    versions: tuple[VersionReport, ...] = ()
    labels: dict[str, dict[str, int]] = {}
    at: float = 0.0
    is_known: bool = True
    error: str = ""


class Line(Struct, frozen=True):
    """One series, the oldest value first; None where there was nothing to read."""

    metric: str
    labels: dict[str, str]
    values: tuple[float | None, ...]


class Past(Struct, frozen=True):
    """What a sidecar read of processes, machine and devices lately, a value each ``step_s``."""

    step_s: float
    ends_s: float
    left_out: int
    series: tuple[Line, ...]


class MachineSidecar(Struct, frozen=True):
    """What one sidecar told of the machine; ``error`` says why nothing."""

    name: str
    error: str = ""
    machine: Past | None = None


class TenantCost(Struct, frozen=True):
    """What one tenant's requests for one model cost."""

    tenant: str
    model: str
    requests: int
    device_s: float
    body_bytes: int
    tokens: int


class VersionCost(Struct, frozen=True):
    """What requests for one version cost."""

    model: str
    version: str
    requests: int
    device_s: float
    body_bytes: int
    tokens: int


class Costs(Struct, frozen=True):
    """What requests cost since the gateway's start; ``left_out`` counts the tenants' rows that are not here."""

    since: str
    rows: tuple[TenantCost, ...]
    left_out: int
    total: TenantCost
    versions: tuple[VersionCost, ...] = ()


class Machine(Struct, frozen=True):
    """The answer of ``/api/machine``.

    Attributes:
        objectives: those on loads and cold starts.
        costs: None while nobody told; ``costs_error`` says why it is old or absent.
    """

    at_s: float
    sidecars: tuple[MachineSidecar, ...] = ()
    left_out: int = 0
    pods: tuple[Pod, ...] = ()
    costs: Costs | None = None
    costs_error: str = ""
    objectives: tuple[Objective, ...] = ()
    error: str = ""


class Lost(Struct, frozen=True):
    """Something that was not counted or not told, and why."""

    what: str
    why: str
    count: int


class SpansHealth(Struct, frozen=True):
    """Spans of one sidecar on their way to their receiver."""

    came: int
    sent: int
    lost: dict[str, int]
    in_memory: int
    on_disk: int
    waiting_bytes: int
    most_bytes: int
    waited_s: float
    receiver: str
    taken_s: float
    trouble: str
    last_trouble: str
    last_trouble_s: float
    disk_trouble: str
    disk_failures: int


class Health(Struct, frozen=True):
    """What a sidecar tells of itself; ``spans`` is None where they go nowhere."""

    at_s: float
    started_s: float
    records: dict[str, dict[str, int]]
    undecided: int
    redacted: int
    lost: tuple[Lost, ...]
    log_lines: dict[str, int]
    log_suppressed: int
    spans: SpansHealth | None


class TelemetrySidecar(Struct, frozen=True):
    """What one sidecar told of itself; ``error`` says why nothing."""

    name: str
    error: str = ""
    health: Health | None = None


class HubHealth(Struct, frozen=True):
    """The hub itself; ``oldest_s`` is when the hour of its oldest file began, None without one."""

    started_s: float
    stored: int
    repeated: int
    lost: dict[str, int]
    waiting: int
    files: int
    file_bytes: int
    damaged_files: int
    oldest_s: float | None
    posts: dict[str, int]
    retain_s: float
    most_bytes: int
    log_lines: dict[str, int]
    log_suppressed: int


class Telemetry(Struct, frozen=True):
    """The answer of ``/api/telemetry``.

    Attributes:
        supervisor: what the gateway's own counters say was lost: copies, counts, labels, records.
    """

    at_s: float
    hub: HubHealth
    sidecars: tuple[TelemetrySidecar, ...] = ()
    supervisor: tuple[Lost, ...] = ()
    left_out: int = 0
    error: str = ""
