"""``/admin/rollouts``: every canary, what is said of it, and what people may do to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.control.admin.permissions import missing, needs
from gateway.control.admin.struct_answers import answer, answers
from gateway.control.rollout_reports import RolloutReport, RolloutsReport
from gateway.control.rollouts.desk import RolloutDesk
from gateway.decide.authorization import Actor
from gateway.decide.rollouts.machine import Command

_READ, _PAUSE, _PROMOTE, _ROLLBACK = "rollout.read", "canary.pause", "canary.promote", "canary.rollback"
Model = Annotated[str, Path(description="The model", max_length=128)]


@dataclass(frozen=True)
class WhyOrdered:
    """Why, for the audit log and whoever looks at the rollout next."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


def router(desk: RolloutDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    async def order(
        actor: Actor, permission: str, model: str, command: Command, reason: str, from_step: int | None = None
    ) -> Response:
        _check(actor, permission, model)
        return answer(await desk.order(actor.id, model, command, reason, from_step))

    @room.get("/admin/rollouts", summary="Every canary: where it stands, and its verdict", **answers(RolloutsReport))
    async def rollouts(actor: Annotated[Actor, needs(_READ, per_model=True)]) -> Response:
        return answer(desk.report(lambda model: actor.allows(_READ, model)))

    @room.get("/admin/rollouts/{model}", summary="One canary, with its e-values over time", **answers(RolloutReport))
    async def rollout(actor: Annotated[Actor, needs(_READ, per_model=True)], model: Model) -> Response:
        _check(actor, _READ, model)
        return answer(desk.one(model))

    @room.post("/admin/rollouts/{model}/pause", summary="Leave its share as it is", **answers(RolloutReport))
    async def pause(actor: Annotated[Actor, needs(_PAUSE, per_model=True)], model: Model, why: WhyOrdered) -> Response:
        return await order(actor, _PAUSE, model, Command.PAUSE, why.reason)

    @room.post("/admin/rollouts/{model}/resume", summary="Let a paused one go on", **answers(RolloutReport))
    async def resume(actor: Annotated[Actor, needs(_PAUSE, per_model=True)], model: Model, why: WhyOrdered) -> Response:
        return await order(actor, _PAUSE, model, Command.RESUME, why.reason)

    @room.post(
        "/admin/rollouts/{model}/promote",
        summary="Approve the step that waits for it, else go to the next one, or to the end",
        **answers(RolloutReport),
    )
    async def promote(
        actor: Annotated[Actor, needs(_PROMOTE, per_model=True)],
        model: Model,
        why: WhyOrdered,
        to: Annotated[Literal["next", "end"], Query(description="How far")] = "next",
        from_step: Annotated[
            int | None, Query(ge=0, description="Only if it is at this step still: `step` of its report")
        ] = None,
    ) -> Response:
        command = Command.PROMOTE_TO_END if to == "end" else Command.PROMOTE
        return await order(actor, _PROMOTE, model, command, why.reason, from_step)

    @room.post("/admin/rollouts/{model}/rollback", summary="Give stable all requests back", **answers(RolloutReport))
    async def rollback(
        actor: Annotated[Actor, needs(_ROLLBACK, per_model=True)], model: Model, why: WhyOrdered
    ) -> Response:
        return await order(actor, _ROLLBACK, model, Command.ROLLBACK, why.reason)

    return room


def _check(actor: Actor, permission: str, model: str) -> None:
    if not actor.allows(permission, model):
        raise missing(permission, model)
