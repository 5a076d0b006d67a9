"""``/admin/slo``: objectives now and in the past."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Query

from gateway.control.admin.permissions import missing, needs
from gateway.control.reports import RefusalReport
from gateway.control.slo_reports import MAX_SPAN_S, MIN_SPAN_S, HistoryQuestion, SloHistoryReport, SloReport
from gateway.decide.authorization import Actor

_READ = "slo.read"
# FastAPI's own 422 is left out of the OpenAPI where this is in it, and is never answered.
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}}


def router(report: Callable[[], SloReport], history: Callable[[HistoryQuestion], SloHistoryReport]) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/slo", summary="Every objective: its budget, burn rates and alerts")
    async def slo(actor: Annotated[Actor, needs(_READ, per_model=True)]) -> SloReport:
        whole = report()
        return replace(
            whole,
            models=[activity for activity in whole.models if actor.allows(_READ, activity.model)],
            slos=[objective for objective in whole.slos if actor.allows(_READ, objective.model)],
        )

    @room.get("/admin/slo/history", summary="An objective's past, in at most 400 steps", responses=_REFUSALS)
    async def slo_history(
        actor: Annotated[Actor, needs(_READ, per_model=True)],
        slo: Annotated[str, Query(description="The objective's name")],
        model: Annotated[str, Query(description="One of its models")],
        span_s: Annotated[float, Query(description="How far back", ge=MIN_SPAN_S, le=MAX_SPAN_S)] = 3600.0,
        version: Annotated[str | None, Query(description="One version; all of them when left out")] = None,
    ) -> SloHistoryReport:
        if not actor.allows(_READ, model):
            raise missing(_READ, model)
        return history(HistoryQuestion(slo, model, version, span_s))

    return room
