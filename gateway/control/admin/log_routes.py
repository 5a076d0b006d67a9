"""``/admin/log-level``: which level logs have, and another one for a while."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter
from pydantic import Field

from gateway.control.admin.permissions import needs
from gateway.control.log_desk import MAX_FOR_S, USUAL_FOR_S, LogDesk
from gateway.control.log_reports import LogLevelReport
from gateway.control.reports import RefusalReport
from gateway.decide.authorization import Actor

PATH = "/admin/log-level"
_READ, _LEVEL = "log.read", "log.level"
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}, "5XX": {"model": RefusalReport}}


@dataclass(frozen=True)
class Wanted:
    """Another level for `for_s` seconds, of gateway, pods, sidecars, hub, a model or, for "", all of the mesh.

    The level "usual" takes the change back.
    """

    level: Literal["debug", "info", "warning", "error", "usual"]
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    of: Annotated[str, Field(max_length=128)] = ""
    for_s: Annotated[float, Field(ge=1.0, le=MAX_FOR_S)] = USUAL_FOR_S


def router(desk: LogDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get(PATH, summary="The level of logs, and where it is another one for a while", responses=_REFUSALS)
    async def log_level(actor: Annotated[Actor, needs(_READ)]) -> LogLevelReport:
        return desk.report

    @room.post(PATH, summary="Change the level of logs for a while", responses=_REFUSALS)
    async def change_log_level(actor: Annotated[Actor, needs(_LEVEL)], wanted: Wanted) -> LogLevelReport:
        if wanted.level == "usual":
            return await desk.end(actor.id, wanted.of, wanted.reason)
        return await desk.change(actor.id, wanted.of, wanted.level, wanted.for_s, wanted.reason)

    return room
