"""``/admin/keys``: every tenant's keys, and taking one out of use without waiting for an edit of policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import Field

from gateway.control.admin.permissions import needs
from gateway.control.key_desk import KeyDesk
from gateway.control.key_reports import KeysReport, RevokedReport
from gateway.control.reports import RefusalReport
from gateway.decide.authorization import Actor
from gateway.tls import MAX_IDENTITY_CHARS

_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": {"model": RefusalReport}, "5XX": {"model": RefusalReport}}
# The id of a token has its subject in it, that of a certificate its URI.
_MOST_CHARS = len("san:") + MAX_IDENTITY_CHARS
KeyId = Annotated[str, Path(description="A key's id, jwt:ISSUER:SUBJECT or san:IDENTITY", max_length=_MOST_CHARS)]


@dataclass(frozen=True)
class WhyChanged:
    """Why a key is changed, for the audit log."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


def router(desk: KeyDesk) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get("/admin/keys", summary="Every tenant's keys: state and last use", dependencies=[needs("key.read")])
    async def keys() -> KeysReport:
        return desk.report()

    @room.post(
        "/admin/keys/{key_id:path}/revoke", summary="Refuse a key from now on, in every worker", responses=_REFUSALS
    )
    async def revoke(actor: Annotated[Actor, needs("key.revoke")], key_id: KeyId, why: WhyChanged) -> RevokedReport:
        return await desk.revoke(actor.id, key_id, why.reason)

    @room.post("/admin/keys/{key_id:path}/restore", summary="Let a revoked key be used again", responses=_REFUSALS)
    async def restore(actor: Annotated[Actor, needs("key.revoke")], key_id: KeyId, why: WhyChanged) -> RevokedReport:
        return await desk.restore(actor.id, key_id, why.reason)

    return room
