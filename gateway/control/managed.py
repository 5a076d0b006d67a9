"""What the management API manages: the parts of the supervisor that its rooms are made of."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.audit.log import AuditLog
from gateway.control.cost_totals import CostTotals
from gateway.control.key_desk import KeyDesk
from gateway.control.past_desk import PastDesk
from gateway.control.quota_desk import QuotaDesk
from gateway.control.reports import MeshView
from gateway.control.worker_desk import WorkerDesk


@dataclass(frozen=True)
class Managed:
    """Every part; each room takes the one that it shows or changes."""

    view: MeshView
    costs: CostTotals
    audit: AuditLog
    keys: KeyDesk
    quotas: QuotaDesk
    past: PastDesk
    workers: WorkerDesk
