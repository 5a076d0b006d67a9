"""``/admin/workers``: successors for the workers that run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field

from gateway.control.admin.permissions import needs
from gateway.control.reports import RefusalReport, RestartReport
from gateway.control.worker_desk import WorkerDesk
from gateway.decide.authorization import Actor

_RESTART = "worker.restart"
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}, "5XX": {"model": RefusalReport}}


@dataclass(frozen=True)
class Why:
    """Why, for the audit log."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


def router(desk: WorkerDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.post(
        "/admin/workers/restart",
        summary="Replace every worker of the gateway, one after the other, without losing a request",
        responses=_REFUSALS,
    )
    async def restart(actor: Annotated[Actor, needs(_RESTART)], why: Why) -> RestartReport:
        return await desk.restart(actor.id, why.reason)

    return room
