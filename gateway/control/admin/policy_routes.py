"""``/admin/policy``: the policy in force and what became of the files."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter

from gateway.control.admin.permissions import needs
from gateway.control.reports import PolicyReport


def router(report: Callable[[], PolicyReport]) -> APIRouter:
    """Return the room."""
    room = APIRouter()

    @room.get(
        "/admin/policy",
        summary="The policy in force, and the errors of files that were refused",
        dependencies=[needs("policy.read")],
    )
    async def policy() -> PolicyReport:
        return report()

    return room
