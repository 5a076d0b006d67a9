"""``/admin/samples``: named fields of inputs and outputs that were kept for people, and how to have them removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import Field

from gateway.control.admin.permissions import missing, needs
from gateway.control.admin.struct_answers import answer, answers
from gateway.control.sample_desk import MOST_AT_ONCE, Purged, SampleDesk, SamplesReport, Wanted
from gateway.copies.reports import Sample
from gateway.decide.authorization import Actor
from model_pod.wire.refusals import Refused

_READ, _PURGE = "sample.read", "sample.purge"
Name = Annotated[str, Path(max_length=128)]
Word = Annotated[str, Query(max_length=128)]
Most = Annotated[int, Query(ge=1, le=MOST_AT_ONCE)]


@dataclass(frozen=True)
class NewPurge:
    """Samples to remove: those that every given part is true of, or `all`. `before_s` is seconds since the epoch."""

    tenant: Annotated[str, Field(max_length=128)] = ""
    subject: Annotated[str, Field(max_length=1024, repr=False)] = ""
    before_s: Annotated[float, Field(ge=0)] = 0.0
    all: bool = False

    def of(self, model: str) -> Wanted:
        """Return which samples of a model are meant, "" for every model.

        Raises:
            Refused: malformed_body: nothing says which.
        """
        if not (self.tenant or self.subject or self.before_s or self.all):
            raise Refused("malformed_body", "Say which: tenant, subject, before_s, or all.")
        return Wanted(model, self.tenant, self.subject, self.before_s)


def router(desk: SampleDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/samples/{model}", summary="Which samples of a model there are", **answers(SamplesReport))
    async def samples(
        actor: Annotated[Actor, needs(_READ, per_model=True)],
        model: Name,
        tenant: Word = "",
        why: Word = "",
        most: Most = 100,
    ) -> Response:
        _check(actor, _READ, model)
        return answer(await desk.list(actor.id, model, tenant, why, most))

    @room.get("/admin/samples/{model}/{request_id}", summary="What one sample holds", **answers(Sample))
    async def sample(actor: Annotated[Actor, needs(_READ, per_model=True)], model: Name, request_id: Name) -> Response:
        _check(actor, _READ, model)
        return answer(await desk.show(actor.id, model, request_id))

    @room.post("/admin/samples/purges", summary="Remove samples of every model", **answers(Purged))
    async def purge_all(actor: Annotated[Actor, needs(_PURGE)], new: NewPurge) -> Response:
        return answer(await desk.purge(actor.id, new.of("")))

    @room.post("/admin/samples/{model}/purges", summary="Remove samples of a model", **answers(Purged))
    async def purge(actor: Annotated[Actor, needs(_PURGE, per_model=True)], model: Name, new: NewPurge) -> Response:
        _check(actor, _PURGE, model)
        return answer(await desk.purge(actor.id, new.of(model)))

    return room


def _check(actor: Actor, permission: str, model: str) -> None:
    if not actor.allows(permission, model):
        raise missing(permission, model)
