"""What the supervisor knows of the mesh beside what was counted, for whoever shows it as metrics."""

from __future__ import annotations

from msgspec import Struct

from gateway.control.pod_table import PodRecord
from gateway.control.slo_engine import Dropped


class MeshFacts(Struct, frozen=True):
    """The mesh at one moment.

    Attributes:
        dropped: what was not counted, not told or not kept since the supervisor's start.
        host_name: as TorchServe's metrics name the machine.
    """

    generation: int
    worker_restarts: int
    pods: tuple[PodRecord, ...]
    dropped: dict[Dropped, int]
    host_name: str
