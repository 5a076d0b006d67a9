"""``/admin/drift``: how far inputs and outputs have moved."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Response

from gateway.control.admin.permissions import needs
from gateway.control.admin.struct_answers import answer, answers
from gateway.control.drift_desk import DriftDesk
from gateway.decide.authorization import Actor
from telemetry.drift.reports import DriftReport

_READ = "drift.read"
IsBrief = Annotated[
    bool, Query(description="Without distributions and the past; of many versions what was found lately")
]
OfModel = Annotated[str | None, Query(description="One model; all of them when left out")]


def router(desk: DriftDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/drift", summary="How far inputs and outputs of each version have moved", **answers(DriftReport))
    async def drift(
        actor: Annotated[Actor, needs(_READ, per_model=True)], model: OfModel = None, brief: IsBrief = False
    ) -> Response:
        whole = await desk.report(model, brief)
        shown = tuple(one for one in whole.versions if actor.allows(_READ, one.model))
        labels = {name: counts for name, counts in whole.labels.items() if actor.allows(_READ, name)}
        return answer(msgspec.structs.replace(whole, versions=shown, labels=labels))

    return room
