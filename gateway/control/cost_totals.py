"""What requests cost since the supervisor's start: device time, bytes and tokens, by whom and of which model."""

from __future__ import annotations

from msgspec import Struct

from gateway.control.busy_tenants import OTHER
from gateway.control.messages import RequestCounts

# Tenants by models: some 10 MB. Beyond, tenants that are new to a model are counted as one.
MAX_KINDS = 50_000
MAX_VERSIONS = 10_000


class Cost(Struct):
    """What some requests cost.

    Attributes:
        device_us: microseconds of devices, as pods told them.
        body_bytes: of both bodies.
        tokens: as the models' handlers counted them.
    """

    requests: int = 0
    device_us: int = 0
    body_bytes: int = 0
    tokens: int = 0

    def add(self, counts: RequestCounts) -> None:
        """Add what a worker settled."""
        self.requests += sum(counts.buckets)
        self.device_us += counts.device_us
        self.body_bytes += counts.body_bytes
        self.tokens += counts.tokens


class CostKind(Struct, frozen=True):
    """Whose requests, and for which model; "" as far as it was not known when they were refused."""

    tenant: str
    model: str


class CostTotals:
    """The cost of all requests, for whoever pays; unlike in metrics every tenant is told apart.

    Attributes:
        since_s: when counting began, seconds since the epoch.
        by_kind: at most ``MAX_KINDS``, and one more for each model.
        by_version: by model and version, at most ``MAX_VERSIONS``, and one more for each model.
    """

    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.by_kind: dict[CostKind, Cost] = {}
        self.by_version: dict[tuple[str, str], Cost] = {}

    def add(self, counts: RequestCounts) -> None:
        """Add what a worker settled."""
        kind = CostKind(counts.tenant, counts.model)
        if kind not in self.by_kind and len(self.by_kind) >= MAX_KINDS:
            kind = CostKind(OTHER, counts.model)
        self.by_kind.setdefault(kind, Cost()).add(counts)
        version = (counts.model, counts.version)
        if version not in self.by_version and len(self.by_version) >= MAX_VERSIONS:
            version = (counts.model, OTHER)
        self.by_version.setdefault(version, Cost()).add(counts)
