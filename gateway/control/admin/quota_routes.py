"""``/admin/quotas``: every tenant's quotas, and grants on top of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import Field

from gateway.control.admin.permissions import needs
from gateway.control.quota_desk import QuotaDesk
from gateway.control.quota_reports import GrantReport, GrantsReport, QuotasReport
from gateway.control.reports import RefusalReport
from gateway.decide.authorization import Actor

_READ = "quota.read"
_GRANT = "quota.grant"
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}, "5XX": {"model": RefusalReport}}
Name = Annotated[str, Path(max_length=128)]
OfTenant = Annotated[str | None, Query(description="One tenant; all of them when left out")]


@dataclass(frozen=True)
class NewGrant:
    """A grant, in the quota's unit: "20h" of device time, "2GiB", or a count; until a moment such as
    "2027-03-01T00:00:00Z", at most a year away."""

    amount: Annotated[str, Field(min_length=1, max_length=40)]
    until: Annotated[str, Field(min_length=1, max_length=40)]
    reason: Annotated[str, Field(min_length=1, max_length=500)]


def router(desk: QuotaDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/quotas", summary="Every tenant's quotas: used, limit and forecast", dependencies=[needs(_READ)])
    async def quotas(tenant: OfTenant = None) -> QuotasReport:
        return await desk.report(tenant)

    @room.get(
        "/admin/grants",
        summary="Grants on top of quotas, those that ended lately too",
        dependencies=[needs(_READ)],
        responses=_REFUSALS,
    )
    async def grants(tenant: OfTenant = None) -> GrantsReport:
        return await desk.grants(tenant)

    @room.post("/admin/quotas/{tenant}/{quota}/grants", summary="Add to a quota for a while", responses=_REFUSALS)
    async def grant(actor: Annotated[Actor, needs(_GRANT)], tenant: Name, quota: Name, new: NewGrant) -> GrantReport:
        return await desk.grant(actor.id, tenant, quota, (new.amount, new.until, new.reason))

    @room.delete("/admin/quotas/{tenant}/{quota}/grants/{grant_id}", summary="Take a grant back", responses=_REFUSALS)
    async def end_grant(
        actor: Annotated[Actor, needs(_GRANT)],
        tenant: Name,
        quota: Name,
        grant_id: Name,
        reason: Annotated[str, Query(description="Why, for the audit log", min_length=1, max_length=500)],
    ) -> GrantReport:
        return await desk.end(actor.id, tenant, quota, grant_id, reason)

    return room
