"""``/admin/costs``: what requests cost, by tenant and model, since the gateway's start."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.control.admin.permissions import needs
from gateway.control.cost_report import CostsReport, costs_report
from gateway.control.cost_totals import CostTotals
from gateway.control.reports import RefusalReport
from gateway.decide.authorization import Actor

_READ = "quota.read"
_MOST = 10_000
# FastAPI's own 422 is left out of the OpenAPI where this is in it, and is never answered.
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}}


def router(totals: CostTotals) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/costs", summary="What requests cost by tenant and model, the dearest first", responses=_REFUSALS)
    async def read_costs(
        actor: Annotated[Actor, needs(_READ, per_model=True)],
        tenant: Annotated[str | None, Query(description="One tenant; all of them when left out")] = None,
        most: Annotated[int, Query(description="The most rows", ge=1, le=_MOST)] = 1000,
    ) -> CostsReport:
        shown = (
            (kind, cost)
            for kind, cost in totals.by_kind.items()
            if tenant in (None, kind.tenant) and actor.allows(_READ, kind.model)
        )
        versions = (one for one in totals.by_version.items() if tenant is None and actor.allows(_READ, one[0][0]))
        return costs_report(totals.since_s, shown, most, versions)

    return room
