"""The supervisor's config: what the command line says, fixed at its start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gateway.control.worker_process import PROGRAM


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """What the command line says.

    Attributes:
        workers: how many.
        local_key_sha256: of the key that this start adds to a tenant, "" for none.
        lifeline_fd: a pipe whose end means that whoever started us is gone; None without one.
        records: path of the sidecar's socket for what workers record; "" records nothing.
        runtime_file: where this user's commands look for the mesh.
        worker_program: the command of a worker before our options.
        audit_checkpoints: another file that checkpoints of the audit log are copied to, None without one.
    """

    policies: Path
    state: Path
    workers: int
    runtime_file: Path
    local_key_sha256: str = ""
    lifeline_fd: int | None = None
    records: str = ""
    drain_delay_s: float = 0.0
    drain_within_s: float = 30.0
    worker_program: tuple[str, ...] = PROGRAM
    audit_checkpoints: Path | None = None
