"""What the management API manages: the parts of the supervisor that its rooms are made of."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.control.audit.log import AuditLog
from gateway.control.cost_totals import CostTotals
from gateway.control.drift_desk import DriftDesk
from gateway.control.key_desk import KeyDesk
from gateway.control.log_desk import LogDesk
from gateway.control.past_desk import PastDesk
from gateway.control.quota_desk import QuotaDesk
from gateway.control.reports import MeshView
from gateway.control.rollouts.desk import RolloutDesk
from gateway.control.sample_desk import SampleDesk
from gateway.control.shadow_desk import ShadowDesk
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
    rollouts: RolloutDesk
    workers: WorkerDesk
    shadows: ShadowDesk
    drift: DriftDesk
    logs: LogDesk
    samples: SampleDesk
