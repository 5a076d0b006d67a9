"""``/admin/shadows``: what shadows have come to, replays of recorded requests, and how to begin anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.control.admin.permissions import missing, needs
from gateway.control.admin.struct_answers import answer, answers
from gateway.control.shadow_desk import MOST_AT_ONCE, Forgotten, ShadowDesk, ShadowsReport
from gateway.copies.reports import ReplayReport
from gateway.decide.authorization import Actor

_READ, _REPLAY, _FORGET = "shadow.read", "shadow.replay", "shadow.forget"
Name = Annotated[str, Path(max_length=128)]
Number = Annotated[int, Path(ge=0)]
OfModel = Annotated[str | None, Query(description="One model; all of them when left out")]


@dataclass(frozen=True)
class NewReplay:
    """Recorded requests to send to a version: at most `most` of the latest, compared as `shadow` says; "" for the
    route's first shadow, else all of the answer as JSON."""

    version: Annotated[str, Field(min_length=1, max_length=128)]
    shadow: Annotated[str, Field(max_length=128)] = ""
    most: Annotated[int, Field(ge=1, le=MOST_AT_ONCE)] = 1000


def router(desk: ShadowDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/shadows", summary="What every shadow has come to", **answers(ShadowsReport))
    async def shadows(actor: Annotated[Actor, needs(_READ, per_model=True)], model: OfModel = None) -> Response:
        whole = desk.report()
        shown = [one for one in whole.shadows if model in (None, one.model) and actor.allows(_READ, one.model)]
        return answer(msgspec.structs.replace(whole, shadows=tuple(shown)))

    @room.post(
        "/admin/shadows/{model}/replays",
        summary="Send recorded requests to a version, and compare its answers with those recorded",
        **answers(ReplayReport),
    )
    async def replay(actor: Annotated[Actor, needs(_REPLAY, per_model=True)], model: Name, new: NewReplay) -> Response:
        _check(actor, _REPLAY, model)
        return answer(await desk.replay(actor.id, model, new.version, new.shadow, new.most))

    @room.get("/admin/shadows/{model}/replays/{number}", summary="How a replay stands", **answers(ReplayReport))
    async def look(actor: Annotated[Actor, needs(_READ, per_model=True)], model: Name, number: Number) -> Response:
        _check(actor, _READ, model)
        return answer(desk.look(model, number))

    @room.delete("/admin/shadows/{model}/replays/{number}", summary="End a replay", **answers(ReplayReport))
    async def cancel(actor: Annotated[Actor, needs(_REPLAY, per_model=True)], model: Name, number: Number) -> Response:
        _check(actor, _REPLAY, model)
        return answer(await desk.cancel(actor.id, model, number))

    # Before the shadow of any name: no shadow can be called so.
    @room.delete("/admin/shadows/{model}/recordings", summary="Throw away all that was recorded", **answers(Forgotten))
    async def forget_recordings(actor: Annotated[Actor, needs(_FORGET, per_model=True)], model: Name) -> Response:
        _check(actor, _FORGET, model)
        return answer(await desk.forget_recordings(actor.id, model))

    @room.delete("/admin/shadows/{model}/{shadow}", summary="Let a shadow begin anew", **answers(Forgotten))
    async def forget(actor: Annotated[Actor, needs(_FORGET, per_model=True)], model: Name, shadow: Name) -> Response:
        _check(actor, _FORGET, model)
        return answer(await desk.forget(actor.id, model, shadow))

    return room


def _check(actor: Actor, permission: str, model: str) -> None:
    if not actor.allows(permission, model):
        raise missing(permission, model)
