"""``/admin/slo``: objectives and their alerts, now and in the past; ``/admin/activity``: what versions did lately."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response

from gateway.control.admin.permissions import missing, needs
from gateway.control.admin.struct_answers import answer, answers
from gateway.control.reports import RefusalReport
from gateway.control.slo_past_reports import AlertsReport, SlotsReport
from gateway.control.slo_reports import (
    MAX_ACTIVITY_S,
    MAX_SPAN_S,
    MIN_ACTIVITY_S,
    MIN_SPAN_S,
    ActivityReport,
    HistoryQuestion,
    SloHistoryReport,
    SloReport,
)
from gateway.decide.authorization import Actor

_READ = "slo.read"
# FastAPI's own 422 is left out of the OpenAPI where this is in it, and is never answered.
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}}


def router(
    report: Callable[[], SloReport],
    history: Callable[[HistoryQuestion], SloHistoryReport],
    slots: Callable[[str, str], SlotsReport],
    alerts: Callable[[], AlertsReport],
    activity: Callable[[float], ActivityReport],
) -> APIRouter:
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

    @room.get("/admin/activity", summary="What every version did lately", responses=_REFUSALS)
    async def models_activity(
        actor: Annotated[Actor, needs(_READ, per_model=True)],
        within_s: Annotated[float, Query(description="How far back", ge=MIN_ACTIVITY_S, le=MAX_ACTIVITY_S)] = 30.0,
    ) -> ActivityReport:
        whole = activity(within_s)
        return replace(whole, models=[one for one in whole.models if actor.allows(_READ, one.model)])

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

    @room.get("/admin/slo/slots", summary="All that is counted of an objective, by time", **answers(SlotsReport))
    async def slo_slots(
        actor: Annotated[Actor, needs(_READ, per_model=True)],
        slo: Annotated[str, Query(description="The objective's name")],
        model: Annotated[str, Query(description="One of its models")],
    ) -> Response:
        if not actor.allows(_READ, model):
            raise missing(_READ, model)
        return answer(slots(slo, model))

    @room.get("/admin/slo/alerts", summary="When alerts fired, and who was told", **answers(AlertsReport))
    async def slo_alerts(actor: Annotated[Actor, needs(_READ, per_model=True)]) -> Response:
        whole = alerts()
        shown = tuple(one for one in whole.alerts if actor.allows(_READ, one.model))
        return answer(msgspec.structs.replace(whole, alerts=shown))

    return room
