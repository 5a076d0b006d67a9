"""``/admin/policy/explain``: why a past request was decided as it was."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path

from gateway.control.admin.permissions import needs
from gateway.control.past_desk import PastDesk
from gateway.control.reports import RefusalReport
from gateway.trial.past import PastReport

_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}}


def router(desk: PastDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    # A plain function: it reads files, so it runs in a thread.
    @room.get(
        "/admin/policy/explain/{request_id}",
        summary="Every step of a past decision, and what the policy in force would decide",
        dependencies=[needs("policy.read")],
        responses=_REFUSALS,
    )
    def explain(request_id: Annotated[str, Path(max_length=64)]) -> PastReport:
        return desk.explain(request_id)

    return room
