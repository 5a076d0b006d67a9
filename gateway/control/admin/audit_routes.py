"""``/admin/audit``: who changed what."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.control.admin.permissions import needs
from gateway.control.audit.log import AuditLog
from gateway.control.audit.reports import AuditReport, audit_report
from gateway.control.reports import RefusalReport
from model_pod.wire.refusals import Refused

_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}, "5XX": {"model": RefusalReport}}
_MOST = 500


def router(audit: AuditLog) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    # A plain function: it reads files, so it runs in a thread.
    @room.get(
        "/admin/audit",
        summary="What was changed, newest first",
        dependencies=[needs("audit.read")],
        responses=_REFUSALS,
    )
    def newest(
        limit: Annotated[int, Query(description="How many records", ge=1, le=_MOST)] = 50,
        before: Annotated[int | None, Query(description="Only records before this number", ge=1)] = None,
    ) -> AuditReport:
        try:
            return audit_report(*audit.newest(limit, before))
        except OSError as error:
            raise Refused("audit_unavailable", f"The audit log cannot be read: {error.strerror}.") from error

    return room
