"""What the gateway itself puts in the audit log: its start, its stop, and what becomes of the policy files."""

from __future__ import annotations

import os

from gateway.control.audit.log import FILES, GATEWAY, AuditLog
from gateway.control.audit.record import Change, Detail
from gateway.control.policy_changes import PolicyChange


class GatewayRecord:
    """Writes to an audit log what nobody at the management API did, and what goes on if it cannot be written."""

    def __init__(self, audit: AuditLog, version: str) -> None:
        self._audit = audit
        self._version = version

    def started(self) -> None:
        """The gateway begins its work."""
        self._note("gateway.started", {"version": self._version, "pid": os.getpid()})

    def stopped(self, why: str) -> None:
        """The gateway ends as it was told to."""
        self._note("gateway.stopped", {"pid": os.getpid(), "why": why})

    def policy(self, change: PolicyChange) -> None:
        """Something happened to the policy, whose generation later records are of."""
        self._audit.generation = change.generation
        self._audit.note(
            Change(FILES, change.action, "policy", change.detail, "", change.from_generation, change.to_generation)
        )

    def _note(self, action: str, detail: Detail) -> None:
        generation = self._audit.generation
        self._audit.note(Change(GATEWAY, action, "gateway", detail, "", generation, generation))
