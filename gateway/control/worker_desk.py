"""Worker desk: has the workers replaced, for people; it is in the audit log before it begins."""

from __future__ import annotations

import asyncio

from gateway.control.audit.log import GATEWAY, AuditLog
from gateway.control.audit.record import Change
from gateway.control.events import Say
from gateway.control.reports import RestartReport
from gateway.control.rolling_restart import RollingRestart

_ACTION = "worker.restart"
_SUBJECT = "workers"


class WorkerDesk:
    """What the management API and a signal do with workers."""

    def __init__(self, rolling: RollingRestart, audit: AuditLog, say: Say) -> None:
        self._rolling = rolling
        self._audit = audit
        self._say = say

    async def restart(self, actor: str, reason: str) -> RestartReport:
        """Begin to replace every worker; return at once, while it goes on.

        Raises:
            Refused: audit_unavailable; nothing changed.
        """
        await asyncio.to_thread(self._audit.record, actor, _ACTION, _SUBJECT, {}, reason)
        self._say(f"every worker is to be replaced, says {actor}: {reason}")
        return RestartReport(self._rolling.ask())

    async def restart_by_signal(self, signal_name: str) -> None:
        """Do it for whoever may send signals, even if that cannot be recorded."""
        generation = self._audit.generation
        change = Change(GATEWAY, _ACTION, _SUBJECT, {"signal": signal_name}, "", generation, generation)
        await asyncio.to_thread(self._audit.note, change)
        self._rolling.ask()
